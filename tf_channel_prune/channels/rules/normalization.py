"""Normalisations and other layers with one number per channel."""

from __future__ import annotations

from tf_channel_prune.channels.rules.base import Change
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
        # A masked channel would count in training, also where the layer is
        # not trained so far.
        for other in labels.without(axis).values():
            scope.space.freeze(other, f"{node.name} takes statistics over it")
        for weight in node.weights:
            scope.carry(node, weight, 0, vector)
        # gamma = beta = 0 make zero of anything; without gamma, a mean of 0
        # does, for an input that is zero.
        zero = node.weight("gamma") is not None or labels.zero
        scope.output(node, labels.axes, zero)


_LAYER_SCALE = "src.applications.convnext.LayerScale"


@register(f"keras.{_LAYER_SCALE}", f"tf_keras.{_LAYER_SCALE}")
class LayerScaleRule(Rule):
    """ConvNeXt's scale: `x * gamma` along the last axis."""

    def label(self, node, scope):
        labels = scope.input(node)
        scope.carry(node, node.weights[0], 0, labels.axis(-1))
        # gamma masks its own axis; others stay as they come.
        zero = labels.zero or not labels.without(-1)
        scope.output(node, labels.axes, zero)

    def slim(self, node, kept):
        return Change({"projection_dim": kept.size(node.inputs[0], -1)})


_OWN_FORMS = {
    "LayerNormalization": "layer_norm",
    "RMSNormalization": "rms_norm",
}


@register(*_OWN_FORMS)
class LayerNormalizationRule(Rule):
    """Statistics over `axis`; gamma and beta have those axes' shape."""

    def label(self, node, scope):
        labels = scope.input(node)
        rank = len(labels.shape)
        axes = normalised_axes(node, rank)
        if node.kind_in(_OWN_FORMS) == "RMSNormalization" and (
            axes != list(range(rank - len(axes), rank))
        ):
            # Keras multiplies by the scale along the last axes.
            scope.freeze(node, f"{node.name} scales other axes than its own")
            return
        inside = {}
        for position, axis in enumerate(axes):
            vector = labels.axes.get(axis)
            for weight in node.weights:
                carried = scope.carry(node, weight, position, vector)
                vector = None if carried is None else vector
            if vector is not None:
                inside[axis] = vector
        if inside:
            scope.watch(node, _OWN_FORMS[node.kind_in(_OWN_FORMS)], inside)
        # Positions outside `axis` are lifted by beta, or by 0 / 0.
        zero = not labels.without(*axes)
        scope.output(node, labels.axes, zero)


@register("GroupNormalization")
class GroupNormalizationRule(Rule):
    """Statistics over all positions of each group of channels."""

    def label(self, node, scope):
        labels = scope.input(node)
        axis = node.config["axis"] % len(labels.shape)
        for vector in labels.without(axis).values():
            scope.space.freeze(vector, f"{node.name} takes statistics over it")
        vector = labels.axes.get(axis)
        if vector is not None and not self._by_channel(node, vector.size):
            rows = vector.reshape(node.config["groups"], -1)
            for row in rows[1:]:
                scope.space.unite(
                    rows[0], row, f"{node.name} cuts its groups alike"
                )
            scope.watch(node, "group_norm", {axis: vector})
        for weight in node.weights:
            scope.carry(node, weight, 0, vector)
        # By channel, a channel of zeros is beta = 0 whatever gamma is.
        zero = labels.zero or node.weight("gamma") is not None
        if vector is not None and not self._by_channel(node, vector.size):
            zero = True
        axes = {} if vector is None else {axis: vector}
        scope.output(node, axes, zero)

    def _by_channel(self, node, channels):
        return node.config["groups"] in (channels, -1)

    def slim(self, node, kept):
        number = node.inputs[0]
        axis = node.config["axis"]
        size = kept.scope.tensors[number].shape[axis]
        if not self._by_channel(node, size):
            return Change()
        return Change({"groups": kept.size(number, axis)})


@register("UnitNormalization")
class UnitNormalizationRule(Rule):
    """Divides by the norm over `axis`."""

    def label(self, node, scope):
        labels = scope.input(node)
        axes = normalised_axes(node, len(labels.shape))
        inside = {a: v for a, v in labels.axes.items() if a in axes}
        # A masked channel that is zero adds nothing to the norm.
        if inside and not labels.zero:
            scope.watch(node, "zeroed", inside)
        zero = labels.zero or not labels.without(*axes)
        scope.output(node, labels.axes, zero)


def normalised_axes(node, rank: int) -> list[int]:
    """The config's `axis` as positive numbers in ascending order."""
    axis = node.config["axis"]
    axes = axis if isinstance(axis, (list, tuple)) else [axis]
    return sorted(a % rank for a in axes)


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
