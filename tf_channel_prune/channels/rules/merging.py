"""Layers and operations that meet element by element, or are joined."""

from __future__ import annotations

from tf_channel_prune.channels import movement
from tf_channel_prune.channels.labels import Labels
from tf_channel_prune.channels.rules.base import Rule
from tf_channel_prune.channels.rules.base import register


def zero_after(parts: list[Labels], product: bool) -> bool:
    """Whether a masked channel is zero after the parts meet.

    A product is zero where one factor is; a sum only where all terms that
    reach the channel are, and a term without labels is not.
    """
    carriers = [p for p in parts if p.axes]
    if product:
        return any(p.zero for p in carriers)
    return len(carriers) == len(parts) and all(p.zero for p in parts)


class ElementwiseRule(Rule):
    """Tensors broadcast against each other; labels that meet are united."""

    product = False
    keeps_zero = True

    def label(self, node, scope):
        parts = self.parts(node, scope)
        labels = movement.broadcast(
            parts,
            scope.shape(node),
            scope.space,
            f"it meets other channels in {node.name!r}",
            self.keeps_zero and zero_after(parts, self.product),
        )
        scope.passes(node, labels)

    def parts(self, node, scope):
        return [scope.tensors[number] for number in node.inputs]


@register(
    "Add",
    "Subtract",
    "Average",
    "Maximum",
    "Minimum",
)
class SumLayerRule(ElementwiseRule):
    """Merging layers that are zero only where every term is."""


@register("Multiply")
class ProductLayerRule(ElementwiseRule):
    """The merging layer that is zero where one factor is."""

    product = True


@register("Concatenate")
class ConcatenateRule(Rule):
    """Tensors one after another along an axis."""

    def label(self, node, scope):
        labels = movement.concatenate(
            [scope.tensors[number] for number in node.inputs],
            node.config["axis"],
            scope.shape(node),
            scope.space,
            f"{node.name} joins it",
        )
        scope.passes(node, labels)
