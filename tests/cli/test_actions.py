"""The command line: what each action prints and writes."""

import json
import os
import pathlib
import sys

import keras
from commands import ANA
from commands import FUNCTIONS
from commands import PRUNE
from commands import RUN
from commands import files
from commands import one_line
from commands import run

from tf_channel_prune import cli
from tf_channel_prune.graph.loading import load_model
from tf_channel_prune.masking import Masks


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
    assert f"Plan: {work / plan}" in out and "of flops removed" in out
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
    assert "Candidates" in out and f"Plan: {work / plan}" in out
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
    assert f"Latencies: {work}/space/latency.json" in capsys.readouterr().out
    how = ("--of=latency", "--ratio=0.2", "--divisor=1")
    assert run("--action=prune", *dense, *how) == 0
    assert "of latency removed" in capsys.readouterr().out
    assert run("--action=prune", *dense, *how, "--latency=none.json") == 1
    assert "cannot be read" in capsys.readouterr().err


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
    assert run(*export, "--format=onnx", "--output=m.onnx") == 0
    assert "ONNX: m.onnx" in capsys.readouterr().out


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
    assert "by sensitivity" in one_line(capsys)
    assert run(*prune, "--allocation=uniform", "--output=u.keras") == 0
    assert "by uniform" in one_line(capsys)


def test_a_report_of_a_plan_that_was_edited(work, capsys):
    assert run(*PRUNE, "--ratio=0.4") == 0
    [path] = files("space/plans")
    plan = json.loads(pathlib.Path(path).read_text())
    plan["groups"]["three"]["kept"] = [0]
    pathlib.Path(path).write_text(json.dumps(plan))
    capsys.readouterr()
    assert run(*PRUNE, "--ratio=0.4") == 0
    again = f"{path.removesuffix('.json')}-2.json"
    assert f"Plan: {work / again}" in capsys.readouterr().out
    assert files("space/plans") == [again, path]
    assert run("--action=report", "--workspace=space") == 0
    said = one_line(capsys)
    assert "? The file was edited" in said
    assert said.count(f"{plan['achieved']['flops']:.1%}") == 1


def test_a_file_that_changes_the_folder_moves_no_workspace(work):
    (work / "elsewhere").mkdir()
    moving = f"import os\nos.chdir({str(work / 'elsewhere')!r})\n"
    pathlib.Path("moving.py").write_text(moving + FUNCTIONS)
    ana = ("--action=ana", f"--model={work / 'dense.keras'}")
    by = ("--data=moving.py:data", "--loss=mse", "--metric=loss")
    assert run(*ana, "--workspace=space", *by) == 0
    assert files(work / "space/analysis") and not files(work / "elsewhere")


def test_a_search_takes_a_generator(work):
    search = ("--action=search", "--model=dense.keras", "--workspace=space")
    asked = ("--ratio=0.3", "--divisor=1", "--candidates=2")
    pathlib.Path("parts.py").write_text(
        "from mine import x\ndef parts():\n    yield x[:8]\n    yield x[8:]\n"
    )
    functions = ("--evaluate=mine.py:evaluate", "--data=parts.py:parts")
    assert run(*search, *asked, *functions) == 0
