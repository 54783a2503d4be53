"""Operations of `keras.ops` that move whole positions and keep all of them."""

from __future__ import annotations

import dataclasses

import numpy as np

from tf_channel_prune.channels import movement
from tf_channel_prune.channels import selection
from tf_channel_prune.channels.rules.base import Change
from tf_channel_prune.channels.rules.base import Rule
from tf_channel_prune.channels.rules.base import register
from tf_channel_prune.channels.rules.reshaping import slim_target


def as_axes(axis, rank: int) -> list[int]:
    """Axis numbers from 0, from one number, several, or None for all."""
    if axis is None:
        return list(range(rank))
    if isinstance(axis, int):
        return [axis % rank]
    return [a % rank for a in axis]


@register("ops.Reshape", "ops.Ravel")
class ReshapeOpRule(Rule):
    """The target has the batch axis in it."""

    def label(self, node, scope):
        labels = movement.reshape(
            scope.input(node),
            scope.shape(node),
            scope.space,
            f"{node.name} reshapes it",
        )
        scope.put(node, labels)

    def slim(self, node, kept):
        if node.kind == "ops.Ravel":
            return Change()
        target = node.config["newshape"]
        target = [target] if isinstance(target, int) else target
        sizes = kept.shape(node.outputs[0])
        return Change({"newshape": slim_target(target, sizes)})


@register("ops.Transpose", "ops.Moveaxis", "ops.Swapaxes")
class TransposeRule(Rule):
    """Axes change places; nothing else does."""

    def label(self, node, scope):
        labels = scope.input(node)
        order = self._order(node, len(labels.shape))
        scope.put(node, movement.transpose(labels, order))

    def _order(self, node, rank):
        config = node.config
        order = list(range(rank))
        if node.kind == "ops.Transpose":
            return config["axes"] or order[::-1]
        if node.kind == "ops.Swapaxes":
            one, two = config["axis1"] % rank, config["axis2"] % rank
            order[one], order[two] = two, one
            return order
        source = as_axes(config["source"], rank)
        target = as_axes(config["destination"], rank)
        order = [axis for axis in order if axis not in source]
        for new, old in sorted(zip(target, source)):
            order.insert(new, old)
        return order


@register("ops.ExpandDims")
class ExpandDimsRule(Rule):
    """New axes of size 1."""

    def label(self, node, scope):
        labels = scope.input(node)
        axes = node.config["axis"]
        count = 1 if isinstance(axes, int) else len(axes)
        for axis in sorted(as_axes(axes, len(labels.shape) + count)):
            labels = selection.inserted(labels, axis)
        scope.put(node, labels)


@register("ops.Squeeze")
class SqueezeRule(Rule):
    """Axes of size 1 go; the slim model names them."""

    def label(self, node, scope):
        labels = scope.input(node)
        axes = self._axes(node, labels.shape)
        for axis in axes:
            scope.space.freeze(
                labels.axes.get(axis), f"{node.name} drops its only position"
            )
        scope.put(node, selection.dropped(labels, *axes))

    def slim(self, node, kept):
        # Without axes, an axis that is cut to one position would go too.
        shape = kept.scope.tensors[node.inputs[0]].shape
        return Change({"axis": tuple(self._axes(node, shape))})

    def _axes(self, node, shape):
        axis = node.config["axis"]
        if axis is None:
            return [a for a, size in enumerate(shape) if size == 1]
        return as_axes(axis, len(shape))


@register("ops.Flip")
class FlipRule(Rule):
    """Positions in reverse order."""

    def label(self, node, scope):
        labels = scope.input(node)
        for axis in as_axes(node.config["axis"], len(labels.shape)):
            vector = labels.axes.get(axis)
            if vector is not None:
                labels = selection.along(
                    labels, axis, vector[::-1], vector.size
                )
        scope.put(node, labels)


@register("ops.Roll")
class RollRule(Rule):
    """What leaves at one end comes in at the other.

    Positions keep their order around the circle, so in a slim axis they move
    by as many as stay among those that cross the end.
    """

    def label(self, node, scope):
        labels = scope.input(node)
        if node.config["axis"] is None and labels.axes:
            scope.freeze(node, f"{node.name} rolls all axes as one")
            return
        for axis, shift in self._shifts(node, len(labels.shape)):
            vector = labels.axes.get(axis)
            if vector is not None:
                labels = selection.along(
                    labels, axis, np.roll(vector, shift), vector.size
                )
        scope.put(node, labels)

    def slim(self, node, kept):
        if node.config["axis"] is None:
            return Change()
        number = node.inputs[0]
        rank = len(kept.scope.tensors[number].shape)
        shifts = []
        for axis, shift in self._shifts(node, rank):
            stays = kept.tensor(number, axis)
            if stays is not None:
                shift %= stays.size
                shift = int(stays[stays.size - shift :].sum())
            shifts.append(shift)
        if isinstance(node.config["axis"], int):
            return Change({"shift": shifts[0]})
        return Change({"shift": tuple(shifts)})

    def _shifts(self, node, rank):
        axes = as_axes(node.config["axis"], rank)
        shift = node.config["shift"]
        shifts = [shift] * len(axes) if isinstance(shift, int) else shift
        return list(zip(axes, shifts))


@register("ops.DepthToSpace", "ops.SpaceToDepth")
class BlockRule(Rule):
    """Pixel shuffle: blocks of channels become positions, or the reverse."""

    def label(self, node, scope):
        labels = scope.input(node)
        rank = len(labels.shape)
        first = node.config["data_format"] == "channels_first"
        axis = 1 if first else rank - 1
        for other, vector in labels.axes.items():
            if other != axis:
                scope.space.freeze(vector, f"{node.name} moves it in space")
        vector = labels.axes.get(axis)
        area = node.config["block_size"] ** 2
        if vector is not None and node.kind == "ops.SpaceToDepth":
            vector = np.tile(vector, area)
        elif vector is not None:
            rows = vector.reshape(area, -1)
            for row in rows[1:]:
                scope.space.unite(
                    rows[0], row, f"{node.name} makes one channel of them"
                )
            vector = rows[0] if rows.shape[1] > 1 else None
            if vector is None:
                scope.space.freeze(
                    rows[0], f"{node.name} makes a single channel of them"
                )
        axes = {} if vector is None else {axis: vector}
        scope.put(node, dataclasses.replace(labels, axes=axes))
