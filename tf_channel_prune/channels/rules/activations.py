"""Element-wise functions of one tensor: which of them keep zero at zero."""

from __future__ import annotations

from tf_channel_prune.channels.rules.base import Rule
from tf_channel_prune.channels.rules.base import register
from tf_channel_prune.channels.scope import Scope
from tf_channel_prune.graph import flavours
from tf_channel_prune.graph.structure import Node

# f(0) = 0: a masked channel stays zero through them.
ZERO_STAYS = frozenset(
    "linear relu relu6 leaky_relu elu selu gelu silu swish hard_silu "
    "hard_swish tanh softsign celu tanh_shrink soft_shrink hard_shrink "
    "hard_tanh mish".split()
)
# f(0) != 0, still one element at a time.
ZERO_MOVES = frozenset(
    "sigmoid hard_sigmoid softplus exponential log_sigmoid squareplus "
    "sparse_plus sparse_sigmoid".split()
)
ELEMENTWISE = ZERO_STAYS | ZERO_MOVES


def activation_name(scope: Scope, layer, config: dict, key: str) -> str:
    """The name of an activation that a layer applies.

    A function of the user's own may be called like one of Keras and be
    nothing like it, so its name here is none of Keras'.

    Args:
        scope: The walk.
        layer: The layer, or the cell.
        config: Its config.
        key: The argument that it is given by.
    """
    value = config.get(key)
    name = "linear" if value is None else value
    if isinstance(value, dict):
        inner = value.get("config")
        name = inner if isinstance(inner, str) else value["class_name"]
    known = flavours.internals(scope.graph).is_from_keras
    return name if known(getattr(layer, key, None)) else f"own {name}"


def activated(node: Node, scope: Scope, axes: dict, zero: bool):
    """Sets the output's labels after the activation of a layer.

    An activation over an axis (softmax) or an unknown one freezes the labels
    on the axes that it may mix.
    """
    name = activation_name(scope, node.operation, node.config, "activation")
    if name in ELEMENTWISE:
        scope.output(node, axes, zero and name in ZERO_STAYS)
        return
    rank = len(scope.shape(node))
    stay = dict(axes)
    if name in ("softmax", "log_softmax"):
        mixed = [rank - 1]
        why = f"{node.name} takes a {name} over it"
    else:
        mixed = list(axes)
        why = f"{node.name} applies the activation {name!r}, which has no rule"
    for axis in mixed:
        scope.space.freeze(axes.get(axis), why)
    scope.output(node, stay, False)


@register("Activation")
class ActivationRule(Rule):
    """`Activation("name")`."""

    def label(self, node, scope):
        labels = scope.input(node)
        activated(node, scope, labels.axes, labels.zero)


# Activations that are layers or operations of their own, by kind.
_FUNCTIONS = {
    "LeakyReLU": "leaky_relu",
    "ThresholdedReLU": "relu",
    "ELU": "elu",
    "ops.Relu": "relu",
    "ops.Relu6": "relu6",
    "ops.LeakyRelu": "leaky_relu",
    "ops.Elu": "elu",
    "ops.Selu": "selu",
    "ops.Celu": "celu",
    "ops.Gelu": "gelu",
    "ops.Silu": "silu",
    "ops.HardSilu": "hard_silu",
    "ops.Tanh": "tanh",
    "ops.Softsign": "softsign",
    "ops.HardTanh": "hard_tanh",
    "ops.TanhShrink": "tanh_shrink",
    "ops.SoftShrink": "soft_shrink",
    "ops.HardShrink": "hard_shrink",
    "ops.Sigmoid": "sigmoid",
    "ops.HardSigmoid": "hard_sigmoid",
    "ops.Softplus": "softplus",
    "ops.Squareplus": "squareplus",
    "ops.LogSigmoid": "log_sigmoid",
}


@register(*_FUNCTIONS)
class FunctionRule(Rule):
    """Activations that are layers or operations of their own."""

    def label(self, node, scope):
        name = next(_FUNCTIONS[k] for k in node.kinds if k in _FUNCTIONS)
        scope.passes(node, scope.input(node), name in ZERO_STAYS)


@register("ReLU")
class ReLURule(Rule):
    """`negative_slope * (x - threshold)` below the threshold."""

    def label(self, node, scope):
        lifted = node.config["negative_slope"] and node.config["threshold"]
        scope.passes(node, scope.input(node), not lifted)


@register("PReLU")
class PReLURule(Rule):
    """One slope per position, shared along some axes."""

    def label(self, node, scope):
        labels = scope.input(node)
        alpha = node.weight("alpha")
        axes = dict(labels.axes)
        for axis, vector in labels.axes.items():
            if alpha.shape[axis - 1] == 1:
                continue  # shared along this axis: nothing to slice
            scope.carry(node, alpha, axis - 1, vector)
        scope.output(node, axes, labels.zero)


@register("Softmax", "ops.Softmax", "ops.LogSoftmax")
class SoftmaxRule(Rule):
    """Positions along its axes depend on each other; others pass."""

    def label(self, node, scope):
        labels = scope.input(node)
        axis = node.config.get("axis", -1)
        rank = len(labels.shape)
        mixed = range(rank) if axis is None else axis
        mixed = [mixed] if isinstance(mixed, int) else list(mixed)
        for a in mixed:
            scope.space.freeze(
                labels.axis(a), f"{node.name} takes a softmax over it"
            )
        for extra in node.inputs[1:]:
            for vector in scope.tensors[extra].axes.values():
                scope.space.freeze(vector, f"{node.name} masks with it")
        scope.output(node, labels.axes, False)
