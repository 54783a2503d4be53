"""Operations of `keras.ops` that sum products: einsum and its kin.

Each is written as an einsum: a name per axis of every operand and of the
result. An axis with a name that the result lacks is summed over.
"""

from __future__ import annotations

import string

from tf_channel_prune.channels.labels import Labels
from tf_channel_prune.channels.rules.base import Change
from tf_channel_prune.channels.rules.base import Product
from tf_channel_prune.channels.rules.base import Rule
from tf_channel_prune.channels.rules.base import register
from tf_channel_prune.channels.rules.base import sizes
from tf_channel_prune.graph.structure import CONSTANT
from tf_channel_prune.graph.structure import VARIABLE
from tf_channel_prune.graph.structure import TensorRef


def contract(node, scope, operands, result) -> Labels:
    """Labels of an einsum.

    Args:
        node: The operation.
        scope: The labels so far.
        operands: `(labels, names)` per operand, one name per axis.
        result: The names of the result's axes.
    """
    axes = {}
    for name in dict.fromkeys(n for _, names in operands for n in names):
        here = [
            (labels, labels.axes.get(names.index(name)))
            for labels, names in operands
            if name in names and labels.shape[names.index(name)] != 1
        ]
        vectors = [vector for _, vector in here if vector is not None]
        if not vectors:
            continue
        for _, vector in here:
            scope.space.unite(
                vectors[0], vector, f"it meets other channels in {node.name!r}"
            )
        if len(vectors) < len(here):
            continue
        if name in result:
            axes[result.index(name)] = vectors[0]
        elif not any(labels.zero for labels, _ in here):
            scope.space.freeze(
                vectors[0],
                f"{node.name} sums over it, where a masked channel is not zero",
            )
    zero = all(
        any(
            labels.zero and names.index(result[axis]) in labels.axes
            for labels, names in operands
            if result[axis] in names
        )
        for axis in axes
    )
    return Labels(scope.shape(node), axes, zero)


class ContractionRule(Rule):
    """An operation that `spec` writes as an einsum."""

    def spec(self, node, shapes):
        """`(names per operand, names of the result)`, or None."""
        raise NotImplementedError

    def label(self, node, scope):
        tensors = [scope.tensors[number] for number in node.inputs]
        found = self._spec(node, scope.graph)
        if found is None:
            scope.freeze(node, f"{node.name} is not a plain einsum")
            return
        names, result = found
        labels = contract(node, scope, list(zip(tensors, names)), result)
        scope.put(node, labels)

    def _spec(self, node, graph):
        values = [*node.args, *node.kwargs.values()]
        if not all(isinstance(value, TensorRef) for value in values):
            return None
        shapes = [graph.tensors[number].shape for number in node.inputs]
        found = self.spec(node, shapes)
        if found is None:
            return None
        names, result = found
        # An axis that meets itself picks a diagonal.
        if any(len(set(part)) < len(part) for part in (*names, result)):
            return None
        return found

    def multiply_adds(self, node, graph):
        found = self._spec(node, graph)
        if found is None:
            return []
        names, result = found
        places = {}
        for number, part in zip(node.inputs, names):
            for axis, name in enumerate(part):
                known = places.get(name)
                if (
                    known is None
                    or graph.tensors[known[0]].shape[known[1]] == 1
                ):
                    places[name] = (number, axis)
        axes = ()
        for name, (number, axis) in places.items():
            maker = graph.producer.get(number)
            source = maker is not None and maker.kind in _SOURCES
            if axis == 0 and result[:1] == [name] and not source:
                continue  # the batch
            axes += sizes("tensor", number, [axis])
        return [Product(1.0, axes)]


_SOURCES = (VARIABLE, CONSTANT)


@register("ops.Einsum")
class EinsumRule(ContractionRule):
    """By its subscripts; `...` stands for axes in front."""

    def spec(self, node, shapes):
        text = node.config["subscripts"].replace(" ", "")
        left, arrow, right = text.partition("->")
        parts = left.split(",")
        if not arrow or len(parts) != len(shapes):
            return None
        widest = 0
        for part, shape in zip(parts, shapes):
            if "..." in part:
                widest = max(widest, len(shape) - len(part) + 3)
        free = [c for c in string.ascii_letters if c not in text][:widest]

        def names(part, rank=None):
            if "..." not in part:
                return list(part)
            first, last = part.split("...")
            count = widest
            if rank is not None:
                count = rank - len(first) - len(last)
            return [*first, *free[widest - count :], *last]

        operands = [names(part, len(s)) for part, s in zip(parts, shapes)]
        return operands, names(right)


@register("ops.Matmul")
class MatmulRule(ContractionRule):
    """The last two axes are matrices, those in front broadcast."""

    def spec(self, node, shapes):
        first, second = (len(shape) for shape in shapes)
        if min(first, second) == 0:
            return None
        front = max(first, second) - 2
        letters = [f"b{i}" for i in range(max(front, 0))]
        one = [*letters[max(front - first + 2, 0) :], "i", "k"][-first:]
        two = [*letters[max(front - second + 2, 0) :], "k", "j"]
        if first == 1:
            one = ["k"]
        if second == 1:
            two = ["k"]
        result = list(letters)
        result += ["i"] * (first > 1) + ["j"] * (second > 1)
        return [one, two], result


@register("ops.Dot")
class DotRule(ContractionRule):
    """The last axis of one against the last but one of the other."""

    def spec(self, node, shapes):
        first, second = (len(shape) for shape in shapes)
        if min(first, second) == 0:
            return None
        one = [f"a{i}" for i in range(first - 1)] + ["k"]
        two = [f"b{i}" for i in range(second)]
        two[max(second - 2, 0)] = "k"
        rest = [name for name in two if name != "k"]
        return [one, two], one[:-1] + rest


@register("ops.Inner", "ops.Outer", "ops.Tensordot")
class TensordotRule(ContractionRule):
    """Some axes of one against some of the other."""

    def spec(self, node, shapes):
        first, second = (len(shape) for shape in shapes)
        one = [f"a{i}" for i in range(first)]
        two = [f"b{i}" for i in range(second)]
        for a, b in self._pairs(node, first, second):
            two[b % second] = one[a % first]
        summed = set(one) & set(two)
        return [one, two], [n for n in one + two if n not in summed]

    def _pairs(self, node, first, second):
        if node.kind == "ops.Outer":
            return []
        if node.kind == "ops.Inner":
            return [(-1, -1)]
        axes = node.config["axes"]
        if isinstance(axes, int):
            return [(first - axes + i, i) for i in range(axes)]
        pair = [[a] if isinstance(a, int) else list(a) for a in axes]
        return list(zip(*pair))


@register("ops.DotProductAttention")
class AttentionOpRule(Rule):
    """`softmax(scale q k) v`, tensors of (batch, length, heads, width).

    Keras takes the width of the result from the query, so that all three
    lose the same positions.
    """

    def label(self, node, scope):
        numbers = self._three(node)
        three = [scope.tensors[number] for number in numbers]
        for extra in node.inputs:
            if extra not in numbers:
                for vector in scope.tensors[extra].axes.values():
                    scope.space.freeze(vector, f"{node.name} adds it to scores")
        for labels in three:
            for axis in (0, 1):
                scope.space.freeze(
                    labels.axes.get(axis), f"{node.name} mixes it"
                )
        axes = {}
        for axis in (2, 3):
            vectors = [labels.axes.get(axis) for labels in three]
            if len({labels.shape[axis] for labels in three}) > 1:
                for vector in vectors:
                    scope.space.freeze(vector, f"{node.name} shares heads")
                continue
            for vector in vectors:
                scope.space.unite(
                    vectors[0],
                    vector,
                    f"it meets other channels in {node.name!r}",
                )
            if all(vector is not None for vector in vectors):
                axes[axis] = vectors[0]
        if not (three[0].zero or three[1].zero):
            scope.space.freeze(
                axes.get(3),
                f"{node.name} sums over it, where a masked channel is not zero",
            )
        scope.output(node, axes, three[2].zero)

    def slim(self, node, kept):
        """The scale stays that of the whole width."""
        query = self._three(node)[0]
        width = kept.scope.tensors[query].shape[3]
        if node.argument(5, "scale") is not None or width is None:
            return Change()
        if len(node.args) > 5:
            args = (*node.args[:5], width**-0.5, *node.args[6:])
            return Change(args=args)
        return Change(kwargs={**node.kwargs, "scale": width**-0.5})

    def multiply_adds(self, node, graph):
        query, key, value = self._three(node)
        scores = sizes("tensor", query, (1, 2, 3)) + sizes("tensor", key, [1])
        mixed = sizes("tensor", query, (1, 2)) + sizes("tensor", value, (1, 3))
        return [Product(1.0, scores), Product(1.0, mixed)]

    def _three(self, node):
        return [
            node.argument(i, name).index
            for i, name in enumerate(("query", "key", "value"))
        ]
