"""Operations of `keras.ops` that pick some positions."""

from __future__ import annotations

import numpy as np

from tf_channel_prune.channels import movement
from tf_channel_prune.channels import selection
from tf_channel_prune.channels.rules.base import Change
from tf_channel_prune.channels.rules.base import Rule
from tf_channel_prune.channels.rules.base import register
from tf_channel_prune.graph.structure import CONSTANT
from tf_channel_prune.graph.structure import TensorRef


def constant(graph, value) -> np.ndarray | None:
    """The array behind a call argument, if it is known before a run."""
    if isinstance(value, TensorRef):
        maker = graph.producer.get(value.index)
        if maker is None or maker.kind != CONSTANT:
            return None
        return maker.config["value"]
    try:
        array = np.asarray(value)
    except (TypeError, ValueError):
        return None
    return array if array.dtype.kind in "iu" else None


@register("ops.Split", "ops.ArraySplit")
class SplitRule(Rule):
    """Parts of an axis, by number or by the indices between them."""

    def label(self, node, scope):
        labels = scope.input(node)
        axis = node.config["axis"] % len(labels.shape)
        vector = labels.axes.get(axis)
        start = 0
        for position in range(len(node.outputs)):
            size = scope.shape(node, position)[axis]
            part = None
            if vector is not None:
                part = vector[start : start + size]
                start += size
            part = selection.along(labels, axis, part, size)
            scope.put(node, part, position)

    def slim(self, node, kept):
        number = node.inputs[0]
        axis = node.config["axis"]
        if kept.tensor(number, axis) is None:
            return Change()
        sizes = [kept.size(output, axis) for output in node.outputs]
        bounds = np.cumsum(sizes)[:-1].tolist()
        return Change({"indices_or_sections": bounds})


@register("ops.Unstack")
class UnstackRule(Rule):
    """One tensor per position of an axis."""

    def label(self, node, scope):
        labels = scope.input(node)
        axis = node.config["axis"] % len(labels.shape)
        scope.space.freeze(
            labels.axes.get(axis), f"{node.name} makes a tensor of each"
        )
        for position in range(len(node.outputs)):
            part = selection.dropped(labels, axis)
            scope.put(node, part, position)


@register("ops.GetItem", "ops.Slice")
class GetItemRule(Rule):
    """Basic indexing: numbers, slices, `...` and new axes."""

    def label(self, node, scope):
        labels = scope.input(node)
        key = self._key(node, scope.graph, labels.shape)
        if key is None:
            if labels.axes:
                scope.freeze(node, f"{node.name} picks by a tensor")
            else:
                scope.put(node, labels)
            return
        axis, result, drops = 0, labels, []
        for old, picked in _by_axis(key):
            if old is None:
                result = selection.inserted(result, axis)
                axis += 1
                continue
            vector = labels.axes.get(old)
            if isinstance(picked, slice):
                if vector is not None:
                    vector = vector[picked]
                    result = selection.along(result, axis, vector, vector.size)
            else:
                if vector is not None:
                    scope.space.freeze(
                        vector[[picked]], f"{node.name} picks it by number"
                    )
                result = selection.along(result, axis, None, 1)
                drops.append(axis)
            axis += 1
        scope.put(node, selection.dropped(result, *drops))

    def slim(self, node, kept):
        number = node.inputs[0]
        shape = kept.scope.tensors[number].shape
        key = self._key(node, kept.scope.graph, shape)
        if key is None:
            return Change()
        take, new = [], []
        for old, picked in _by_axis(key):
            stays = None if old is None else kept.tensor(number, old)
            if stays is None or picked == slice(None):
                new.append(picked)
            elif isinstance(picked, slice):
                positions = np.arange(stays.size)[picked]
                positions = selection.renumbered(
                    stays, positions[stays[positions]]
                )
                plain = selection.as_slice(positions)
                if plain is None:
                    take.append((old, positions))
                    plain = slice(None)
                new.append(plain)
            else:
                new.append(int(selection.renumbered(stays, picked)))
        if node.kind == "ops.Slice":
            return self._slim_slice(node, kept, new)
        return Change(args=(node.args[0], tuple(new)), kwargs={}, take=take)

    def _slim_slice(self, node, kept, new):
        starts = tuple(part.start for part in new)
        sizes = [
            old if now is None else now
            for old, now in zip(
                node.config["shape"], kept.shape(node.outputs[0])
            )
        ]
        return Change({"shape": tuple(sizes)}, (node.args[0], starts), {})

    def _key(self, node, graph, shape) -> tuple | None:
        """A slice or number for every axis; None if a tensor decides."""
        if node.kind == "ops.Slice":
            starts = constant(graph, node.argument(1, "start_indices"))
            if starts is None:
                return None
            return tuple(
                slice(start, start + size)
                for start, size in zip(starts.tolist(), node.config["shape"])
            )
        key = node.argument(1, "key")
        # Keys that come from a file are lists.
        key = tuple(key) if isinstance(key, (tuple, list)) else (key,)
        for part in key:
            known = part is None or part is Ellipsis
            if isinstance(part, slice):
                bounds = (part.start, part.stop, part.step)
                known = all(b is None or _is_number(b) for b in bounds)
            if not (known or _is_number(part)):
                return None
        given = sum(part is not None and part is not Ellipsis for part in key)
        rest = (slice(None),) * (len(shape) - given)
        if not any(part is Ellipsis for part in key):
            return (*key, *rest)
        middle = next(i for i, part in enumerate(key) if part is Ellipsis)
        return (*key[:middle], *rest, *key[middle + 1 :])


def _is_number(value) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def _by_axis(key):
    """`(old axis, what is picked)`; the old axis of a new axis is None."""
    old = 0
    for part in key:
        if part is None:
            yield None, None
        else:
            yield old, part
            old += 1


@register("ops.Take")
class TakeRule(Rule):
    """Positions of an axis by their numbers, known or not."""

    def label(self, node, scope):
        labels = scope.input(node)
        axis = self._axis(node, labels)
        if axis is None:
            if labels.axes:
                scope.freeze(node, f"{node.name} flattens it")
            else:
                scope.put(node, labels)
            return
        indices = constant(scope.graph, node.argument(1, "indices"))
        rank = len(scope.shape(node)) - len(labels.shape) + 1
        vector = labels.axes.get(axis)
        place = None
        if vector is not None:
            if indices is None:
                scope.space.freeze(vector, f"{node.name} picks by a tensor")
            elif indices.ndim == 0:
                scope.space.freeze(
                    vector[[int(indices)]], f"{node.name} picks it by number"
                )
            else:
                place = movement.to_vector(
                    vector[indices], scope.space, f"{node.name} picks it"
                )
        result = selection.along(labels, axis, None, 1)
        result = selection.dropped(result, axis)
        for new in range(rank):
            result = selection.inserted(result, axis + new)
        if place is not None and place[0] is not None:
            new, vector = place
            result = selection.along(result, axis + new, vector, vector.size)
        scope.put(node, result)

    def slim(self, node, kept):
        number = node.inputs[0]
        labels = kept.scope.tensors[number]
        axis = self._axis(node, labels)
        stays = None if axis is None else kept.tensor(number, axis)
        indices = constant(kept.scope.graph, node.argument(1, "indices"))
        if stays is None or indices is None:
            return Change()
        indices = indices % stays.size
        for new in range(indices.ndim):
            living = kept.tensor(node.outputs[0], axis + new)
            if living is not None:
                indices = np.compress(living, indices, axis=new)
        indices = selection.renumbered(stays, indices)
        return Change(args=(node.args[0], indices), kwargs={})

    def _axis(self, node, labels):
        axis = node.config["axis"]
        rank = len(labels.shape)
        if axis is None:
            return 0 if rank == 1 else None
        return axis % rank
