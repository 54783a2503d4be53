"""Layers that move positions: the label vectors go the same way."""

from __future__ import annotations

from tf_channel_prune.channels import movement
from tf_channel_prune.channels.rules.base import Change
from tf_channel_prune.channels.rules.base import Rule
from tf_channel_prune.channels.rules.base import register
from tf_channel_prune.channels.rules.pooling import flat_permutation


@register("Flatten")
class FlattenRule(Rule):
    """All axes but the batch become one."""

    def label(self, node, scope):
        labels = scope.input(node)
        moved = movement.transpose(labels, flat_permutation(labels, node))
        scope.passes(
            node,
            movement.reshape(
                moved,
                scope.shape(node),
                scope.space,
                f"{node.name} flattens it",
            ),
        )


@register("Reshape")
class ReshapeRule(Rule):
    """The layer; its target has no batch axis."""

    def label(self, node, scope):
        scope.tie(node, "input", scope.input(node))
        scope.passes(
            node,
            movement.reshape(
                scope.input(node),
                scope.shape(node),
                scope.space,
                f"{node.name} reshapes it",
            ),
        )

    def slim(self, node, kept):
        sizes = kept.shape(node.outputs[0])[1:]
        target = node.config["target_shape"]
        return Change({"target_shape": slim_target(target, sizes)})


def slim_target(target, sizes):
    """A reshape target with the sizes that stay; `-1` is left as it is."""
    return tuple(
        old if old == -1 or new is None else new
        for old, new in zip(target, sizes)
    )


@register("RepeatVector")
class RepeatVectorRule(Rule):
    """A vector becomes a sequence of the same vectors."""

    def label(self, node, scope):
        labels = scope.input(node)
        axes = {2: labels.axes[1]} if 1 in labels.axes else {}
        scope.output(node, axes, labels.zero, origin=labels.origin)


@register("Permute")
class PermuteRule(Rule):
    """`dims` counts from 1 and leaves the batch out."""

    def label(self, node, scope):
        dims = node.config["dims"]
        scope.passes(node, movement.transpose(scope.input(node), (0, *dims)))
