"""Operations of `keras.ops` over whole axes: sums, means, orders, norms."""

from __future__ import annotations

import dataclasses

from tf_channel_prune.channels import selection
from tf_channel_prune.channels.labels import Labels
from tf_channel_prune.channels.rules.base import Rule
from tf_channel_prune.channels.rules.base import register
from tf_channel_prune.channels.rules.ops_movement import as_axes


class ReductionRule(Rule):
    """Axes are reduced to one position, kept or dropped."""

    # What a masked channel becomes when other axes are reduced, for each
    # output: "same" keeps its number, "zero" keeps only zero, "unknown" keeps
    # nothing.
    levels: tuple[str, ...] = ("unknown",)

    def label(self, node, scope):
        labels = scope.input(node)
        axes = self.axes(node, len(labels.shape))
        for axis in axes:
            vector = labels.axes.get(axis)
            if vector is not None:
                self.reduce(node, scope, labels, vector)
            labels = selection.along(labels, axis, None, 1)
        if not labels.axes:
            labels = Labels(labels.shape, origin=labels.origin)
        if not node.config.get("keepdims", False):
            labels = selection.dropped(labels, *axes)
        for position, level in enumerate(self.levels):
            scope.put(node, _at_level(labels, level), position)

    def axes(self, node, rank):
        return as_axes(node.config["axis"], rank)

    def reduce(self, node, scope, labels, vector):
        """An axis with labels is reduced."""
        scope.space.freeze(vector, f"{node.name} mixes it without weights")


def _at_level(labels, level) -> Labels:
    """The labels with what is still known of masked channels."""
    if level == "same" or not labels.axes:
        return labels
    zero = labels.zero and level == "zero"
    return dataclasses.replace(labels, zero=zero, fill=None)


@register("ops.Sum")
class SumRule(ReductionRule):
    """Masked channels that are zero add nothing."""

    levels = ("zero",)

    def reduce(self, node, scope, labels, vector):
        if not labels.zero:
            scope.space.freeze(
                vector,
                f"{node.name} sums over it, where a masked channel is not zero",
            )


@register("ops.Mean", "ops.Median")
class MeanRule(ReductionRule):
    """The mean of equal numbers is that number."""

    levels = ("same",)


@register("ops.Max", "ops.Min", "ops.Amax", "ops.Amin")
class MaxRule(ReductionRule):
    """The largest of equal numbers is that number."""

    levels = ("same",)

    def label(self, node, scope):
        super().label(node, scope)
        initial = node.config.get("initial")
        labels = scope.tensors[node.outputs[0]]
        if initial is not None and initial != labels.dead and labels.axes:
            scope.put(node, dataclasses.replace(labels, zero=False, fill=None))


@register("ops.Prod", "ops.Var", "ops.All", "ops.Any", "ops.CountNonzero")
class ZeroStaysRule(ReductionRule):
    """Zero everywhere gives zero."""

    levels = ("zero",)


@register("ops.Logsumexp", "ops.Argmax", "ops.Argmin")
class OtherReductionRule(ReductionRule):
    """Finite everywhere, but not zero or not the same number."""


@register("ops.Moments")
class MomentsRule(ReductionRule):
    """Mean and variance."""

    levels = ("same", "zero")

    def axes(self, node, rank):
        return as_axes(node.config["axes"], rank)


class AlongAxisRule(Rule):
    """Positions along some axes depend on each other; the shape stays."""

    # Whether zero stays zero where no axis with labels is mixed.
    keeps_zero = True

    def label(self, node, scope):
        labels = scope.input(node)
        zero = labels.zero and self.keeps_zero
        for axis in as_axes(node.config["axis"], len(labels.shape)):
            vector = labels.axes.get(axis)
            if vector is not None:
                zero = self.mix(node, scope, labels, vector) and zero
        scope.put(node, dataclasses.replace(labels, zero=zero, fill=None))

    def mix(self, node, scope, labels, vector) -> bool:
        """An axis with labels is mixed; whether masked ones stay zero."""
        scope.space.freeze(vector, f"{node.name} mixes it without weights")
        return True


@register("ops.Sort", "ops.Cumprod")
class OrderRule(AlongAxisRule):
    """Along other axes zero stays zero."""


@register("ops.Argsort", "ops.Sparsemax")
class PositionsRule(AlongAxisRule):
    """Numbers of positions, or shares."""

    keeps_zero = False


@register("ops.Cumsum")
class CumsumRule(AlongAxisRule):
    """Masked channels that are zero add nothing to those after them."""

    def mix(self, node, scope, labels, vector):
        if not labels.zero:
            scope.space.freeze(
                vector,
                f"{node.name} sums over it, where a masked channel is not zero",
            )
        return False


@register("ops.Normalize")
class NormalizeRule(AlongAxisRule):
    """Division by a norm; zeros add nothing to it."""

    def label(self, node, scope):
        labels = scope.input(node)
        mixed = as_axes(node.config["axis"], len(labels.shape))
        for axis, vector in labels.axes.items():
            # The slope of a norm is not finite where all of it is zero; and
            # orders but 2 take a root even of a part of it.
            if axis not in mixed or node.config["order"] != 2:
                scope.space.freeze(
                    vector,
                    f"{node.name} divides by a norm without a slope at zero",
                )
        super().label(node, scope)

    def mix(self, node, scope, labels, vector):
        if not labels.zero:
            scope.space.freeze(
                vector,
                f"{node.name} takes the norm over it, where a masked channel "
                "is not zero",
            )
        return True


@register("ops.TopK")
class TopKRule(Rule):
    """The largest along the last axis, and where they are."""

    def label(self, node, scope):
        labels = scope.input(node)
        scope.space.freeze(labels.axis(-1), f"{node.name} orders it")
        last = len(labels.shape) - 1
        labels = selection.along(labels, last, None, node.config["k"])
        scope.put(node, labels, 0)
        scope.put(node, dataclasses.replace(labels, zero=False, fill=None), 1)


@register("ops.Tril", "ops.Triu")
class TriangleRule(Rule):
    """Positions of the last two axes decide what becomes zero."""

    def label(self, node, scope):
        labels = scope.input(node)
        for axis in (-1, -2):
            scope.space.freeze(
                labels.axis(axis), f"{node.name} goes by its position"
            )
        scope.put(node, dataclasses.replace(labels, fill=None))


@register("ops.Glu")
class GluRule(Rule):
    """One half of an axis gates the other: both lose the same positions."""

    def label(self, node, scope):
        labels = scope.input(node)
        axis = node.config["axis"] % len(labels.shape)
        vector = labels.axes.get(axis)
        half = None
        if vector is not None:
            half, gate = vector.reshape(2, -1)
            scope.space.unite(half, gate, f"{node.name} gates it")
        size = scope.shape(node)[axis]
        labels = selection.along(labels, axis, half, size)
        scope.put(node, dataclasses.replace(labels, fill=None))
