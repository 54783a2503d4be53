"""A record that holds for every size, from two that hold for some.

The calls of a record are made once more, on tensors whose unknown sizes are
open. Most are made as they were. What was given a number that stands for a
size becomes what needs none: `reshape(x, (batch, length, 4, 8))` a layer that
keeps the batch, `broadcast_to(x, (batch, length))` a sum with zeros that are
as long, `arange(length)` a running sum of ones.
"""

from __future__ import annotations

import keras
import numpy as np
from keras import ops
from keras import tree

from tf_channel_prune.graph import comparing
from tf_channel_prune.graph import creation
from tf_channel_prune.graph import implicit_masks
from tf_channel_prune.graph import keras_internals
from tf_channel_prune.graph import recording
from tf_channel_prune.graph import tracing
from tf_channel_prune.graph import without_sizes
from tf_channel_prune.graph.sizes import NotExactError
from tf_channel_prune.graph.sizes import Size
from tf_channel_prune.graph.sizes import of_two


def opened(layer, one, two, shapes, args, kwargs):
    """One record from two.

    Args:
        layer: The layer that was recorded.
        one, two: Traces with the first and with the second primes.
        shapes: The shapes of the inputs, a `Size` for each unknown one.
        args, kwargs: Arguments with fresh tensors, the unknown sizes open.

    Returns:
        A `Trace` of the calls on these; and by the id of each symbolic
        tensor in it the shape, with a `Size` wherever one is known.

    Raises:
        NotExactError: If a call depends on a size in a way that cannot be
            said without it.
    """
    if len(one.nodes) != len(two.nodes):
        raise NotExactError("its calls depend on a size that is not known")
    inputs = recording.tensors((args, kwargs))
    replay = _Replay(one, two, shapes, inputs)
    with tracing.untouched(layer):
        for first, second in zip(one.nodes, two.nodes):
            replay.call(first, second)
        result = tree.map_structure(replay.tensor, one.result)
        nodes = recording.before(tree.flatten(result))
    found = tracing.Trace(
        args[0] if args else kwargs,
        inputs,
        result,
        nodes,
        replay.stand_ins,
        replay.paths,
        one.parts,
        alive=[one, replay.values],
    )
    return found, replay.sizes


class _Replay:
    """Makes the calls of a first record again.

    Attributes:
        values: By the id of a tensor of the first record, the tensor that
            takes its place.
        sizes: By the id of a new tensor, its shape with `Size`s.
        sources: By the number of an unknown size, an input and its axis that
            is as long.
    """

    def __init__(self, one, two, shapes, inputs):
        self.values: dict[int, object] = {}
        self.sizes: dict[int, tuple] = {}
        self.sources: dict[int, tuple] = {}
        self.partners: dict[int, int] = {}
        self.stand_ins: dict[int, object] = {}
        self.paths: dict[int, tuple[str, ...]] = {}
        self.old_paths = one.paths
        self.reshapes = 0
        for first, second, shape, new in zip(
            one.inputs, two.inputs, shapes, inputs
        ):
            self._pair(first, second, new, shape)
            if implicit_masks.of(first) is not None:
                masks = [implicit_masks.of(t) for t in (first, second, new)]
                self._pair(*masks, shape[: len(masks[0].shape)])
            for axis, size in enumerate(shape):
                if isinstance(size, Size) and size.alone:
                    self.sources.setdefault(size.of[0], (new, axis))
        for (first, value), (second, other) in zip(
            one.stand_ins.items(), two.stand_ins.items()
        ):
            self._stand_in(first, second, value, other)

    def _pair(self, first, second, new, shape):
        self.values[id(first)] = new
        self.sizes[id(new)] = tuple(shape)
        self.partners[id(second)] = id(first)

    def tensor(self, value):
        if isinstance(value, keras.KerasTensor):
            return self.values[id(value)]
        return value

    def _stand_in(self, first, second, value, other):
        """What stands for a variable or an array of its own."""
        self.partners[second] = first
        if isinstance(value, creation.Made):
            new = self._made(value, other)
            self.values[first] = new
            self.sizes[id(new)] = tuple(
                of_two(a, b)
                for a, b in zip(value.array.shape, other.array.shape)
            )
            return
        if comparing.plain(value) != comparing.plain(other):
            raise NotExactError("it makes an array of a size that is not known")
        dtype = keras.backend.standardize_dtype(value.dtype)
        self._constant(value, tuple(value.shape), dtype, first)

    def _constant(self, value, shape, dtype, first=None):
        new = keras.KerasTensor(shape, dtype=dtype)
        self.stand_ins[id(new)] = value
        self.sizes[id(new)] = shape
        self.values[first or id(new)] = new
        return new

    def _made(self, value, other):
        """An array that was made from sizes."""
        given = self._merged(value.arguments, other.arguments)
        array = keras.ops.convert_to_numpy(value.array)
        if value.name == "arange":
            stop = given["start"] if given["stop"] is None else given["stop"]
            start = 0 if given["stop"] is None else given["start"]
            step = given.get("step")
            if isinstance(stop, Size) and start == 0 and step in (None, 1):
                return ops.cast(self.range(stop), str(array.dtype))
        elif isinstance(given["shape"], (list, tuple)):
            shape = tuple(given["shape"])
            corner = tuple(
                slice(1 if without_sizes.is_open(n) else n) for n in shape
            )
            return self.spread(array[corner], shape)
        if without_sizes.depends(given):
            raise NotExactError(
                f"its {value.name} depends on a size that is not known"
            )
        return self._constant(array, array.shape, str(array.dtype))

    def call(self, first, second):
        """One call of the record, on the new tensors."""
        operation = first.operation
        name = type(operation).__name__
        args, kwargs = self._merged(
            (first.arguments.args, first.arguments.kwargs),
            (second.arguments.args, second.arguments.kwargs),
        )
        config = {}
        if keras_internals.is_layer(operation):
            self._check_same(operation, second.operation)
        else:
            configs = [comparing.config(n.operation) for n in (first, second)]
            config = self._merged(*configs)
            if name != type(second.operation).__name__:
                raise NotExactError(
                    "its calls depend on a size that is not known"
                )
        shapes = [
            tuple(of_two(a, b) for a, b in zip(x.shape, y.shape))
            for x, y in zip(first.outputs, second.outputs)
        ]
        if not without_sizes.depends((args, kwargs, config)):
            made = operation(*args, **kwargs)
        elif name in without_sizes.BY_NAME:
            say = without_sizes.BY_NAME[name]
            made = say(self, shapes[0], config, *args, **kwargs)
        else:
            raise NotExactError(f"its {name} needs a size that is not known")
        self._keep(first, second, tree.flatten(made), shapes)

    def _keep(self, first, second, made, shapes):
        for x, y, new, shape in zip(
            first.outputs, second.outputs, made, shapes
        ):
            self._pair(x, y, new, shape)
            path = self.old_paths.get(id(first))
            if path is not None:
                self.paths[id(keras_internals.node_of(new))] = path

    def _check_same(self, operation, other):
        if operation is not other and (
            operation.weights
            or type(operation) is not type(other)
            or comparing.config(operation) != comparing.config(other)
        ):
            raise NotExactError("its layers depend on a size that is not known")

    def _merged(self, one, two):
        """What two records have in common, a `Size` where that differs."""
        if isinstance(one, keras.KerasTensor):
            if self.partners.get(id(two)) != id(one):
                raise NotExactError(
                    "its calls depend on a size that is not known"
                )
            return self.values[id(one)]
        if type(one) is not type(two):
            raise NotExactError("its calls depend on a size that is not known")
        if isinstance(one, dict) and one.keys() == two.keys():
            return {key: self._merged(one[key], two[key]) for key in one}
        if isinstance(one, (list, tuple)) and len(one) == len(two):
            return type(one)(self._merged(a, b) for a, b in zip(one, two))
        if isinstance(one, slice):
            return slice(
                self._merged(one.start, two.start),
                self._merged(one.stop, two.stop),
                self._merged(one.step, two.step),
            )
        found = None
        if isinstance(one, (int, np.integer)) and one != two:
            found = of_two(int(one), int(two))
        elif comparing.plain(one) == comparing.plain(two):
            return one
        if found is None:
            raise NotExactError("it computes with a size that is not known")
        return found

    def zeros(self, size):
        """As many whole zeros as a size says."""
        if not size.alone or size.of[0] not in self.sources:
            raise NotExactError("it multiplies sizes that are not known")
        tensor, axis = self.sources[size.of[0]]
        others = [i for i in range(len(tensor.shape)) if i != axis]
        zeros = ops.zeros_like(tensor, dtype="int32")
        return ops.sum(zeros, axis=others) if others else zeros

    def range(self, size):
        """`0, 1, ..., size - 1`."""
        return ops.cumsum(self.zeros(size) + 1, axis=0) - 1

    def spread(self, value, shape):
        """`broadcast_to` a shape: the sum with zeros of that shape."""
        before = self.sizes.get(id(value), tuple(value.shape))
        before = (1,) * (len(shape) - len(before)) + before
        fixed = [
            1 if without_sizes.is_open(new) or old == new else new
            for old, new in zip(before, shape)
        ]
        dtype = keras.backend.standardize_dtype(value.dtype)
        if any(size > 1 for size in fixed) or len(value.shape) < len(shape):
            value = _plus(value, np.zeros(fixed, dtype))
        for axis, (old, new) in enumerate(zip(before, shape)):
            if without_sizes.is_open(new) and old != new:
                ones = [1] * len(shape)
                ones[axis] = -1
                zeros = ops.reshape(ops.cast(self.zeros(new), dtype), ones)
                value = _plus(value, zeros)
        return value


def _plus(one, zeros):
    """The sum; no `ops.add`, which on TensorFlow takes what has one long axis
    for a bias along the channels, if only the two are as long."""
    if keras.backend.standardize_dtype(one.dtype) == "bool":
        return ops.logical_or(one, zeros)
    return ops.subtract(one, zeros)
