"""The command line: one sentence and exit code 1 for all that goes wrong."""

import json
import os
import pathlib
import subprocess
import sys

import keras
import pytest
from commands import ANA
from commands import PRUNE
from commands import RUN
from commands import files
from commands import run

from tf_channel_prune import cli

SEARCH = (
    "--action=search",
    "--model=dense.keras",
    "--workspace=space",
    "--evaluate=mine.py:evaluate",
    "--ratio=0.3",
)
TAYLOR = (*PRUNE, "--ratio=0.5", "--criterion=taylor", "--allocation=global")
LATENCY = ("--action=latency", "--model=dense.keras", "--workspace=space")


def spoil():
    """Half of a model, and a plan that is none."""
    keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)]).save("m.h5")
    whole = pathlib.Path("m.h5").read_bytes()
    pathlib.Path("half.h5").write_bytes(whole[:9000])
    plan = {"groups": {"three": {"size": 12, "kept": [[0]]}}}
    pathlib.Path("lists.json").write_text(json.dumps(plan))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "--action=ana|prune"),
        (("--action=slim",), "value should be one of"),
        (("--ratios=0.5",), "Unknown command line flag 'ratios'"),
        (("dense.keras",), "'dense.keras' is not a flag"),
        (("--flagfile=none.txt",), "Unable to open flagfile"),
        (("--action=flops",), "needs --model"),
        (("--action=flops", "--model=none.keras"), "no model file"),
        (("--action=flops", "--model=mine.py"), "is no model file"),
        (("--action=ana", "--model=dense.keras"), "needs --evaluate or --data"),
        (
            (*ANA, "--evaluate=mine.py:evaluate", "--data=mine.py:data"),
            "and not both",
        ),
        ((*ANA, "--data=mine.py:data", "--metric=loss"), "needs the loss"),
        ((*PRUNE, "--ratio=0.5", "--criterion=taylor"), "data"),
        ((*PRUNE, "--ratio=0.5", "--allocation=sensitivity"), "call ana"),
        ((*ANA[:2], "--evaluate=mine.py:evaluate"), "needs --workspace"),
        ((*ANA, "--evaluate=mine.py"), "path/to/file.py:name"),
        ((*ANA, "--evaluate=none.py:f"), "there is no file none.py"),
        ((*ANA, "--evaluate=mine.py:none"), "has no function 'none'"),
        ((*ANA, "--evaluate=mine.py:number"), "has no function 'number'"),
        ((*ANA, "--evaluate=broken.py:f"), "raised ZeroDivisionError"),
        ((*ANA, "--evaluate=mine.py:raises"), "ValueError on the whole model"),
        ((*ANA, "--evaluate=mine.py:long"), "x x x ..."),
        ((*ANA, "--evaluate=mine.py:exits"), "exits() takes 0"),
        ((*ANA, "--evaluate=mine.py:nan"), "returned nan on the whole model"),
        ((*ANA, "--evaluate=mine.py:text"), "returned a str"),
        ((*ANA, "--evaluate=mine.py:evaluate", "--exclude=thre"), "'three'"),
        (PRUNE, "exactly one of ratio, threshold, plan"),
        ((*PRUNE, "--ratio=half"), "could not convert string to float"),
        ((*PRUNE, "--ratio=-1"), "between 0 and 1"),
        ((*PRUNE, "--ratio=0.999"), "can be removed with these limits"),
        ((*PRUNE, "--ratio=0.5", "--of=size"), "value should be one of"),
        ((*PRUNE, "--ratio=0.5", "--divisor=x"), "divisor must be"),
        ((*PRUNE, "--ratio=0.5", "--criterion=x"), "expected one of"),
        ((*PRUNE, "--ratio=0.5", "--output=slim.txt"), ".keras or .h5"),
        ((*PRUNE, "--threshold=0.1"), "call ana(evaluate) first"),
        ((*PRUNE, "--plan=none.json"), "no plan none.json"),
        ((*PRUNE, "--plan=mine.py"), "Not a plan"),
        ((*PRUNE, "--ratio=0.5", "--sparse=dense.txt"), "no model file"),
        (("--action=transform", "--model=dense.keras"), "needs --workspace"),
        (
            ("--action=transform", "--model=dense.keras", "--output=a.keras"),
            "holds no channel masks",
        ),
        (
            (
                "--action=finetune",
                "--model=dense.keras",
                "--train=mine.py:train",
                "--output=a.keras",
            ),
            "holds no channel masks",
        ),
        (RUN, "Give one of ratio and max_drop"),
        ((*RUN[:3], "--ratio=0.5"), "needs --train or --data, and not both"),
        (
            (*RUN[:3], "--ratio=0.5", "--data=mine.py:exits"),
            "exits() raised SystemExit",
        ),
        ((*RUN, "--max_drop=nan"), "max_drop is the loss of score"),
        ((*RUN, "--max_drop=0.1"), "run needs evaluate"),
        ((*RUN, "--ratio=0.999"), "can be removed with these limits"),
        (("--action=report", "--workspace=none"), "no workspace /"),
        (("--action=report", "--workspace=."), "is empty"),
        (("--action=export", "--model=dense.keras"), "needs --output"),
        (
            (
                "--action=export",
                "--model=dense.keras",
                "--output=a",
                "--quantize=int8",
            ),
            "goes with --format=litert",
        ),
        (("--action=flops", "--code=none.py"), "no file none.py"),
        ((*RUN, "--ratio=1000"), "between 0 and 1"),
        ((*RUN, "--ratio=0.5", "--iterations=0"), "at least 1"),
        (
            (*RUN[:3], "--train=mine.py:raises", "--ratio=0.5"),
            "train raised ValueError",
        ),
        (("--action=flops", "--model=half.h5"), "half.h5 cannot be read"),
        ((*RUN, "--ratio=0.5", "--seed=-1"), "seed must be"),
        ((*SEARCH, "--data=mine.py:inputs", "--seed=-1"), "seed must be"),
        ((*PRUNE, "--ratio=0.5", "--divisor=²"), "divisor must be"),
        ((*PRUNE, "--ratio=0.5", f"--output={'x' * 260}.keras"), "be written"),
        ((*PRUNE, "--plan=lists.json"), "outside 0..11"),
        ((*ANA, "--data=mine.py:wide", "--loss=mse"), "do not fit the model's"),
        (
            (*ANA, "--data=mine.py:data", "--loss=nonsense", "--metric=loss"),
            "no loss of Keras",
        ),
        ((*TAYLOR, "--data=mine.py:data", "--loss=nonsense"), "no loss of Ker"),
        ((*TAYLOR, "--data=mine.py:wide", "--loss=mse"), "do not fit the mod"),
        (
            (
                *(*RUN[:3], "--ratio=0.5", "--evaluate=mine.py:evaluate"),
                *("--data=mine.py:wide", "--loss=mse"),
            ),
            "do not take the first batch",
        ),
        ((*LATENCY, "--threads=0"), "threads must be"),
        ((*LATENCY, "--target=mine.py:raises"), "raised ValueError: no data"),
        (
            (*RUN, "--ratio=0.5", "--of=latency", "--latency=none.json"),
            "none.json cannot be read",
        ),
    ],
)
def test_what_goes_wrong_is_one_sentence(work, capsys, arguments, message):
    spoil()
    before = files()
    assert run(*arguments) == 1
    error = capsys.readouterr().err
    sentence = error.splitlines()[-1]
    assert sentence.startswith("Error: ") and message in sentence
    assert "Traceback" not in error
    left = set(files()) - set(before)
    kept = ("plans", "rounds.json")  # what a second try goes on from
    assert not [name for name in left if not any(k in name for k in kept)]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--data=mine.py:wide", "--loss=mse"), "Training by"),
        (("--data=mine.py:inputs", "--loss=mse"), "Training by"),
        (("--data=mine.py:data", "--loss=nonsense"), "Training by"),
        (("--data=mine.py:data", "--loss=mse", "--seed=-1"), "seed must be"),
        (("--train=mine.py:train", "--seed=-1"), "seed must be"),
    ],
)
def test_a_training_that_fails_is_one_sentence(work, capsys, flags, message):
    assert run(*PRUNE, "--ratio=0.3", "--output=sparse.keras") == 0
    tune = ("--action=finetune", "--model=sparse.keras", "--output=tuned.keras")
    recipe = () if "train" in flags[0] else ("--learning_rate=0.1",)
    assert run(*tune, *flags, *recipe) == 1
    sentence = capsys.readouterr().err.splitlines()[-1]
    assert sentence.startswith("Error: ") and message in sentence
    assert not os.path.exists("tuned.keras")


def test_two_measurements_do_not_write_at_once(work, capsys):
    with subprocess.Popen(
        [sys.executable, "-c", HOLD], stdout=subprocess.PIPE
    ) as other:
        assert other.stdout.readline() == b"held\n"
        assert run(*LATENCY) == 1
        said = capsys.readouterr().err
        assert f"is in use by process {other.pid}" in said
        other.kill()


HOLD = """
import time
from tf_channel_prune.workspace import Workspace
with Workspace("space").lock():
    print("held", flush=True)
    time.sleep(60)
"""


def test_lines_that_are_no_text_are_not_in_the_way(work, capsys):
    assert run(*ANA, "--evaluate=mine.py:evaluate") == 0
    pathlib.Path("space/analysis/notes.jsonl").write_bytes(b"\xff\n")
    assert run(*PRUNE, "--ratio=0.3") == 0
    assert run("--action=report", "--workspace=space") == 1
    assert "notes.jsonl cannot be used" in capsys.readouterr().err


def test_training_that_revives_channels_is_refused(work, capsys):
    plan = {"groups": {"three": {"size": 12, "kept": [0, 1]}}}
    pathlib.Path("plan.json").write_text(json.dumps(plan))
    assert run(*PRUNE, "--plan=plan.json", "--output=sparse.keras") == 0
    assert (
        run(
            "--action=finetune",
            "--model=sparse.keras",
            "--train=mine.py:revive",
            "--output=tuned.keras",
        )
        == 1
    )
    assert "Masked weights of 'three' are not zero" in capsys.readouterr().err
    assert not os.path.exists("tuned.keras")


def test_a_model_that_cannot_be_pruned(work, capsys):
    image = keras.Input((4, 4, 2))
    model = keras.Model(image, keras.layers.Conv2D(8, 3, name="conv")(image))
    model.save("fixed.keras")
    command = ("--action=prune", "--model=fixed.keras", "--workspace=space")
    assert run(*command, "--ratio=0.5") == 1
    assert "it reaches a model output" in capsys.readouterr().err
    assert files("space") == []


def test_python_code_in_a_model_needs_a_flag(work, capsys):
    image = keras.Input((4,))
    x = keras.layers.Dense(4)(image)
    x = keras.layers.Lambda(lambda t: t * 2)(x)
    keras.Model(image, keras.layers.Dense(2)(x)).save("code.keras")
    command = ("--action=flops", "--model=code.keras")
    assert run(*command) == 1
    assert "--unsafe_load" in capsys.readouterr().err
    assert run(*command, "--unsafe_load") == 0


def test_an_interrupt_says_how_to_go_on(work, capsys, monkeypatch):
    def interrupted(values):
        raise KeyboardInterrupt

    monkeypatch.setitem(cli.ACTIONS, "flops", interrupted)
    assert run("--action=flops") == 130
    assert "Interrupted" in capsys.readouterr().err


def test_as_a_process_of_its_own(work):
    """Both ways to call it, and what a shell sees."""
    script = pathlib.Path(sys.executable).with_name("tf-channel-prune")
    package = pathlib.Path(cli.__file__).parent.parent.parent
    options = {
        "capture_output": True,
        "text": True,
        "check": False,
        "env": {**os.environ, "PYTHONPATH": str(package)},
    }
    module = [sys.executable, "-m", "tf_channel_prune.cli"]
    slim = subprocess.run(
        [*module, *PRUNE, "--ratio=0.3", "--output=sparse.keras"], **options
    )
    assert slim.returncode == 0
    assert f"Plan: {work / 'space'}" in slim.stdout
    wrong = subprocess.run([script, "--action=flops"], **options)
    assert wrong.returncode == 1
    assert wrong.stderr == "Error: --action=flops needs --model.\n"
    assert os.path.exists("sparse.keras")
