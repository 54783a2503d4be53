"""Tells whether two records of a layer's `call` say the same."""

from __future__ import annotations

import keras
import numpy as np
from keras import tree

from tf_channel_prune.graph import creation
from tf_channel_prune.graph import keras_internals
from tf_channel_prune.graph import sizes
from tf_channel_prune.graph import variables
from tf_channel_prune.graph.tracing import Trace


def same(first: Trace, second: Trace) -> bool:
    """Whether two runs recorded the same calls on the same values."""
    return _written(first) == _written(second)


def _written(found: Trace) -> list:
    """A record as plain values that can be compared."""
    numbers: dict[int, object] = {
        id(tensor): ("input", i) for i, tensor in enumerate(found.inputs)
    }
    for key, value in found.stand_ins.items():
        numbers[key] = plain(value)

    def written(value):
        if isinstance(value, keras.KerasTensor):
            return numbers.get(id(value), "unknown")
        if isinstance(value, dict):
            return {k: written(v) for k, v in value.items() if k != "training"}
        if isinstance(value, (list, tuple)):
            return [written(v) for v in value]
        if isinstance(value, slice):
            return [written(v) for v in (value.start, value.stop, value.step)]
        return plain(value)

    parts = {id(part) for part in found.parts}
    lines = []
    for i, node in enumerate(found.nodes):
        operation = node.operation
        what = id(operation)
        if what not in parts:  # a layer may be made anew at every call
            what = (type(operation).__name__, written(config(operation)))
        lines.append(
            (what, written(node.arguments.args), written(node.arguments.kwargs))
        )
        for j, tensor in enumerate(node.outputs):
            numbers[id(tensor)] = ("output", i, j)
    lines.append(written(found.result))
    return lines


def foretell(one: Trace, two: Trace, third: Trace, primes) -> bool:
    """Whether a third run records what the first two say that it will.

    Args:
        one, two: With the first and the second primes for unknown sizes.
        third: With `primes`.
    """
    first, second, last = map(_written, (one, two, third))
    return _with_sizes(first, second, sizes.SECOND) == _with_sizes(
        first, last, primes
    )


def _with_sizes(one, two, primes):
    """A record in which numbers that differ are `Size`s."""
    if type(one) is not type(two):
        return object()  # equal to nothing else
    if isinstance(one, dict) and one.keys() == two.keys():
        return {k: _with_sizes(one[k], two[k], primes) for k in one}
    if isinstance(one, (list, tuple)) and len(one) == len(two):
        return [_with_sizes(a, b, primes) for a, b in zip(one, two)]
    if isinstance(one, int):
        found = sizes.of_two(one, two, primes)
        return object() if found is None else found
    return one if one == two else object()


def config(operation) -> dict:
    config = dict(keras_internals.config(operation))
    config.pop("name", None)
    return config


def plain(value):
    if isinstance(value, creation.Made):
        given = [plain(v) for v in tree.flatten(value.arguments)]
        return ("made", value.name, given)
    if isinstance(value, keras.Variable):
        return ("variable", id(value))
    if variables.is_array(value):
        value = keras.ops.convert_to_numpy(value)
    if isinstance(value, np.ndarray):
        return (value.shape, str(value.dtype), value.tobytes())
    if isinstance(value, (str, int, float, bool, type(None))):
        return value
    return repr(value)
