"""EinsumDense: a contraction with a kernel, as its equation says."""

from __future__ import annotations

from tf_channel_prune.channels.rules.activations import activated
from tf_channel_prune.channels.rules.base import Change
from tf_channel_prune.channels.rules.base import Product
from tf_channel_prune.channels.rules.base import Rule
from tf_channel_prune.channels.rules.base import register
from tf_channel_prune.channels.rules.base import sizes


def parse(equation: str, rank: int) -> tuple[list, list, list]:
    """The symbols of input, kernel and output, one an axis.

    Axes behind an ellipsis get numbers for symbols.

    Args:
        equation: Such as `"ab,bc->ac"`, `"...b,bc->...c"`, `"ab...,bc->ac..."`.
        rank: The input's rank.
    """
    inputs, _, rest = equation.replace(" ", "").partition(",")
    kernel, _, output = rest.partition("->")
    hidden = list(range(rank - len(inputs.replace("...", ""))))

    def symbols(text):
        head, dots, tail = text.partition("...")
        return [*head, *(hidden if dots else []), *tail]

    return symbols(inputs), symbols(kernel), symbols(output)


@register("EinsumDense")
class EinsumDenseRule(Rule):
    """Kernel axes are consumed, made, or pass channel by channel."""

    def label(self, node, scope):
        labels = scope.input(node)
        incoming, kernel, outgoing = self._parse(node, len(labels.shape))
        weight = node.weight("kernel")
        made = [symbol for symbol in kernel if symbol not in incoming]
        vectors = {s: labels.axes.get(a) for a, s in enumerate(incoming)}
        for axis, symbol in enumerate(kernel):
            if symbol in incoming:
                vectors[symbol] = scope.carry(
                    node, weight, axis, vectors[symbol]
                )
            else:
                role = symbol if len(made) > 1 else ""
                vectors[symbol] = scope.made(node, weight, axis, role=role)
        for symbol in incoming:
            if symbol not in kernel and symbol not in outgoing:
                self._summed(node, scope, labels, vectors[symbol])
        biased = self._bias(node, scope, outgoing, vectors)
        axes = {
            axis: vectors[symbol]
            for axis, symbol in enumerate(outgoing)
            if vectors[symbol] is not None
        }
        zero = all(
            (outgoing[axis] in kernel or labels.zero)
            and (biased is None or outgoing[axis] in biased)
            for axis in axes
        )
        activated(node, scope, axes, zero)

    def _parse(self, node, rank):
        return parse(node.config["equation"], rank)

    def _summed(self, node, scope, labels, vector):
        if not labels.zero:
            scope.space.freeze(
                vector,
                f"{node.name} sums over it, where a masked channel is not zero",
            )

    def _bias(self, node, scope, outgoing, vectors):
        """Carries labels; gives the symbols that the bias masks."""
        bias = node.weight("bias")
        if bias is None:
            return None
        named = node.config["bias_axes"]
        # The bias stands at the end of the output, with size 1 elsewhere.
        before = len(outgoing) - len(bias.shape)
        symbols = outgoing[before:]
        long = [axis for axis, size in enumerate(bias.shape) if size > 1]
        for axis, symbol in enumerate(symbols):
            if isinstance(symbol, str) and symbol in named:
                vector = scope.carry(node, bias, axis, vectors[symbol])
                if axis == len(bias.shape) - 1:
                    scope.biased(bias, vector)
                if long == [axis]:
                    scope.added_along(
                        node, vector, scope.shape(node), before + axis
                    )
        return list(named)

    def slim(self, node, kept):
        number = node.outputs[0]
        stay = kept.shape(number)
        old = node.config["output_shape"]
        old = (old,) if isinstance(old, int) else tuple(old)
        # The partial output shape leaves out the batch and, on the right,
        # the axes behind an ellipsis.
        first = 1
        if node.config["equation"].strip().startswith("..."):
            first = len(stay) - len(old)
        stay = stay[first : first + len(old)]
        new = tuple(a if a is None else b for a, b in zip(old, stay))
        return Change({"output_shape": new})

    def multiply_adds(self, node, graph):
        number = node.inputs[0]
        rank = len(graph.tensors[number].shape)
        incoming, kernel, _ = self._parse(node, rank)
        rows = [
            axis
            for axis, symbol in enumerate(incoming)
            if axis > 0 and symbol not in kernel
        ]
        weight = node.weight("kernel")
        axes = sizes("weight", weight.key, range(len(weight.shape)))
        return [Product(1.0, sizes("tensor", number, rows) + axes)]
