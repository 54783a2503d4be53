"""Embeddings: a table of vectors; the vectors' entries are channels."""

from __future__ import annotations

from tf_channel_prune.channels.rules.base import Change
from tf_channel_prune.channels.rules.base import Product
from tf_channel_prune.channels.rules.base import Rule
from tf_channel_prune.channels.rules.base import register
from tf_channel_prune.channels.rules.base import sizes


@register("Embedding")
class EmbeddingRule(Rule):
    """Table (tokens, channels): tokens are fixed, channels are made."""

    def label(self, node, scope):
        self.look_up(node, scope)

    def look_up(self, node, scope):
        labels = scope.input(node)
        scope.carry(node, "embeddings", 0, None)
        vector = scope.made(node, "embeddings", 1)
        axes = dict(labels.axes)
        if vector is not None:
            axes[len(labels.shape)] = vector
        # A masked position of the input still looks a vector up.
        scope.output(node, axes, not labels.axes)

    def slim(self, node, kept):
        return Change({"output_dim": kept.weight(node, "embeddings", 1)})


@register("ReversibleEmbedding")
class ReversibleEmbeddingRule(EmbeddingRule):
    """With `reverse=True` it is a product with the table, transposed."""

    def label(self, node, scope):
        if not self._reverse(node):
            self.look_up(node, scope)
            scope.carry(
                node,
                "reverse_embeddings",
                0,
                scope.weights[node.weight("embeddings").key, 1],
            )
            scope.carry(node, "reverse_embeddings", 1, None)
            return
        labels = scope.input(node)
        scope.carry(node, "embeddings", 0, None)
        scope.carry(node, "embeddings", 1, labels.axis(-1))
        scope.carry(node, "reverse_embeddings", 0, labels.axis(-1))
        scope.carry(node, "reverse_embeddings", 1, None)
        scope.output(node, labels.without(-1), labels.zero)

    def _reverse(self, node):
        return bool(node.argument(1, "reverse", False))

    def multiply_adds(self, node, graph):
        if not self._reverse(node):
            return []
        number = node.inputs[0]
        rows = range(1, len(graph.tensors[number].shape) - 1)
        table = node.weight("embeddings")
        axes = sizes("weight", table.key, (0, 1))
        return [Product(1.0, sizes("tensor", number, rows) + axes)]
