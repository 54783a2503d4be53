"""Dense layers: the last axis is consumed, a new one is made."""

from __future__ import annotations

from tf_channel_prune.channels.rules.activations import activated
from tf_channel_prune.channels.rules.base import Change
from tf_channel_prune.channels.rules.base import Product
from tf_channel_prune.channels.rules.base import Rule
from tf_channel_prune.channels.rules.base import register
from tf_channel_prune.channels.rules.base import sizes


@register("Dense")
class DenseRule(Rule):
    """Kernel (inputs, units)."""

    def label(self, node, scope):
        labels = scope.input(node)
        last = len(labels.shape) - 1
        scope.carry(node, "kernel", 0, labels.axis(-1))
        vector = scope.made(node, "kernel", 1)
        scope.carry(node, "bias", 0, vector)
        axes = labels.without(-1)
        # A bias lifts masked rows (tokens) off zero; masked units stay zero.
        zero = not axes or (labels.zero and node.weight("bias") is None)
        if vector is not None:
            axes[last] = vector
        activated(node, scope, axes, zero)

    def slim(self, node, kept):
        return Change({"units": kept.weight(node, "kernel", 1)})

    def multiply_adds(self, node, graph):
        output = node.outputs[0]
        rows = range(1, len(graph.tensors[output].shape) - 1)
        kernel = node.weight("kernel")
        return [
            Product(
                1.0,
                sizes("tensor", output, rows)
                + sizes("weight", kernel.key, (0, 1)),
            )
        ]
