"""`tf.shape`: the one function of tf_keras models that Keras 3 lacks."""

from __future__ import annotations

from tf_channel_prune.channels.rules.base import Rule
from tf_channel_prune.channels.rules.base import register


@register("tf.Shape")
class ShapeRule(Rule):
    """Sizes as numbers; those that are read must not change.

    What is computed from a size of channels, another layer's width say, would
    not follow when channels go.
    """

    def label(self, node, scope):
        labels = scope.input(node)
        for axis in node.config["axes"]:
            scope.space.freeze(
                labels.axes.get(axis), f"{node.name} reads how many there are"
            )
        scope.output(node)
