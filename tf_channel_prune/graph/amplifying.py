"""Tells rounding that a model amplifies from layers wrongly connected."""

from __future__ import annotations

import contextlib

import numpy as np

from tf_channel_prune.graph.arrays import to_numpy
from tf_channel_prune.graph.outputs import Difference
from tf_channel_prune.graph.outputs import Reference

# Far more than sums in another order differ by, far less than a wrong layer.
_OF_TOLERANCE = 0.1
_TIMES = 10


def amplifies(model, inputs, found: Difference) -> bool:
    """Whether rounding alone may make a difference as large as was found.

    The model is run with every weight a little off, by more than rounding: if
    its own outputs then stay much closer than was found, it does not amplify.

    Args:
        model: Its weights are changed, and put back.
        inputs: What the difference was found on.
        found: The difference of the model's outputs from another's.
    """
    own = Reference(model, inputs)
    with _a_little_off(model, _OF_TOLERANCE * own.tolerance):
        moved = own.difference(model)
    return found.relative <= _TIMES * moved.relative


@contextlib.contextmanager
def _a_little_off(model, share):
    """Within it every weight is off by a share of itself, up or down."""
    rng = np.random.default_rng(0)
    before = [(weight, to_numpy(weight).copy()) for weight in model.weights]
    try:
        for weight, value in before:
            if np.issubdtype(value.dtype, np.floating):
                signs = rng.choice([-1.0, 1.0], value.shape)
                weight.assign((value * (1 + share * signs)).astype(value.dtype))
        yield
    finally:
        for weight, value in before:
            weight.assign(value)
