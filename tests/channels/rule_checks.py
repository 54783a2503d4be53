"""What the tests of the rules share: small models, pruned and compared."""

import keras
import numpy as np

from tf_channel_prune.api import channels_of
from tf_channel_prune.channels import Channels
from tf_channel_prune.cost import PRODUCT_METRICS
from tf_channel_prune.cost import CostTable
from tf_channel_prune.graph.inputs import random_inputs
from tf_channel_prune.masking import Masks
from tf_channel_prune.masking import make_sparse
from tf_channel_prune.transform import compare
from tf_channel_prune.transform import make_slim


def randomise(model, seed=0):
    """Gives every float weight a value that could be a trained one."""
    rng = np.random.default_rng(seed)
    for variable in model.variables:
        name = getattr(variable, "path", variable.name)
        if "int" in str(variable.dtype):
            continue
        value = rng.standard_normal(variable.shape) * 0.4
        if "variance" in name:
            value = np.abs(value) + 0.5
        if "gamma" in name:
            value = value + 1
        variable.assign(np.asarray(value).astype("float32"))
    return model


def random_alive(channels: Channels, seed=0, least=1) -> np.ndarray:
    """Removes a random half of each prunable group, but keeps `least`.

    And what its layers need.
    """
    rng = np.random.default_rng(seed)
    alive = np.ones(channels.unit_count, bool)
    for group in channels.prunable:
        keep = rng.random(group.size) < 0.5
        keep[rng.permutation(group.size)[: max(least, group.least)]] = True
        if keep.all():
            keep[rng.integers(group.size)] = group.size == group.least
        missing = group.allowed(keep.sum()) - keep.sum()
        keep[np.flatnonzero(~keep)[:missing]] = True
        alive[group.units] = keep
    return alive


def prune_and_compare(model, seed=0, tolerance=1e-5, inputs=None):
    """Prunes random units and checks all that must hold of the result.

    Returns:
        `(channels, alive, slim)`.
    """
    channels = channels_of(model)
    alive = random_alive(channels, seed)
    if inputs is None:
        inputs = random_inputs(model)
    before = [v.numpy() for v in model.weights]

    whole = make_sparse(channels) if channels.prunable else model
    assert compare(model, whole, inputs).relative <= tolerance

    if not channels.prunable:
        return channels, alive, model
    sparse = make_sparse(channels, alive)
    masks = Masks(sparse)
    assert (masks.alive() == alive).all()
    slim = make_slim(masks.channels, alive)
    difference = compare(sparse, slim, inputs)
    assert difference.relative <= tolerance, str(difference)

    check_costs(channels, alive, slim)
    for old, variable in zip(before, model.weights):
        np.testing.assert_array_equal(old, variable.numpy())
    return channels, alive, slim


def check_costs(channels, alive, slim):
    """The arithmetic on kept counts is the slim model's own cost."""
    table = CostTable(channels)
    counts = [int(alive[group.units].sum()) for group in channels.prunable]
    shrunk = channels_of(slim)
    own = CostTable(shrunk)
    assert slim.count_params() == table.total(counts, "params")
    for metric in PRODUCT_METRICS:
        expected = table.total(counts, metric)
        assert own.total(own.sizes, metric) == expected, metric


def sizes(channels) -> dict[str, int]:
    """What can be removed: group name to number of units."""
    return {group.name: group.size for group in channels.prunable}


def reasons(channels) -> dict[str, str]:
    """Why the rest cannot: group name to reason."""
    return {g.name: g.reason for g in channels.groups if g.frozen}


def between(layer, shape=(6, 6, 3), channels=4, units=2, first=None):
    """Makes channels, calls `layer` on them, uses them up.

    Args:
        layer: A layer, or a function of a symbolic tensor.
        shape: The input's shape without the batch.
        channels: How many channels the producer `a` makes.
        units: How many channels the consumer `z` makes.
        first: The producer, in place of a convolution or Dense.
    """
    x = inputs = keras.Input(shape)
    if first is None:
        first = producer(len(shape), channels)
    x = first(x)
    x = layer(x)
    x = consumer(len(x.shape) - 1, units)(x)
    return randomise(keras.Model(inputs, x))


def producer(rank, channels, name="a"):
    if rank == 1:
        return keras.layers.Dense(channels, name=name)
    conv = getattr(keras.layers, f"Conv{rank - 1}D")
    return conv(channels, 2, padding="same", name=name)


def consumer(rank, units, name="z"):
    if rank == 1:
        return keras.layers.Dense(units, name=name)
    return getattr(keras.layers, f"Conv{rank - 1}D")(units, 1, name=name)


def replayed_shapes(channels, alive):
    """Output shapes of the slim model, without running it."""
    slim = make_slim(channels, alive)
    return [tuple(t.shape) for t in slim.outputs]
