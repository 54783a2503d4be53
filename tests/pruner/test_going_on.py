"""`Pruner.prune` from a sparse model, or by a plan that was made before."""

import json
import logging

import keras
import numpy as np
import pytest
from small_models import images
from small_models import kept
from small_models import residual

import tf_channel_prune as tcp
from tf_channel_prune.errors import PruningError
from tf_channel_prune.errors import StaleFileError
from tf_channel_prune.planning import Plan


def test_going_on_from_a_sparse_model(pruner):
    first = pruner.prune(ratio=0.3, divisor=1)
    before = kept(pruner)
    first.compile(keras.optimizers.Adam(0.05), "mse")
    first.fit(images(), np.ones((16, 3)), epochs=2, verbose=0)
    trained = np.asarray(first.get_layer("two").layer.kernel)
    second = pruner.prune(ratio=0.6, divisor=1, model=first)
    # Dead channels stay dead, whatever the weights say by now.
    assert all(k <= before[name] for name, k in kept(pruner).items())
    # The ratio counts from the dense model.
    slim = pruner.transform(second)
    share = tcp.cost(slim).flops / tcp.cost(pruner.model).flops
    assert 0.3 < share <= 0.4
    # What stays has the trained weights, and the first model is untouched.
    alive = sorted(kept(pruner)["one"])
    found = np.asarray(second.get_layer("two").layer.kernel)
    np.testing.assert_array_equal(
        found[:, :, alive][..., alive], trained[:, :, alive][..., alive]
    )
    np.testing.assert_array_equal(
        np.asarray(first.get_layer("two").layer.kernel), trained
    )
    assert tcp.sparsity(first, "flops") < tcp.sparsity(second, "flops")


def test_a_lower_ratio_than_before_brings_nothing_back(pruner):
    first = pruner.prune(ratio=0.6, divisor=1)
    before = kept(pruner)
    pruner.prune(ratio=0.3, divisor=1, model=first)
    assert kept(pruner) == before


def test_the_end_of_training_keeps_the_plans_channels(pruner):
    """Trap: ranked again, dead channels might not be the smallest."""
    sparse = pruner.prune(ratio=0.5)
    planned = kept(pruner)
    sparse.compile(keras.optimizers.SGD(1.0), "mse")
    sparse.fit(images(), np.full((16, 3), 5.0), epochs=3, verbose=0)
    slim = pruner.transform(sparse)
    assert slim.get_layer("one").filters == len(planned["one"])
    bias = np.asarray(sparse.get_layer("three").layer.bias)
    np.testing.assert_array_equal(
        np.asarray(slim.get_layer("three").bias), bias[sorted(planned["three"])]
    )


def test_a_slim_model_is_a_new_dense_one(pruner, tmp_path):
    slim = pruner.transform(pruner.prune(ratio=0.3))
    with pytest.raises(PruningError, match="was not made from"):
        pruner.prune(ratio=0.5, model=slim)
    again = tcp.Pruner(slim, tmp_path / "slim")
    slimmer = again.transform(again.prune(ratio=0.3))
    assert tcp.cost(slimmer).flops <= 0.7 * tcp.cost(slim).flops


def test_going_on_with_other_excludes_is_refused(model, pruner, tmp_path):
    sparse = pruner.prune(plan=Plan({"three": [0, 1]}, {"three": 12}))
    other = tcp.Pruner(model, tmp_path, exclude="three")
    with pytest.raises(PruningError, match="must stay whole: three is excl"):
        other.prune(ratio=0.6, model=sparse)


def test_a_plan_is_replayed(pruner):
    sparse = pruner.prune(ratio=0.5)
    path, planned = pruner.plan_path, kept(pruner)
    for plan in (path, str(path), path.name, path.stem, pruner.plan):
        again = pruner.prune(plan=plan)
        assert kept(pruner) == planned
        for a, b in zip(sparse.get_weights(), again.get_weights()):
            np.testing.assert_array_equal(a, b)
    again = tcp.prune(pruner.model, plan=path)
    for a, b in zip(sparse.get_weights(), again.get_weights()):
        np.testing.assert_array_equal(a, b)


def test_an_edited_plan_is_replayed(pruner, tmp_path):
    pruner.prune(ratio=0.5)
    data = json.loads(pruner.plan_path.read_text())
    data["groups"]["three"]["kept"] = [0, 1, 11]
    edited = tmp_path / "edited.json"
    edited.write_text(json.dumps(data))
    slim = pruner.transform(pruner.prune(plan=edited))
    assert slim.get_layer("three").filters == 3


def test_a_plan_brings_nothing_back(pruner):
    pruner.prune(ratio=0.2, divisor=1)
    early = pruner.plan
    sparse = pruner.prune(ratio=0.6, divisor=1)
    late = kept(pruner)
    pruner.prune(plan=early, model=sparse)
    assert all(k <= late[name] for name, k in kept(pruner).items())


def test_a_plan_of_another_graph_is_refused(pruner, tmp_path):
    pruner.prune(ratio=0.5)
    model = residual()
    model.get_layer("relu").max_value = 6.0
    with pytest.raises(StaleFileError, match="another model"):
        tcp.Pruner(model, tmp_path).prune(plan=pruner.plan_path)
    with pytest.raises(StaleFileError, match="another model"):
        tcp.prune(model, plan=pruner.plan_path)


def test_a_plan_of_other_weights_is_noticed(pruner, tmp_path, caplog):
    pruner.prune(ratio=0.5)
    with caplog.at_level(logging.WARNING):
        tcp.Pruner(residual(seed=2), tmp_path).prune(plan=pruner.plan)
    assert "other weights" in caplog.text
