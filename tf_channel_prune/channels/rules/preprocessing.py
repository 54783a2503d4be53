"""Layers that prepare data: what they make is fixed, like an input."""

from __future__ import annotations

from tf_channel_prune.channels.rules.base import Rule
from tf_channel_prune.channels.rules.base import register


@register(
    *"CategoryEncoding Hashing HashedCrossing IntegerLookup StringLookup "
    "TextVectorization MelSpectrogram STFTSpectrogram RandomBrightness "
    "RandomContrast RandomCrop RandomFlip RandomRotation RandomTranslation "
    "RandomZoom CenterCrop AutoContrast AugMix CutMix Equalization MixUp "
    "Posterization Solarization RandAugment RandomColorDegeneration "
    "RandomColorJitter RandomElasticTransform RandomErasing "
    "RandomGaussianBlur RandomGrayscale RandomHue RandomInvert "
    "RandomPerspective RandomPosterization RandomSaturation RandomSharpness "
    "RandomShear".split()
)
class PreprocessingRule(Rule):
    """Nothing that goes in or comes out can be removed."""

    def label(self, node, scope):
        for number in dict.fromkeys(node.inputs):
            for vector in scope.tensors[number].axes.values():
                scope.space.freeze(vector, f"{node.name} prepares data")
        for weight in node.weights:
            for axis in range(len(weight.shape)):
                scope.carry(node, weight, axis, None)
        for position in range(len(node.outputs)):
            scope.output(
                node, position=position, origin=f"the output of {node.name!r}"
            )


@register("Discretization")
class DiscretizationRule(PreprocessingRule):
    """A number for each number, unless it is spread over categories."""

    def label(self, node, scope):
        if node.config["output_mode"] == "int":
            scope.passes(node, scope.input(node), zero=False)
        else:
            super().label(node, scope)


@register("Masking")
class MaskingRule(Rule):
    """Steps whose channels are all `mask_value` are left out from here on."""

    def label(self, node, scope):
        labels = scope.input(node)
        if not labels.zero or node.config["mask_value"] != 0:
            scope.space.freeze(
                labels.axis(-1),
                f"{node.name} compares it, where a masked channel is not "
                "its mask_value",
            )
        scope.passes(node, labels)
