"""Operations of `keras.ops` that treat every element by itself."""

from __future__ import annotations

import dataclasses
import numbers

import numpy as np

from tf_channel_prune.channels import movement
from tf_channel_prune.channels import pointwise
from tf_channel_prune.channels.labels import Labels
from tf_channel_prune.channels.rules.base import Rule
from tf_channel_prune.channels.rules.base import register
from tf_channel_prune.graph.structure import TensorRef

# In place of a masked channel's number: an operand without labels on the
# axis, whose elements may be anything.
ANYTHING = object()


def operands(node, scope, values) -> list:
    """Labels of the tensors among `values`, and the numbers as they are."""
    found = []
    for value in values:
        if isinstance(value, TensorRef):
            found.append(scope.tensors[value.index])
        elif isinstance(value, numbers.Number) or not np.ndim(value):
            found.append(float(value))
        else:
            raise TypeError(f"{node.name}: operand {value!r}")
    return found


def meet(node, scope, parts, level_of) -> Labels:
    """Labels of an element-wise function of several operands.

    Args:
        node: The operation.
        scope: The labels so far.
        parts: Labels or numbers, one per operand.
        level_of: Function of one value per operand (what a masked channel
            holds; None is unknown, `ANYTHING` an operand without labels)
            that gives the result's, or raises `NotFiniteError`.
    """
    shape = scope.shape(node)
    tensors = [part for part in parts if isinstance(part, Labels)]
    labels = movement.broadcast(
        tensors,
        shape,
        scope.space,
        f"it meets other channels in {node.name!r}",
        False,
    )
    levels = set()
    for axis, vector in labels.axes.items():
        try:
            levels.add(level_of(_levels(parts, axis - len(shape))))
        except pointwise.NotFiniteError:
            scope.space.freeze(
                vector,
                f"{node.name} or its gradient may not be finite where a "
                "channel is masked",
            )
            levels.add(None)
    level = levels.pop() if len(levels) == 1 else None
    zero = level == 0 or not labels.axes
    return dataclasses.replace(labels, zero=zero, fill=level)


def _levels(parts, axis: int) -> list:
    """What each operand holds where the axis (from the end) is masked."""
    found = []
    for part in parts:
        if not isinstance(part, Labels):
            found.append(part)
        elif axis + len(part.shape) in part.axes:
            found.append(part.dead)
        else:
            found.append(ANYTHING)
    return found


@register(*(f"ops.{name}" for name in pointwise.UNARY))
class UnaryRule(Rule):
    """A function of one element."""

    def label(self, node, scope):
        function, domain = pointwise.UNARY[node.kind.removeprefix("ops.")]
        parts = [scope.input(node)]

        def level_of(levels):
            return pointwise.evaluate(function, domain, levels)

        scope.put(node, meet(node, scope, parts, level_of))


@register("ops.Clip", "ops.Threshold", "ops.Round", "ops.NanToNum")
class BoundedRule(Rule):
    """Functions of one element whose bounds are in the config."""

    def label(self, node, scope):
        config = node.config

        def function(x):
            if node.kind == "ops.Clip":
                return np.clip(x, config["x_min"], config["x_max"])
            if node.kind == "ops.Threshold":
                above = x > config["threshold"]
                return x if above else config["default_value"]
            if node.kind == "ops.Round":
                return np.round(x, config["decimals"])
            return x

        def level_of(levels):
            return pointwise.evaluate(function, pointwise.everywhere, levels)

        parts = [scope.input(node)]
        scope.put(node, meet(node, scope, parts, level_of))


@register(*(f"ops.{name}" for name in pointwise.BINARY))
class BinaryRule(Rule):
    """A function of two elements: operators, arrays, numbers, variables."""

    def label(self, node, scope):
        name = node.kind.removeprefix("ops.")
        function, domain = pointwise.BINARY[name]

        def level_of(levels):
            first, second = levels
            if name == "Multiply" and 0 in (first, second):
                return 0.0
            # A divisor that is never masked is the user's own business.
            if domain is pointwise.second_nonzero and second is ANYTHING:
                return 0.0 if first == 0 else None
            known = [None if level is ANYTHING else level for level in levels]
            return pointwise.evaluate(function, domain, known)

        parts = operands(node, scope, [*node.args, *node.kwargs.values()])
        scope.put(node, meet(node, scope, parts, level_of))


@register("ops.Where")
class WhereRule(Rule):
    """`where(condition, x1, x2)`: one of two, element by element."""

    def label(self, node, scope):
        values = [*node.args, *node.kwargs.values()]
        if len(values) != 3 or values[1] is None:
            scope.freeze(node, f"{node.name} gives positions, not values")
            return

        def level_of(levels):
            condition, first, second = levels
            if first is ANYTHING or second is ANYTHING:
                return None
            if first == second:
                return first
            if condition is ANYTHING or condition is None:
                return None
            return first if condition else second

        parts = operands(node, scope, values)
        scope.put(node, meet(node, scope, parts, level_of))


@register(
    "ops.Cast",
    "ops.SaturateCast",
    "ops.Copy",
    "ops.ConvertToTensor",
    "ops.StopGradient",
    "ops.Array",
)
class SameRule(Rule):
    """The output is the input, perhaps of another dtype."""

    def label(self, node, scope):
        labels = scope.input(node)
        dtype = scope.graph.tensors[node.outputs[0]].dtype
        if "float" not in dtype:
            labels = dataclasses.replace(labels, fill=None)
        scope.put(node, labels)


@register("ops.ZerosLike", "ops.OnesLike", "ops.FullLike")
class FilledRule(Rule):
    """A tensor of one number, as large as the input."""

    def label(self, node, scope):
        level = {"ops.ZerosLike": 0.0, "ops.OnesLike": 1.0}.get(node.kind)
        if level is None:
            value = node.argument(1, "fill_value")
            if not isinstance(value, numbers.Number):
                scope.freeze(node, f"{node.name} fills it with a tensor")
                return
            level = float(value)
        labels = scope.input(node)
        scope.put(
            node, dataclasses.replace(labels, zero=level == 0, fill=level)
        )
