"""Layers and operations that meet element by element, or are joined."""

from __future__ import annotations

from tf_channel_prune.channels import movement
from tf_channel_prune.channels.labels import Labels
from tf_channel_prune.channels.rules.base import Rule
from tf_channel_prune.channels.rules.base import register


def zero_after(parts: list[Labels], product: bool) -> bool:
    """Whether a masked channel is zero after the parts meet.

    A product is zero where one factor is, a sum where all terms are. A part
    that is stretched along an axis, or has no labels there, is not.
    """
    # Axes count from the end, since parts of lower rank are stretched.
    carried = [{a - len(p.shape) for a in p.axes if p.zero} for p in parts]
    labelled = {a - len(p.shape) for p in parts for a in p.axes}
    enough = any if product else all
    return all(enough(axis in axes for axes in carried) for axis in labelled)


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


_SCALED_SUM = "src.applications.inception_resnet_v2.CustomScaleLayer"


@register(f"keras.{_SCALED_SUM}", f"tf_keras.{_SCALED_SUM}")
class ScaledSumRule(ElementwiseRule):
    """InceptionResNetV2's `x + scale * y`."""


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
