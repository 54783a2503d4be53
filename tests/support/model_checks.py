"""What must hold of any model: pruned, masked, transformed, saved, equal."""

from __future__ import annotations

import contextlib

import keras
import numpy as np
import pytest
from keras import ops
from slopes import slopes

from tf_channel_prune.api import channels_of
from tf_channel_prune.channels import Channels
from tf_channel_prune.cost import CostTable
from tf_channel_prune.graph.inputs import random_inputs
from tf_channel_prune.masking import Masks
from tf_channel_prune.masking import make_sparse
from tf_channel_prune.transform import compare
from tf_channel_prune.transform import make_slim

TOLERANCE = 2e-5


def randomise(model, seed=0):
    """Gives every float weight a value that could be a trained one.

    Biases, betas and moving averages too: what starts at zero hides mistakes.
    """
    rng = np.random.default_rng(seed)
    for variable in model.variables:
        dtype = str(variable.dtype)
        if "seed_generator" in variable.path or "float" not in dtype:
            continue
        value = rng.standard_normal(variable.shape)
        name = variable.path.rsplit("/", 1)[-1]
        if "kernel" in name or "embeddings" in name or len(value.shape) > 1:
            value /= max(np.sqrt(np.prod(value.shape[:-1])), 1.0)
        else:
            value *= 0.4
        if "variance" in name:
            value = np.abs(value) + 0.5
        if "gamma" in name:
            value = value + 1
        variable.assign(value.astype("float32"))
    return model


def random_alive(channels: Channels, rng) -> np.ndarray:
    """A random subset of every prunable group, never empty."""
    alive = np.ones(channels.unit_count, bool)
    for group in channels.prunable:
        keep = rng.random(group.size) < rng.uniform(0.2, 0.9)
        keep[rng.permutation(group.size)[: group.least]] = True
        missing = group.allowed(keep.sum()) - keep.sum()
        keep[np.flatnonzero(~keep)[:missing]] = True
        alive[group.units] = keep
    return alive


def outputs_of(model, inputs) -> list[np.ndarray]:
    result = keras.tree.flatten(model(inputs, training=False))
    return [ops.convert_to_numpy(y).astype("float64") for y in result]


@contextlib.contextmanager
def where_keras_can():
    """Around the user's model: what Keras itself cannot do is no case."""
    backend = keras.backend.backend()
    try:
        yield
    except Exception as error:
        if backend == "tensorflow":
            raise
        pytest.skip(f"Keras on {backend} cannot do that: {error}")


def spread(outputs) -> float:
    """How much the outputs differ between samples, relative to their size."""
    most = 0.0
    for y in outputs:
        if y.ndim and len(y) > 1:
            scale = np.abs(y).max() or 1.0
            most = max(most, float(np.abs(y - y[:1]).max() / scale))
    return most


def check(
    model, seed=0, rounds=1, tolerance=TOLERANCE, saves=None, gradients=True
):
    """Runs a model through everything, with random masks.

    Args:
        model: A built model; its weights are made random.
        seed: Of weights, inputs and masks.
        rounds: How many random masks to try.
        tolerance: Largest difference relative to the outputs' scale.
        saves: A folder to save and load the results in, or None.
        gradients: Whether to check the sparse model's gradients as well.

    Returns:
        The labels of the model.
    """
    randomise(model, seed)
    rng = np.random.default_rng(seed)
    inputs = random_inputs(model, batch=3, seed=seed)
    before = [np.array(v) for v in model.variables]
    with where_keras_can():
        dense = outputs_of(model, inputs)
    assert all(np.isfinite(y).all() for y in dense), "the model makes NaN"
    assert spread(dense) > 1e-4, "the outputs do not depend on the inputs"
    channels = channels_of(model)
    for array, variable in zip(before, model.variables):
        np.testing.assert_array_equal(array, np.array(variable))
    if not channels.prunable:
        return channels
    check_same(model, make_sparse(channels), inputs, tolerance)
    kinds = {node.kind for node in channels.graph.nodes}
    # Keras saves variables of operations as constants, or not at all.
    if saves is not None and "Variable" not in kinds:
        path = str(saves / "dense.keras")
        model.save(path)
        loaded = channels_of(keras.models.load_model(path, safe_mode=False))
        assert names(loaded) == names(channels)
    for _ in range(rounds):
        alive = random_alive(channels, rng)
        check_alive(channels, alive, inputs, dense, tolerance, saves, gradients)
    for array, variable in zip(before, model.variables):
        np.testing.assert_array_equal(array, np.array(variable))
    return channels


def check_same(first, second, inputs, tolerance):
    difference = compare(first, second, inputs)
    assert difference.relative <= tolerance, str(difference)


def check_alive(
    channels,
    alive,
    inputs,
    dense,
    tolerance=TOLERANCE,
    saves=None,
    grads=True,
    power=True,
):
    """One choice of units: sparse equals slim, and both say what was cut.

    Returns:
        Whether the masks changed any output.
    """
    moved = False
    sparse = make_sparse(channels, alive)
    masks = Masks(sparse)
    assert masks.channels.unit_count == channels.unit_count
    assert names(masks.channels) == names(channels)
    np.testing.assert_array_equal(masks.alive(), alive)
    slim = make_slim(masks.channels, alive)
    check_same(sparse, slim, inputs, tolerance)
    if not alive.all():
        moved = differs(dense, outputs_of(sparse, inputs))
        # Channels that no output needs may be all that was masked.
        assert moved or not power, "masks change nothing"
        assert slim.count_params() < sum(
            int(np.prod(w.shape)) for w in channels.graph.weights.values()
        )
    check_cost(channels, alive, slim)
    if grads:
        check_gradients(sparse, inputs)
    if saves is not None:
        check_files(sparse, slim, alive, inputs, saves)
    return moved


def names(channels):
    return [(group.name, group.size) for group in channels.prunable]


def differs(first, second) -> bool:
    return any(np.abs(a - b).max() > 1e-6 for a, b in zip(first, second))


def check_cost(channels, alive, slim):
    """The table's arithmetic is the slim model's own size."""
    table = CostTable(channels)
    counts = [int(alive[group.units].sum()) for group in channels.prunable]
    assert table.total(counts, "params") == slim.count_params()


def check_gradients(sparse, inputs):
    """No NaN on the way back: masked channels do not spoil training."""
    for path, slope in slopes(sparse, inputs):
        assert np.isfinite(slope).all(), path


def check_files(sparse, slim, alive, inputs, folder):
    """Both models come back from files as they were."""
    path = str(folder / "model.keras")
    slim.save(path)
    loaded = keras.models.load_model(path, safe_mode=False)
    check_same(slim, loaded, inputs, 1e-6)
    sparse.save(path)
    loaded = keras.models.load_model(path, safe_mode=False)
    check_same(sparse, loaded, inputs, 1e-6)
    again = Masks(loaded)
    np.testing.assert_array_equal(again.alive(), alive)
    check_same(slim, make_slim(again.channels, alive), inputs, 1e-6)
