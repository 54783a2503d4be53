"""Pooling, padding, cropping, resizing: channels pass, positions do not."""

from __future__ import annotations

import dataclasses

from tf_channel_prune.channels.labels import Labels
from tf_channel_prune.channels.rules.base import Change
from tf_channel_prune.channels.rules.base import Rule
from tf_channel_prune.channels.rules.base import register
from tf_channel_prune.channels.rules.convolutions import channel_axis
from tf_channel_prune.channels.rules.convolutions import consume

_EACH = "{0}1D {0}2D {0}3D"


def _dims(*names):
    return [kind for name in names for kind in _EACH.format(name).split()]


@register(
    *_dims("MaxPooling", "AveragePooling", "UpSampling", "Cropping"),
    *_dims("ZeroPadding", "AdaptiveAveragePooling", "AdaptiveMaxPooling"),
)
class SpatialRule(Rule):
    """Each channel by itself; zero stays zero."""

    def label(self, node, scope):
        labels = scope.input(node)
        axis, vector = consume(node, scope, "moves or mixes positions")
        axes = {} if vector is None else {axis: vector}
        scope.output(node, axes, labels.zero, origin=labels.origin)


@register("Resizing")
class ResizingRule(SpatialRule):
    """Like pooling, but what it pads with may not be zero."""

    def label(self, node, scope):
        super().label(node, scope)
        # tf_keras does not know how to fill.
        config = node.config
        if config.get("pad_to_aspect_ratio") and config["fill_value"]:
            number = node.outputs[0]
            labels = scope.tensors[number]
            scope.tensors[number] = dataclasses.replace(labels, zero=False)


@register(*_dims("GlobalMaxPooling", "GlobalAveragePooling"))
class GlobalPoolingRule(Rule):
    """All positions of a channel become one, kept as size 1 or dropped."""

    def label(self, node, scope):
        labels = scope.input(node)
        axis, vector = consume(node, scope, "pools")
        if not node.config.get("keepdims", False):
            axis = 1
        axes = {} if vector is None else {axis: vector}
        scope.output(node, axes, labels.zero, origin=labels.origin)


_DROP = "src.applications.convnext.StochasticDepth"


@register(
    f"keras.{_DROP}",
    f"tf_keras.{_DROP}",
    "SpatialDropout1D",
    "SpatialDropout2D",
    "SpatialDropout3D",
    "AlphaDropout",
    "GaussianDropout",
    "GaussianNoise",
    "ActivityRegularization",
    "Identity",
    "ops.Identity",
)
class PassRule(Rule):
    """The output is the input, at inference."""

    def label(self, node, scope):
        scope.passes(node, scope.input(node))


@register("Dropout")
class DropoutRule(PassRule):
    """`noise_shape` names the sizes along which the noise differs."""

    def label(self, node, scope):
        super().label(node, scope)
        if node.config.get("noise_shape") is not None:
            scope.tie(node, "input", scope.input(node))

    def slim(self, node, kept):
        shape = node.config.get("noise_shape")
        if shape is None:
            return Change()
        stay = kept.shape(node.inputs[0])
        return Change(
            {
                "noise_shape": tuple(
                    old if old in (None, 1) else new
                    for old, new in zip(shape, stay)
                )
            }
        )


def flat_permutation(labels: Labels, node):
    """Flatten's view of its input: channels last, whatever the format."""
    rank = len(labels.shape)
    axis = channel_axis(node, rank)
    if rank < 3 or axis == rank - 1:
        return list(range(rank))
    return [0, *range(2, rank), 1]
