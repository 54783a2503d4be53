"""The command line: one sentence and exit code 1 for all that goes wrong."""

import json
import os
import pathlib
import subprocess
import sys

import keras
import pytest
from small_models import residual

from tf_channel_prune import cli
from tf_channel_prune.graph.loading import load_model
from tf_channel_prune.masking import Masks

FUNCTIONS = """
import beside  # a file in the same folder
import keras
import numpy as np

calls = []
x = np.random.default_rng(0).normal(size=(16, 6, 6, 2)).astype("float32")
y = x.mean((1, 2)) @ np.ones((2, 3), "float32")

def evaluate(model):
    calls.append(1)
    return -float(np.square(np.asarray(model(x)) - y).mean())

def largeness(model):
    return float(np.abs(np.asarray(model(x))).sum())

def data():
    return x, y

def inputs():
    return x

def exits():
    raise SystemExit(3)

def long(model):
    raise ValueError("x " * 9999)

def train(model):
    model.compile(keras.optimizers.Adam(0.01), "mse")
    model.fit(x, y, verbose=0)

def raises(model):
    raise ValueError("no data\\nhere")

def nan(model):
    return float("nan")

def text(model):
    return "good"

def revive(model):
    layer = model.get_layer("three").layer
    layer.bias.assign(np.ones(12))

number = 3
"""


@pytest.fixture
def work(tmp_path, monkeypatch):
    """A folder with a model and functions, which is the current one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "mine.py").write_text(FUNCTIONS)
    (tmp_path / "beside.py").write_text("")
    (tmp_path / "broken.py").write_text("1 / 0")
    residual().save("dense.keras")
    return tmp_path


def run(*arguments):
    return cli.main(["tf-channel-prune", *arguments])


def files(folder="."):
    """Every file that is no Python; a lock is empty of meaning."""
    return sorted(
        str(path)
        for path in pathlib.Path(folder).rglob("*")
        if path.is_file()
        and path.suffix not in (".py", ".pyc")
        and path.name != ".lock"
    )


def test_every_action_in_a_row(work, capsys):
    dense = ("--model=dense.keras", "--workspace=space")
    assert run("--action=flops", "--model=dense.keras") == 0
    assert "total" in capsys.readouterr().out
    assert run("--action=groups", "--model=dense.keras") == 0
    assert "it reaches a model output" in capsys.readouterr().out
    assert run("--action=ana", *dense, "--evaluate=mine.py:evaluate") == 0
    assert "three" in capsys.readouterr().out
    assert run("--action=prune", *dense, "--ratio=0.3", "--divisor=1") == 0
    out = capsys.readouterr().out
    [plan] = files("space/plans")
    assert f"Plan: {plan}" in out and "of flops removed" in out
    assert json.loads(pathlib.Path(plan).read_text())["request"]["ratio"] == 0.3
    [sparse] = files("space/models")
    assert (
        run(
            "--action=finetune",
            f"--model={sparse}",
            "--train=mine.py:train",
            "--output=tuned.keras",
        )
        == 0
    )
    assert (
        run(
            "--action=prune",
            *dense,
            "--sparse=tuned.keras",
            "--ratio=0.5",
            "--divisor=1",
            "--output=second.keras",
        )
        == 0
    )
    first, second = (
        Masks(load_model(name)).alive() for name in (sparse, "second.keras")
    )
    assert (second <= first).all() and second.sum() < first.sum()
    capsys.readouterr()
    assert (
        run("--action=transform", "--model=second.keras", "--output=slim.h5")
        == 0
    )
    assert "largest output difference" in capsys.readouterr().out
    slim = load_model("slim.h5")
    assert slim.count_params() < load_model("dense.keras").count_params()


def test_search_and_explain(work, capsys):
    dense = ("--model=dense.keras", "--workspace=space")
    asked = ("--ratio=0.3", "--divisor=1", "--candidates=3")
    functions = ("--evaluate=mine.py:evaluate", "--data=mine.py:inputs")
    assert run("--action=search", *dense, *asked, *functions) == 0
    out = capsys.readouterr().out
    [plan] = files("space/plans")
    assert "Candidates" in out and f"Plan: {plan}" in out
    [sparse] = files("space/models")
    assert not Masks(load_model(sparse)).alive().all()
    name = pathlib.Path(plan).stem
    assert run("--action=explain", *dense, f"--plan={name}") == 0
    assert "three" in capsys.readouterr().out
    assert run("--action=explain", *dense) == 1
    assert "needs --plan" in capsys.readouterr().err


def test_a_latency_is_a_target(work, capsys):
    (work / "place.py").write_text(
        "def size(path):\n    return len(open(path, 'rb').read()) / 100\n"
    )
    dense = ("--model=dense.keras", "--workspace=space")
    place = ("--target=place.py:size", "--device=a phone")
    assert run("--action=latency", *dense, *place) == 0
    assert "Latencies: space/latency.json" in capsys.readouterr().out
    how = ("--of=latency", "--ratio=0.2", "--divisor=1")
    assert run("--action=prune", *dense, *how) == 0
    assert "of latency removed" in capsys.readouterr().out
    assert run("--action=prune", *dense, *how, "--latency=none.json") == 1
    assert "cannot be read" in capsys.readouterr().err


RUN = (
    "--action=run",
    "--model=dense.keras",
    "--workspace=space",
    "--train=mine.py:train",
)


def test_run_and_run_again(work, capsys):
    command = (
        *RUN,
        "--ratio=0.5",
        "--iterations=2",
        "--divisor=1",
        "--evaluate=mine.py:evaluate",
        "--tolerance=9",
        "--output=slim.keras",
    )
    assert run(*command) == 0
    out = capsys.readouterr().out
    assert "29.3%" in out  # 1 - sqrt(0.5)
    assert "baseline" in out and "score" in out
    before = {name: pathlib.Path(name).read_bytes() for name in files("space")}
    [rounds] = [name for name in before if name.endswith("rounds.json")]
    assert [r["accepted"] for r in json.loads(before[rounds])["rounds"]] == [
        True,
        True,
    ]
    slim = load_model("slim.keras").get_weights()
    pathlib.Path("mine.py").write_text(
        FUNCTIONS.replace("model.compile", "raise ValueError('trained again')")
    )
    sys.modules.pop(f"tf_channel_prune_user:{work / 'mine.py'}")
    assert run(*command) == 0
    assert set(files("space")) == set(before)
    again = load_model("slim.keras").get_weights()
    assert all((a == b).all() for a, b in zip(slim, again, strict=True))


def test_steps_may_be_linear(work, capsys):
    assert run(*RUN, "--ratio=0.4", "--iterations=2", "--steps=linear") == 0
    out = capsys.readouterr().out
    assert "20.0%" in out and "40.0%" in out
    [path] = [line for line in out.splitlines() if line.startswith("Model: ")]
    assert os.path.exists(path.removeprefix("Model: "))


def test_a_run_by_recipes_stops_at_the_drop_that_is_allowed(work, capsys):
    command = (
        "--action=run",
        "--model=dense.keras",
        "--workspace=space",
        "--max_drop=1e-9",
        "--data=mine.py:data",
        "--epochs=1",
        "--loss=mse",
        "--learning_rate=1e-9,2e-9",
        "--evaluate=mine.py:largeness",
        "--teacher=dense.keras",
        "--output=slim.keras",
    )
    assert run(*command) == 0
    assert "Rounds (baseline score" in capsys.readouterr().out
    [made] = [name for name in files("space") if "/analysis/" in name]
    assert '"scoring": "loss"' in pathlib.Path(made).read_text()
    [rounds] = [name for name in files("space") if name.endswith("rounds.json")]
    rounds = json.loads(pathlib.Path(rounds).read_text())["rounds"]
    tried = [entry for entry in rounds if entry["score"] is not None]
    assert {entry["recipe"] for entry in tried} <= {
        "sgd 1e-09 cosine",
        "sgd 2e-09 cosine",
    }
    for entry in tried:
        assert entry["accepted"] == (entry["drop"] <= 1e-9)
    assert not all(entry["accepted"] for entry in tried)


def test_finetune_by_recipes_goes_on_from_its_states(work):
    assert run(*PRUNE, "--ratio=0.3", "--output=sparse.keras") == 0
    command = (
        "--action=finetune",
        "--model=sparse.keras",
        "--workspace=space",
        "--data=mine.py:data",
        "--epochs=2",
        "--loss=mse",
        "--learning_rate=0.01",
    )
    assert run(*command, "--output=tuned.keras") == 0
    [states] = [name for name in files("space") if "/finetune/" in name]
    written = os.stat(states).st_mtime_ns
    assert run(*command) == 0
    assert os.stat(states).st_mtime_ns == written
    one, other = (
        load_model("tuned.keras"),
        load_model("space/models/sparse-tuned.keras"),
    )
    for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
        assert (a == b).all()


def test_report(work, capsys):
    ana = (*ANA, "--evaluate=mine.py:evaluate")
    assert run(*ana, "--criterion=l1") == 0
    assert run(*RUN, "--ratio=0.4", "--iterations=1") == 0
    capsys.readouterr()
    assert run("--action=report", "--workspace=space") == 0
    out = capsys.readouterr().out
    assert "channels by l1, scored by evaluate" in out
    for text in ("Plans", "flops", "Rounds", "Models", "slim.keras"):
        assert text in out
    assert max(map(len, out.splitlines())) <= 80


def test_report_of_an_analysis_that_was_killed(work, capsys):
    assert run(*ANA, "--evaluate=mine.py:evaluate") == 0
    [path] = files("space")
    lines = pathlib.Path(path).read_text().splitlines(keepends=True)
    pathlib.Path(path).write_text("".join(lines[:4]))
    capsys.readouterr()
    assert run("--action=report", "--workspace=space") == 0
    assert "not finished: 3 scores are known" in capsys.readouterr().out


def test_export(work, capsys):
    keras.models.load_model("dense.keras").save("slim.keras")
    export = ("--action=export", "--model=slim.keras")
    assert run(*export, "--output=served") == 0
    assert os.path.exists("served/saved_model.pb")
    litert = (*export, "--format=litert", "--output=m.tflite")
    assert run(*litert, "--quantize=int8", "--data=mine.py:inputs") == 0
    assert os.path.getsize("m.tflite") > 0
    pathlib.Path("mine").mkdir()
    pathlib.Path("mine/thesis.txt").write_text("")
    for there in ("mine", "mine.py"):
        assert run(*export, f"--output={there}") == 1
        assert "it is not replaced" in capsys.readouterr().err
    assert run(*export, "--output=served") == 0
    assert run(*export, "--output=mine.py/served") == 1
    assert "cannot be written" in capsys.readouterr().err
    assert run(*litert[:-1], "--output=mine") == 1
    assert "is a folder" in capsys.readouterr().err
    assert files("mine") == ["mine/thesis.txt"]
    assert run(*litert) == 0
    assert "LiteRT: m.tflite" in capsys.readouterr().out


def test_code_of_ones_own_is_run_first(work, capsys):
    pathlib.Path("layers.py").write_text(OWN_LAYER)
    assert run("--action=flops", "--model=own.keras", "--code=layers.py") == 1
    assert cli.main(["", "--action=flops", "--model=dense.keras"]) == 0
    from importlib import util

    spec = util.spec_from_file_location("made", "layers.py")
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    keras.Sequential([keras.Input((4,)), module.Twice()]).save("own.keras")
    keras.saving.get_custom_objects().pop("mine>Twice")
    sys.modules.pop(f"tf_channel_prune_user:{work / 'layers.py'}")
    command = ("--action=flops", "--model=own.keras")
    assert run(*command) == 1
    assert "name its file with --code" in capsys.readouterr().err
    assert run(*command, "--code=layers.py") == 0


OWN_LAYER = """
import keras

@keras.saving.register_keras_serializable("mine")
class Twice(keras.layers.Layer):
    def call(self, x):
        return x * 2
"""


def test_flags_from_a_file(work):
    pathlib.Path("flags.txt").write_text(
        "--model=dense.keras\n--workspace=space\n--exclude=one,two\n"
    )
    command = ("--flagfile=flags.txt", "--action=prune", "--ratio=0.2")
    assert run(*command) == 0
    [plan] = files("space/plans")
    assert list(json.loads(pathlib.Path(plan).read_text())["groups"]) == [
        "three"
    ]


def test_flags_without_use_are_named(work, capsys):
    flags = ("--model=dense.keras", "--ratio=0.5", "--of=params")
    assert run("--action=flops", *flags) == 0
    said = capsys.readouterr().err
    assert said == "Warning: --action=flops makes no use of --of, --ratio.\n"


def test_help(capsys):
    assert run("--help") == 0
    out = capsys.readouterr().out
    for flag in ("--action", "--flagfile", "--threshold", "unsafe_load"):
        assert flag in out


def test_a_fast_analysis_and_a_plan_by_it(work, capsys):
    by = ("--data=mine.py:data", "--loss=mse")
    assert run(*ANA, *by, "--metric=loss", "--criterion=taylor") == 0
    assert "baseline" in capsys.readouterr().out
    prune = (*PRUNE, "--ratio=0.4", "--divisor=1", *by, "--criterion=taylor")
    assert run(*prune) == 0
    assert "by sensitivity" in _one_line(capsys)
    assert run(*prune, "--allocation=uniform", "--output=u.keras") == 0
    assert "by uniform" in _one_line(capsys)


def _one_line(capsys):
    return " ".join(capsys.readouterr().out.split())


ANA = ("--action=ana", "--model=dense.keras", "--workspace=space")
PRUNE = ("--action=prune", "--model=dense.keras", "--workspace=space")


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
        (("--action=report", "--workspace=none"), "no workspace none"),
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
    ],
)
def test_what_goes_wrong_is_one_sentence(work, capsys, arguments, message):
    before = files()
    assert run(*arguments) == 1
    error = capsys.readouterr().err
    sentence = error.splitlines()[-1]
    assert sentence.startswith("Error: ") and message in sentence
    assert "Traceback" not in error
    left = set(files()) - set(before)
    kept = ("plans", "rounds.json")  # what a second try goes on from
    assert not [name for name in left if not any(k in name for k in kept)]


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
    assert (slim.returncode, "Plan: space" in slim.stdout) == (0, True)
    wrong = subprocess.run([script, "--action=flops"], **options)
    assert wrong.returncode == 1
    assert wrong.stderr == "Error: --action=flops needs --model.\n"
    assert os.path.exists("sparse.keras")
