"""Runs a model as if it were new, and without a trace.

A recurrent layer may keep its states from batch to batch, a layer of one's own
may count its calls, and generators go on. Two models are compared by what they
give from the same start, and neither is another one afterwards.
"""

from __future__ import annotations

import contextlib

import numpy as np

from tf_channel_prune.graph.arrays import to_numpy
from tf_channel_prune.graph.randomness import same_numbers


@contextlib.contextmanager
def undisturbed(model):
    """Within it the model may run; what it remembers is then put back.

    Recurrent layers that keep their states start at zero, and random layers
    draw the same numbers in every model with as many of them.
    """
    before = []
    for layer in model._flatten_layers():
        states = list(_states(layer))
        for variable in (*_own(layer), *states):
            before.append((variable, np.array(to_numpy(variable))))
        for variable in states:
            variable.assign(np.zeros(variable.shape))
    try:
        with same_numbers(model):
            yield
    finally:
        # Backwards: what was noted twice ends as it was noted first.
        for variable, value in reversed(before):
            variable.assign(value)


def _own(layer):
    """What a layer may write at inference: no trained weight."""
    for name in ("_non_trainable_variables", "_non_trainable_weights"):
        yield from getattr(layer, name, ())


def _states(layer):
    """What a recurrent layer keeps from batch to batch."""
    if getattr(layer, "stateful", False):
        yield from _variables(getattr(layer, "states", None))


def _variables(value):
    if isinstance(value, (list, tuple)):
        for one in value:
            yield from _variables(one)
    elif hasattr(value, "assign"):
        yield value
