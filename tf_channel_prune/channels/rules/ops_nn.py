"""Operations of `keras.ops.nn` and `keras.ops.image` on channels."""

from __future__ import annotations

import dataclasses

import numpy as np

from tf_channel_prune.channels import selection
from tf_channel_prune.channels.labels import Labels
from tf_channel_prune.channels.rules.base import Product
from tf_channel_prune.channels.rules.base import Rule
from tf_channel_prune.channels.rules.base import register
from tf_channel_prune.channels.rules.base import sizes
from tf_channel_prune.channels.rules.convolutions import consume
from tf_channel_prune.channels.rules.convolutions import spatial_axes
from tf_channel_prune.graph.structure import TensorRef


@register(
    "ops.MaxPool",
    "ops.AveragePool",
    "ops.AdaptiveMaxPool",
    "ops.AdaptiveAveragePool",
    "ops.CropImages",
)
class PoolOpRule(Rule):
    """Each channel by itself; a masked channel keeps its number."""

    def label(self, node, scope):
        labels = scope.input(node)
        axis, vector = consume(node, scope, "moves or mixes positions")
        axes = {} if vector is None else {axis: vector}
        scope.put(node, dataclasses.replace(labels, axes=axes))


@register("ops.Resize", "ops.PadImages")
class ResizeRule(PoolOpRule):
    """Each channel by itself, perhaps with a constant around it."""

    def label(self, node, scope):
        super().label(node, scope)
        config = node.config
        fills = node.kind == "ops.PadImages" or config["pad_to_aspect_ratio"]
        level = config.get("fill_value", 0.0)
        labels = scope.tensors[node.outputs[0]]
        if fills and labels.dead != level:
            scope.put(node, dataclasses.replace(labels, zero=False, fill=None))


@register("ops.ExtractPatches")
class ExtractPatchesRule(Rule):
    """The channels of every position of a patch, one after another."""

    def label(self, node, scope):
        labels = scope.input(node)
        axis, vector = consume(node, scope, "moves positions")
        size = scope.shape(node)[axis]
        if vector is not None:
            vector = np.tile(vector, size // vector.size)
        moved = dataclasses.replace(labels, axes={})
        scope.put(node, selection.along(moved, axis, vector, size))


@register("ops.Conv")
class ConvOpRule(Rule):
    """A convolution whose kernel is a tensor (..., inputs, filters)."""

    def label(self, node, scope):
        axis, vector = consume(node, scope, "slides")
        image, kernel = (scope.tensors[number] for number in node.inputs)
        for other in range(len(kernel.shape) - 2):
            scope.space.freeze(
                kernel.axes.get(other), f"{node.name} slides along it"
            )
        inputs, filters = kernel.axis(-2), kernel.axis(-1)
        if image.shape[axis] != kernel.shape[-2]:
            why = f"{node.name} has groups"
            for part in (vector, inputs, filters):
                scope.space.freeze(part, why)
            filters = None
        else:
            scope.space.unite(
                vector, inputs, f"it meets other channels in {node.name!r}"
            )
            if not (image.zero or kernel.zero):
                scope.space.freeze(
                    vector,
                    f"{node.name} sums over it, where a masked channel is not "
                    "zero",
                )
        axes = {} if filters is None else {axis: filters}
        scope.output(node, axes, kernel.zero)

    def multiply_adds(self, node, graph):
        kernel, output = node.inputs[1], node.outputs[0]
        rank = len(graph.tensors[kernel].shape)
        axes = sizes("tensor", output, spatial_axes(node, rank))
        return [Product(1.0, axes + sizes("tensor", kernel, range(rank)))]


@register("ops.DepthwiseConv")
class DepthwiseConvOpRule(Rule):
    """Kernel (..., inputs, multiplier): each channel by itself."""

    def label(self, node, scope):
        axis, vector = consume(node, scope, "slides")
        image, kernel = (scope.tensors[number] for number in node.inputs)
        for other, part in kernel.axes.items():
            if other != len(kernel.shape) - 2:
                scope.space.freeze(part, f"{node.name} takes it whole")
        inputs = kernel.axis(-2)
        scope.space.unite(
            vector, inputs, f"it meets other channels in {node.name!r}"
        )
        axes = {}
        if vector is not None and inputs is not None:
            axes[axis] = np.repeat(vector, kernel.shape[-1])
        scope.output(node, axes, image.zero or kernel.zero)

    def multiply_adds(self, node, graph):
        kernel, output = node.inputs[1], node.outputs[0]
        rank = len(graph.tensors[kernel].shape)
        axes = sizes("tensor", output, spatial_axes(node, rank))
        return [Product(1.0, axes + sizes("tensor", kernel, range(rank)))]


class _WholeConvOpRule(Rule):
    """A convolution that keeps its channels, and whose work is known."""

    def label(self, node, scope):
        scope.freeze(node, f"{node.name} has no rule for its channels")

    def _work(self, node, graph, kernel: int, positions_of: int):
        """A kernel's entries at every position of a tensor."""
        rank = len(graph.tensors[kernel].shape)
        axes = sizes("tensor", positions_of, spatial_axes(node, rank))
        return Product(1.0, axes + sizes("tensor", kernel, range(rank)))


@register("ops.ConvTranspose")
class ConvTransposeOpRule(_WholeConvOpRule):
    """Kernel (..., filters, inputs); the work is counted at the input."""

    def multiply_adds_if_whole(self, node, graph):
        image, kernel = node.inputs
        return [self._work(node, graph, kernel, image)]


@register("ops.SeparableConv")
class SeparableConvOpRule(_WholeConvOpRule):
    """Depthwise kernel (..., inputs, multiplier), then a 1x1 convolution."""

    def multiply_adds_if_whole(self, node, graph):
        _, *kernels = node.inputs
        output = node.outputs[0]
        return [self._work(node, graph, kernel, output) for kernel in kernels]


@register("ops.BatchNorm")
class BatchNormOpRule(Rule):
    """`(x - mean) / sqrt(variance + epsilon) * scale + offset`."""

    def label(self, node, scope):
        names = ("x", "mean", "variance", "offset", "scale")
        parts = {}
        for position, name in enumerate(names):
            value = node.argument(position, name)
            if isinstance(value, TensorRef):
                parts[name] = scope.tensors[value.index]
        labels = parts.pop("x")
        axis = node.config["axis"] % len(labels.shape)
        vector = labels.axes.get(axis)
        for part in parts.values():
            scope.space.unite(
                vector,
                part.axes.get(0),
                f"it meets other channels in {node.name!r}",
            )
            if part.axes.get(0) is None:
                vector = None
        fixed = Labels(())
        centred = labels.zero and parts["mean"].zero
        scaled = "scale" in parts and parts.get("scale", fixed).zero
        zero = (centred or scaled) and parts.get("offset", fixed).zero
        axes = dict(labels.axes)
        if vector is None:
            axes.pop(axis, None)
        alone = set(axes) <= {axis}
        scope.output(node, axes, zero and alone, origin=labels.origin)


@register("ops.LayerNorm", "ops.RMSNorm")
class LayerNormOpRule(Rule):
    """Statistics over some axes, then one number per position of them."""

    def label(self, node, scope):
        labels = scope.input(node)
        rank = len(labels.shape)
        axis = node.config["axis"]
        mixed = [axis] if isinstance(axis, int) else list(axis)
        for a in mixed:
            scope.space.freeze(
                labels.axis(a), f"{node.name} takes statistics over it"
            )
        for extra in node.inputs[1:]:
            for vector in scope.tensors[extra].axes.values():
                scope.space.freeze(vector, f"{node.name} scales by it")
        axes = labels.without(*mixed) if rank else {}
        scope.output(node, axes, False, origin=labels.origin)


@register("ops.OneHot")
class OneHotRule(Rule):
    """A new axis of classes; which one is hot is not known."""

    def label(self, node, scope):
        labels = scope.input(node)
        rank = len(labels.shape) + 1
        labels = selection.inserted(labels, node.config["axis"] % rank)
        scope.put(node, dataclasses.replace(labels, zero=False, fill=None))
