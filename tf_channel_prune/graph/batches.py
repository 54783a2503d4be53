"""Records made with a number in place of the unknown batch size.

Python arithmetic on sizes, `ops.reshape(x, (batch * windows, ...))`, needs a
number. A call is recorded twice, with two prime numbers: what differs by just
their ratio is a multiple of the batch size; what differs otherwise cannot be
said without it.
"""

from __future__ import annotations

import dataclasses

import keras
import numpy as np

from tf_channel_prune.graph import implicit_masks
from tf_channel_prune.graph import keras_internals
from tf_channel_prune.graph import variables

PRIMES = (97, 89)


class NotExactError(Exception):
    """The record depends on the batch size in a way that cannot be said."""


@dataclasses.dataclass(frozen=True)
class Batch:
    """A multiple of the batch size."""

    times: int


@dataclasses.dataclass
class Freed:
    """A record without the number that stood for the batch size.

    Attributes:
        shapes: Shape by the id of a symbolic tensor, `None` for multiples of
            the batch size.
        configs: Constructor arguments by the id of a node, where they differ.
        spreads: By the id of a node that repeats its input once per sample:
            the repeated tensor is as many times its input.
    """

    shapes: dict[int, tuple] = dataclasses.field(default_factory=dict)
    configs: dict[int, dict] = dataclasses.field(default_factory=dict)
    spreads: set[int] = dataclasses.field(default_factory=set)


def freed(first, second) -> Freed:
    """Compares records made with the two primes.

    Args:
        first, second: Traces of the same call.

    Raises:
        NotExactError: If the batch size cannot be left open.
    """
    if len(first.nodes) != len(second.nodes):
        raise NotExactError("its calls depend on the batch size")
    found = Freed()
    numbers: dict[int, int] = {}
    for one, two in zip(first.inputs, second.inputs):
        _tensors(one, two, found, numbers)
        if implicit_masks.of(one) is not None:
            mask, other = implicit_masks.of(one), implicit_masks.of(two)
            numbers[id(mask)] = numbers[id(other)] = len(numbers)
    for one, two in zip(first.stand_ins.items(), second.stand_ins.items()):
        if not _same_value(one[1], two[1]):
            raise NotExactError("it makes an array of the batch size")
        numbers[one[0]] = numbers[two[0]] = len(numbers)
    for one, two in zip(first.nodes, second.nodes):
        for a, b in zip(one.outputs, two.outputs):
            _tensors(a, b, found, numbers)
        _node(one, two, found, numbers)
    return found


def _tensors(one, two, found, numbers):
    merged = [_merged(a, b, numbers) for a, b in zip(one.shape, two.shape)]
    found.shapes[id(one)] = tuple(
        None if isinstance(size, Batch) else size for size in merged
    )
    numbers[id(one)] = numbers[id(two)] = len(numbers)


def _node(one, two, found, numbers):
    operation = one.operation
    name = type(operation).__name__
    args = _merged(
        (one.arguments.args, one.arguments.kwargs),
        (two.arguments.args, two.arguments.kwargs),
        numbers,
    )
    if keras_internals.is_layer(operation):
        different = type(operation) is not type(two.operation) or (
            operation.weights and operation is not two.operation
        )
        if different or _has_batch(args):
            raise NotExactError("its calls depend on the batch size")
        return
    configs = [keras_internals.config(n.operation) for n in (one, two)]
    for config in configs:
        config.pop("name", None)
    config = _merged(*configs, numbers)
    if _has_batch(args) or name != type(two.operation).__name__:
        raise NotExactError(f"its {name} depends on the batch size")
    if not _has_batch(config):
        return
    shape = _merged(one.outputs[0].shape, two.outputs[0].shape, numbers)
    if name == "Reshape":
        found.configs[id(one)] = {"newshape": _open_once(shape, name)}
    elif name in ("BroadcastTo", "Tile") and _spreads(one, shape):
        found.spreads.add(id(one))
        found.configs[id(one)] = _without_batch(one, name)
    else:
        raise NotExactError(f"its {name} depends on the batch size")


def _open_once(shape, name) -> tuple:
    """A reshape target with -1 for the batch."""
    if sum(isinstance(size, Batch) for size in shape) > 1 or None in shape:
        raise NotExactError(f"its {name} depends on the batch size")
    return tuple(-1 if isinstance(size, Batch) else size for size in shape)


def _spreads(node, shape) -> bool:
    """Whether one row becomes as many as there are samples."""
    before = node.input_tensors[0].shape
    if any(isinstance(size, Batch) for size in shape[1:]):
        return False
    first = before[0] if len(before) == len(shape) else 1
    return shape[0] == Batch(1) and first == 1


def _without_batch(node, name) -> dict:
    """The operation on one row."""
    config = keras_internals.config(node.operation)
    key = "shape" if name == "BroadcastTo" else "repeats"
    return {key: (1, *tuple(config[key])[1:])}


def _has_batch(value) -> bool:
    if isinstance(value, dict):
        return any(_has_batch(v) for v in value.values())
    if isinstance(value, (list, tuple)):
        return any(_has_batch(v) for v in value)
    return isinstance(value, Batch)


def _merged(one, two, numbers):
    """What two records have in common, with `Batch` for multiples of it."""
    if type(one) is not type(two):
        raise NotExactError("its calls depend on the batch size")
    if isinstance(one, keras.KerasTensor):
        if numbers.get(id(one)) != numbers.get(id(two)):
            raise NotExactError("its calls depend on the batch size")
        return None
    if isinstance(one, dict):
        return {key: _merged(one[key], two[key], numbers) for key in one}
    if isinstance(one, (list, tuple)) and len(one) == len(two):
        return [_merged(a, b, numbers) for a, b in zip(one, two)]
    if isinstance(one, slice):
        return [
            _merged(getattr(one, part), getattr(two, part), numbers)
            for part in ("start", "stop", "step")
        ]
    if isinstance(one, int) and one != two:
        times, rest = divmod(one, PRIMES[0])
        if rest or two != times * PRIMES[1]:
            raise NotExactError("it computes with the batch size")
        return Batch(times)
    if not _same_value(one, two):
        raise NotExactError("its calls depend on the batch size")
    return one


def _same_value(one, two) -> bool:
    if isinstance(one, keras.Variable) or isinstance(two, keras.Variable):
        return one is two
    if variables.is_array(one) and variables.is_array(two):
        one, two = (keras.ops.convert_to_numpy(v) for v in (one, two))
        return one.shape == two.shape and np.array_equal(one, two)
    return one == two
