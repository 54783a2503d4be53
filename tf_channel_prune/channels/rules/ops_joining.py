"""Operations of `keras.ops` that join, repeat or pad tensors."""

from __future__ import annotations

import dataclasses

import numpy as np

from tf_channel_prune.channels import movement
from tf_channel_prune.channels import selection
from tf_channel_prune.channels.labels import Labels
from tf_channel_prune.channels.rules.base import Change
from tf_channel_prune.channels.rules.base import Rule
from tf_channel_prune.channels.rules.base import register
from tf_channel_prune.channels.rules.merging import ConcatenateRule
from tf_channel_prune.graph.structure import TensorRef

register("ops.Concatenate")(ConcatenateRule)


@register("ops.Stack")
class StackRule(Rule):
    """Tensors of one shape along a new axis."""

    def label(self, node, scope):
        shape = scope.shape(node)
        axis = node.config["axis"] % len(shape)
        parts = [
            selection.inserted(scope.tensors[number], axis)
            for number in node.inputs
        ]
        why = f"{node.name} joins it"
        scope.put(
            node, movement.concatenate(parts, axis, shape, scope.space, why)
        )


class CopyingRule(Rule):
    """Operations that make more positions out of the ones there are.

    An axis of one position becomes copies of it. They carry labels that no
    weight makes, so that they can go with the channels that they meet.
    """

    def spread(self, node, scope, labels: Labels, axis: int, size) -> Labels:
        """`size` copies of an axis' only position."""
        if size is None or size < 2:
            return labels
        vector = scope.filler(node, size)
        labels = selection.along(labels, axis, vector, size)
        return dataclasses.replace(labels, zero=False, fill=None)

    def aligned(self, labels: Labels, rank: int) -> Labels:
        """The labels with axes of one position in front."""
        while len(labels.shape) < rank:
            labels = selection.inserted(labels, 0)
        return labels


@register("ops.BroadcastTo")
class BroadcastToRule(CopyingRule):
    """Axes of size 1 are stretched."""

    def label(self, node, scope):
        shape = scope.shape(node)
        labels = self.aligned(scope.input(node), len(shape))
        for axis, size in enumerate(shape):
            if labels.shape[axis] == 1 and size != 1:
                scope.space.freeze(
                    labels.axes.get(axis),
                    f"{node.name} stretches its only position",
                )
                labels = self.spread(node, scope, labels, axis, size)
        scope.put(node, labels)

    def slim(self, node, kept):
        sizes = kept.shape(node.outputs[0])
        return Change({"shape": slim_shape(node.config["shape"], sizes)})


def slim_shape(old, sizes):
    """A shape argument with the sizes that stay, where they are known."""
    return tuple(
        before if now is None else now for before, now in zip(old, sizes)
    )


@register("ops.Tile")
class TileRule(CopyingRule):
    """The whole of an axis several times."""

    def label(self, node, scope):
        shape = scope.shape(node)
        labels = self.aligned(scope.input(node), len(shape))
        for axis, times in enumerate(self._times(node, len(shape))):
            vector = labels.axes.get(axis)
            if vector is not None:
                vector = np.tile(vector, times)
                labels = selection.along(labels, axis, vector, vector.size)
            elif labels.shape[axis] == 1:
                labels = self.spread(node, scope, labels, axis, times)
        scope.put(node, labels)

    def slim(self, node, kept):
        number = node.inputs[0]
        output = node.outputs[0]
        rank = len(kept.scope.tensors[output].shape)
        before = self.aligned(kept.scope.tensors[number], rank).shape
        times = [
            kept.size(output, axis)
            if before[axis] == 1 and kept.tensor(output, axis) is not None
            else times
            for axis, times in enumerate(self._times(node, rank))
        ]
        return Change({"repeats": tuple(times)})

    def _times(self, node, rank):
        times = node.config["repeats"]
        times = [times] if isinstance(times, int) else list(times)
        return [1] * (rank - len(times)) + times


@register("ops.Repeat")
class RepeatRule(CopyingRule):
    """Every position several times."""

    def label(self, node, scope):
        labels = scope.input(node)
        axis, times = node.config["axis"], node.config["repeats"]
        if axis is None:
            if labels.axes:
                scope.freeze(node, f"{node.name} flattens it")
            else:
                scope.put(node, Labels(scope.shape(node)))
            return
        axis %= len(labels.shape)
        vector = labels.axes.get(axis)
        if vector is not None:
            vector = np.repeat(vector, times)
            labels = selection.along(labels, axis, vector, vector.size)
        elif labels.shape[axis] == 1:
            size = scope.shape(node)[axis]
            labels = self.spread(node, scope, labels, axis, size)
        scope.put(node, labels)

    def slim(self, node, kept):
        axis, times = node.config["axis"], node.config["repeats"]
        if axis is None:
            return Change()
        number, output = node.inputs[0], node.outputs[0]
        stays = kept.tensor(number, axis)
        if stays is not None:
            if isinstance(times, int):
                return Change()
            times = np.broadcast_to(times, stays.shape)
            return Change({"repeats": times[stays].tolist()})
        if kept.tensor(output, axis) is not None:
            return Change({"repeats": kept.size(output, axis)})
        return Change()


@register("ops.Pad")
class PadRule(Rule):
    """A constant around a tensor.

    Padded channels carry labels that no weight makes: they can go with the
    channels that they meet.
    """

    def label(self, node, scope):
        labels = scope.input(node)
        level = self._level(node, labels)
        axes = {}
        for axis, (before, after) in enumerate(self._widths(node, labels)):
            vector = labels.axes.get(axis)
            if vector is None:
                continue
            if not before and not after:
                axes[axis] = vector
            elif node.config["mode"] != "constant" or level is None:
                scope.space.freeze(
                    vector, f"{node.name} pads it with more than one number"
                )
            else:
                axes[axis] = np.concatenate(
                    [
                        scope.filler(node, before),
                        vector,
                        scope.filler(node, after),
                    ]
                )
        if labels.dead != level:
            labels = dataclasses.replace(labels, zero=False, fill=None)
        scope.put(node, dataclasses.replace(labels, axes=axes))

    def slim(self, node, kept):
        number, output = node.inputs[0], node.outputs[0]
        labels = kept.scope.tensors[number]
        widths = []
        for axis, (before, after) in enumerate(self._widths(node, labels)):
            stays = kept.tensor(output, axis)
            if stays is not None:
                first = int(stays[:before].sum())
                after = int(stays[stays.size - after :].sum())
                before = first
            widths.append((before, after))
        return Change({"pad_width": tuple(widths)})

    def _widths(self, node, labels):
        width = node.config["pad_width"]
        rank = len(labels.shape)
        if isinstance(width, int):
            return [(width, width)] * rank
        if isinstance(width[0], int):
            return [tuple(width)] * rank
        pairs = [tuple(pair) for pair in width]
        return pairs * rank if len(pairs) == 1 else pairs

    def _level(self, node, labels) -> float | None:
        """The number in the padding of a masked channel, if it is known."""
        pads = any(b or a for b, a in self._widths(node, labels))
        if node.config["mode"] != "constant" or not pads:
            return labels.dead
        value = node.argument(1, "constant_values")
        if value is None:
            return 0.0
        if isinstance(value, TensorRef) or not np.isscalar(value):
            return None
        return float(value)
