"""Convolutions: regular, transposed, depthwise, separable; 1D, 2D, 3D."""

from __future__ import annotations

import numpy as np

from tf_channel_prune.channels.rules.activations import activated
from tf_channel_prune.channels.rules.base import Change
from tf_channel_prune.channels.rules.base import Product
from tf_channel_prune.channels.rules.base import Rule
from tf_channel_prune.channels.rules.base import register
from tf_channel_prune.channels.rules.base import sizes


def channel_axis(node, rank: int) -> int:
    """The channel axis by the layer's `data_format`."""
    first = node.config.get("data_format") == "channels_first"
    return 1 if first else rank - 1


def consume(node, scope, reason: str):
    """The input's channel vector; labels on other axes are frozen."""
    labels = scope.input(node)
    axis = channel_axis(node, len(labels.shape))
    for other, vector in labels.axes.items():
        if other != axis:
            scope.space.freeze(vector, f"{node.name} {reason} along it")
    return axis, labels.axes.get(axis)


def spatial_axes(node, rank: int):
    """Axes that are neither batch nor channel."""
    return [a for a in range(1, rank) if a != channel_axis(node, rank)]


def _one_each(node) -> str:
    return f"{node.name} makes it of one input channel, which stays"


def _finish(node, scope, axis, vector):
    if node.weight("bias") is not None:
        scope.added_along(node, vector, scope.shape(node), axis)
    axes = {} if vector is None else {axis: vector}
    activated(node, scope, axes, True)


@register("Conv1D", "Conv2D", "Conv3D")
class ConvRule(Rule):
    """Kernel (..., inputs / groups, filters)."""

    def label(self, node, scope):
        axis, incoming = consume(node, scope, "slides")
        groups = node.config.get("groups", 1)
        kernel = node.weight("kernel")
        if groups == 1:
            scope.carry(node, kernel, -2, incoming)
            vector = scope.made(node, kernel, -1)
        elif kernel.shape[-2] == 1:
            vector = self._depthwise(node, scope, kernel, incoming)
        else:
            vector = self._grouped(node, scope, kernel, incoming, groups)
        scope.carry(node, "bias", 0, vector)
        _finish(node, scope, axis, vector)

    def _depthwise(self, node, scope, kernel, incoming):
        """One input channel a group: channels pass, groups follow."""
        if incoming is None:
            return scope.made(node, kernel, -1, _one_each(node))
        times = kernel.shape[-1] // incoming.size
        return scope.carry(node, kernel, -1, np.repeat(incoming, times))

    def _grouped(self, node, scope, kernel, incoming, groups):
        """Every group loses the same positions, on both sides."""
        if incoming is not None:
            rows = incoming.reshape(groups, -1)
            for row in rows[1:]:
                scope.space.unite(
                    rows[0], row, f"{node.name} cuts its groups alike"
                )
            incoming = rows[0]
        scope.carry(node, kernel, -2, incoming)
        key = (kernel.key, len(kernel.shape) - 1)
        if key not in scope.weights:
            vector = scope.fresh(node, kernel.shape[-1] // groups)
            scope.weights[key] = (
                None if vector is None else np.tile(vector, groups)
            )
        return scope.weights[key]

    def slim(self, node, kept):
        config = {"filters": kept.weight(node, "kernel", -1)}
        if node.config.get("groups", 1) > 1 and (
            node.weight("kernel").shape[-2] == 1
        ):
            rank = len(kept.scope.tensors[node.inputs[0]].shape)
            config["groups"] = kept.size(
                node.inputs[0], channel_axis(node, rank)
            )
        return Change(config)

    def multiply_adds(self, node, graph):
        return _convolution_work(node, node.weight("kernel"), node.outputs[0])


@register("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose")
class ConvTransposeRule(Rule):
    """Kernel (..., filters, inputs); the work is counted at the input."""

    def label(self, node, scope):
        axis, incoming = consume(node, scope, "slides")
        scope.carry(node, "kernel", -1, incoming)
        vector = scope.made(node, "kernel", -2)
        scope.carry(node, "bias", 0, vector)
        _finish(node, scope, axis, vector)

    def slim(self, node, kept):
        return Change({"filters": kept.weight(node, "kernel", -2)})

    def multiply_adds(self, node, graph):
        return _convolution_work(node, node.weight("kernel"), node.inputs[0])


@register("DepthwiseConv1D", "DepthwiseConv2D")
class DepthwiseConvRule(Rule):
    """Kernel (..., inputs, multiplier): each channel by itself."""

    def label(self, node, scope):
        axis, incoming = consume(node, scope, "slides")
        kernel = node.weight("kernel")
        incoming = scope.carry(node, kernel, -2, incoming)
        if incoming is not None:
            vector = np.repeat(incoming, kernel.shape[-1])
        else:
            made = kernel.shape[-2] * kernel.shape[-1]
            vector = scope.fresh(node, made, _one_each(node))
        vector = scope.carry(node, "bias", 0, vector)
        _finish(node, scope, axis, vector)

    def multiply_adds(self, node, graph):
        return _convolution_work(node, node.weight("kernel"), node.outputs[0])


@register("SeparableConv1D", "SeparableConv2D")
class SeparableConvRule(Rule):
    """Depthwise kernel (..., inputs, multiplier), then a 1x1 convolution."""

    def label(self, node, scope):
        axis, incoming = consume(node, scope, "slides")
        depthwise = node.weight("depthwise_kernel")
        incoming = scope.carry(node, depthwise, -2, incoming)
        inner = None
        if incoming is not None:
            inner = np.repeat(incoming, depthwise.shape[-1])
        scope.carry(node, "pointwise_kernel", -2, inner)
        vector = scope.made(node, "pointwise_kernel", -1)
        scope.carry(node, "bias", 0, vector)
        _finish(node, scope, axis, vector)

    def slim(self, node, kept):
        return Change({"filters": kept.weight(node, "pointwise_kernel", -1)})

    def multiply_adds(self, node, graph):
        return [
            *_convolution_work(
                node, node.weight("depthwise_kernel"), node.outputs[0]
            ),
            *_convolution_work(
                node, node.weight("pointwise_kernel"), node.outputs[0]
            ),
        ]


def _convolution_work(node, kernel, tensor: int) -> list[Product]:
    """Kernel entries times the positions where the kernel is applied."""
    window = float(np.prod(kernel.shape[:-2]))
    rank = len(kernel.shape)
    positions = spatial_axes(node, rank)
    axes = sizes("tensor", tensor, positions)
    axes += sizes("weight", kernel.key, (rank - 2, rank - 1))
    return [Product(window, axes)]
