"""`Pruner`: the verbs over a workspace."""

import json
import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
from small_models import closeness
from small_models import images

import tf_channel_prune as tcp
from tf_channel_prune.errors import PruningError
from tf_channel_prune.transform import compare

TESTS = pathlib.Path(__file__).resolve().parents[1]
SUPPORT = TESTS / "support"


def test_the_verbs_in_a_row(pruner):
    model = pruner.model
    sensitivity = pruner.ana(closeness(model), progress=False)
    assert list(sensitivity.curves) == ["one", "three"]
    assert sensitivity.baseline == 0
    assert max(sensitivity.curves["three"].values()) < 0
    sparse = pruner.prune(ratio=0.5)
    assert pruner.plan.request["by"] == "analysis"
    sparse.compile("adam", "mse")
    sparse.fit(images(), np.zeros((16, 3)), verbose=0)
    slim = pruner.transform(sparse, samples=images())
    assert compare(sparse, slim, images()).equal
    before, after = tcp.cost(model).flops, tcp.cost(slim).flops
    assert after <= before / 2
    assert pruner.plan.achieved["flops"] == pytest.approx(1 - after / before)


@pytest.mark.parametrize(
    "call",
    [
        lambda pruner: tcp.Pruner(pruner.model, 3),
        lambda pruner: tcp.Pruner(pruner.model, ""),
        lambda pruner: tcp.prune(pruner.model, 0.5, exclude=3),
        lambda pruner: tcp.prune(pruner.model, plan=3),
        lambda pruner: pruner.prune(plan=3),
        lambda pruner: pruner.ana(closeness(pruner.model), ratios=0.5),
        lambda pruner: pruner.ana(closeness(pruner.model), jobs="all"),
        lambda pruner: pruner.transform(pruner.prune(0.5), samples=3),
        lambda pruner: pruner.transform(
            pruner.prune(0.5), samples=np.zeros((1, 2, 2))
        ),
    ],
)
def test_arguments_of_the_wrong_kind_are_pruning_errors(pruner, call):
    with pytest.raises(PruningError, match=r"got|take|cannot be read"):
        call(pruner)


@pytest.mark.parametrize(
    "request_",
    [{}, {"ratio": 0.5, "threshold": 0.1}, {"ratio": 0.5, "plan": "x"}],
)
def test_exactly_one_target(pruner, request_):
    with pytest.raises(PruningError, match="exactly one of"):
        pruner.prune(**request_)


def test_the_model_given_is_never_changed(model, tmp_path):
    model.compile("adam", "mse")
    weights = [np.array(w) for w in model.get_weights()]
    config = json.dumps(model.get_config(), default=str)
    nodes = [len(layer._inbound_nodes) for layer in model.layers]
    optimizer = model.optimizer
    pruner = tcp.Pruner(model, workspace=tmp_path)
    pruner.ana(closeness(model), progress=False)
    sparse = pruner.prune(threshold=0.05)
    sparse = pruner.prune(ratio=0.6, model=sparse)
    sparse.fit(images(), np.zeros((16, 3)), verbose=0)
    pruner.transform(sparse)
    for before, after in zip(weights, model.get_weights()):
        np.testing.assert_array_equal(before, after)
    assert config == json.dumps(model.get_config(), default=str)
    assert nodes == [len(layer._inbound_nodes) for layer in model.layers]
    assert all(v.constraint is None for v in model.trainable_variables)
    assert model.optimizer is optimizer
    assert optimizer.iterations == 0


def test_a_model_with_nothing_to_prune_says_why(tmp_path):
    image = keras.Input((4, 4, 2))
    model = keras.Model(image, keras.layers.Conv2D(8, 3, name="conv")(image))
    with pytest.raises(PruningError, match="reaches a model output"):
        tcp.Pruner(model, tmp_path)


def test_one_name_or_an_iterator_of_names_is_excluded(model, tmp_path):
    """An iterator is read once, for the model and for its sparse copies."""
    pruner = tcp.Pruner(model, tmp_path, exclude=iter(["three"]))
    sparse = pruner.prune(0.3)
    pruner.prune(0.5, model=sparse)
    assert set(pruner.plan.kept) == {"one"}
    assert "keeping" in str(pruner.plan)


def test_a_misspelt_exclude_is_an_error(model, tmp_path):
    with pytest.raises(PruningError, match="exclude='thre'"):
        tcp.Pruner(model, tmp_path, exclude=["thre"])


def test_excluded_channels_stay(model, tmp_path):
    pruner = tcp.Pruner(model, tmp_path, exclude="three")
    sparse = pruner.prune(ratio=0.5)
    slim = pruner.transform(sparse)
    assert slim.get_layer("three").filters == 12
    assert slim.get_layer("one").filters < 8


SAME = """
import sys
sys.path[:0] = sys.argv[2:]
from small_models import closeness, residual
import tf_channel_prune as tcp

model = residual()
pruner = tcp.Pruner(model, sys.argv[1])
pruner.prune(ratio=0.4)
pruner.ana(closeness(model), ratios=[0.3, 0.6], progress=False)
pruner.prune(ratio=0.5)
"""


def test_two_processes_make_the_same_files(tmp_path):
    found = []
    for seed in ("1", "2"):
        space = tmp_path / seed
        subprocess.run(
            [sys.executable, "-c", SAME, space, SUPPORT, TESTS.parent],
            check=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        )
        found.append(
            {
                str(path.relative_to(space)): path.read_text()
                for path in space.rglob("*.json*")
            }
        )
    assert len(found[0]) == 3
    assert found[0] == found[1]


def test_only_json_and_only_in_the_workspace(model, tmp_path, monkeypatch):
    """Traps: pickle in caches, hard-coded folders in the current one."""
    monkeypatch.chdir(tmp_path)
    pruner = tcp.Pruner(model, workspace="mine")
    pruner.ana(closeness(model), progress=False)
    pruner.transform(pruner.prune(ratio=0.5))
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
    for path in (tmp_path / "mine").rglob("*.json*"):
        text = path.read_text()
        lines = text.splitlines() if path.suffix == ".jsonl" else [text]
        assert all(json.loads(line) for line in lines)


def test_another_process_in_the_workspace_is_told(pruner):
    other = tcp.Pruner(pruner.model, pruner.workspace.path)
    with (
        other.workspace.lock(),
        pytest.raises(PruningError, match="in use by process"),
    ):
        pruner.ana(closeness(pruner.model), progress=False)
