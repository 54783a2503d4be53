"""Tensors that come from no layer: variables and constants of operations."""

from __future__ import annotations

import numpy as np

from tf_channel_prune.channels.labels import Labels
from tf_channel_prune.channels.rules.base import Change
from tf_channel_prune.channels.rules.base import Rule
from tf_channel_prune.channels.rules.base import register
from tf_channel_prune.graph.structure import CONSTANT
from tf_channel_prune.graph.structure import VARIABLE


@register(VARIABLE)
class VariableRule(Rule):
    """A weight as a tensor: every axis can be cut, and masks hold on it."""

    def label(self, node, scope):
        kernel = node.weight("kernel")
        shape = scope.shape(node)
        roles = [
            f"axis{a}" if len(shape) > 1 else "" for a in range(len(shape))
        ]
        axes = {
            a: scope.made(node, kernel, a, role=role)
            for a, role in enumerate(roles)
        }
        axes = {a: v for a, v in axes.items() if v is not None}
        scope.output(node, axes, True)

    def slim(self, node, kept):
        shape = kept.shape(node.outputs[0]) or (1,)
        return Change({"output_shape": shape})


@register(CONSTANT)
class ConstantRule(Rule):
    """An array in a call: it can be cut along with what it meets."""

    def label(self, node, scope):
        value = node.config["value"]
        axes = {
            axis: scope.filler(node, size)
            for axis, size in enumerate(value.shape)
            if size > 1
        }
        same = value.size and bool((value == value.flat[0]).all())
        level = float(value.flat[0]) if same else None
        scope.tensors[node.outputs[0]] = Labels(
            tuple(value.shape), axes, level == 0, "a constant", level
        )

    def slim(self, node, kept):
        value = node.config["value"]
        for axis in range(value.ndim):
            stays = kept.tensor(node.outputs[0], axis)
            if stays is not None:
                value = np.compress(stays, value, axis=axis)
        return Change({"value": value})
