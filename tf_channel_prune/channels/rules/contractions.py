"""Products of two tensors, summed over an axis, without weights."""

from __future__ import annotations

from tf_channel_prune.channels.labels import Labels
from tf_channel_prune.channels.rules.base import Product
from tf_channel_prune.channels.rules.base import Rule
from tf_channel_prune.channels.rules.base import register
from tf_channel_prune.channels.rules.base import sizes


def contract(scope, first: Labels, a: int, second: Labels, b: int, why: str):
    """The sum over axis `a` of one tensor and axis `b` of another.

    Both lose the same positions; a masked position adds nothing where one of
    the two factors is zero there.
    """
    one, two = first.axis(a), second.axis(b)
    scope.space.unite(one, two, why)
    if not (first.zero or second.zero):
        for vector in (one, two):
            scope.space.freeze(
                vector, f"{why}, where a masked channel is not zero"
            )


@register("Dot")
class DotRule(Rule):
    """The layer: `axes[0]` of one input against `axes[1]` of the other."""

    def label(self, node, scope):
        first, second = (scope.tensors[number] for number in node.inputs)
        a, b = self._axes(node, first, second)
        why = f"{node.name} sums over it"
        contract(scope, first, a, second, b, why)
        if node.config["normalize"]:
            for labels, axis in ((first, a), (second, b)):
                if not labels.zero:
                    scope.space.freeze(
                        labels.axis(axis),
                        f"{node.name} takes the norm over it, where a masked "
                        "channel is not zero",
                    )
        rest = [first.axis(i) for i in range(len(first.shape)) if i != a]
        # The batch axis of the second input is the first one's.
        rest += [second.axis(i) for i in range(1, len(second.shape)) if i != b]
        axes = {i: v for i, v in enumerate(rest) if v is not None}
        scope.output(node, axes, first.zero and second.zero)

    def _axes(self, node, first, second):
        axes = node.config["axes"]
        pair = (axes, axes) if isinstance(axes, int) else axes
        return pair[0] % len(first.shape), pair[1] % len(second.shape)

    def multiply_adds(self, node, graph):
        first, second = (graph.tensors[number] for number in node.inputs)
        _, b = self._axes(node, first, second)
        axes = sizes("tensor", first.index, range(1, len(first.shape)))
        axes += sizes(
            "tensor",
            second.index,
            [i for i in range(1, len(second.shape)) if i != b],
        )
        return [Product(1.0, axes)]
