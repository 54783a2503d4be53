"""Normalisations and other layers with one number per channel."""

from __future__ import annotations

from tf_channel_prune.channels.rules.base import Rule
from tf_channel_prune.channels.rules.base import register


@register("BatchNormalization")
class BatchNormalizationRule(Rule):
    """Four vectors along `axis`; each channel by itself."""

    def label(self, node, scope):
        labels = scope.input(node)
        axis = node.config["axis"]
        axis = axis[0] if isinstance(axis, (list, tuple)) else axis
        vector = labels.axis(axis)
        for weight in node.weights:
            scope.carry(node, weight, 0, vector)
        # gamma = beta = 0 make zero of anything; without gamma, a mean of 0
        # does, for an input that is zero.
        zero = node.weight("gamma") is not None or labels.zero
        others = labels.without(axis)
        scope.output(node, labels.axes, zero and not others)


@register("Normalization")
class NormalizationRule(Rule):
    """Stored mean and variance along the `axis` of the data."""

    def label(self, node, scope):
        labels = scope.input(node)
        for vector in labels.axes.values():
            scope.space.freeze(
                vector, f"{node.name} holds statistics of its input"
            )
        for weight in node.weights:
            for axis in range(len(weight.shape)):
                scope.carry(node, weight, axis, None)
        scope.passes(node, labels, zero=False)


@register("Rescaling")
class RescalingRule(Rule):
    """`x * scale + offset`; numbers, or one per channel."""

    def label(self, node, scope):
        labels = scope.input(node)
        scale, offset = node.config["scale"], node.config["offset"]
        for value in (scale, offset):
            if not isinstance(value, (int, float)):
                for vector in labels.axes.values():
                    scope.space.freeze(
                        vector, f"{node.name} has one number per channel"
                    )
        scope.passes(node, labels, zero=offset == 0)
