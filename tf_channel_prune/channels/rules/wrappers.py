"""Wrappers that apply another layer: its rule, seen from outside."""

from __future__ import annotations

import copy

from tf_channel_prune.channels.labels import Labels
from tf_channel_prune.channels.rules.base import Change
from tf_channel_prune.channels.rules.base import Kept
from tf_channel_prune.channels.rules.base import Product
from tf_channel_prune.channels.rules.base import Rule
from tf_channel_prune.channels.rules.base import register
from tf_channel_prune.channels.rules.base import rule_for
from tf_channel_prune.graph.structure import Block
from tf_channel_prune.graph.structure import Graph
from tf_channel_prune.graph.structure import Tensor


class _WrapperRule(Rule):
    """Labels the layer inside as a graph of one node.

    `dropped` axes stand behind the batch axis outside and not inside. `form`
    is put in front of the name of the inner layer's masked form; see
    `masking/forms.py`.
    """

    dropped = 0
    form = ""

    def label(self, node, scope):
        inner = node.inner
        rule = None if inner is None else rule_for(inner.kinds)
        if rule is None or len(node.outputs) != 1:
            kind = "layer" if inner is None else inner.kind.rsplit(".", 1)[-1]
            scope.freeze(node, f"{node.name} wraps a {kind}, which has no rule")
            return
        outer = scope.input(node)
        for axis, vector in outer.axes.items():
            if axis <= self.dropped:
                scope.space.freeze(vector, f"{node.name} steps along it")
        inside = scope.inside(self._graph(node, scope.graph))
        inside.tensors[0] = Labels(
            inside.graph.tensors[0].shape,
            {
                axis - self.dropped: vector
                for axis, vector in outer.axes.items()
                if axis > self.dropped
            },
            outer.zero,
            outer.origin,
        )
        rule.label(inner, inside)
        if id(inner) in scope.whole:
            scope.whole.add(id(node))
        self._watch(node, scope)
        found = inside.tensors[1]
        axes = {a + self.dropped: v for a, v in found.axes.items()}
        scope.output(node, axes, found.zero, origin=found.origin)
        scope.inner[id(node)] = inside

    def _watch(self, node, scope):
        """The masked form of the layer inside is a form of the wrapper."""
        watched = scope.watched.get(id(node.inner.operation))
        if watched is not None:
            axes = {a + self.dropped: v for a, v in watched.axes.items()}
            scope.watch(node, f"{self.form}{watched.form}", axes)

    def _graph(self, node, graph) -> Graph:
        """The inner node between a tensor 0 and a tensor 1."""
        tensors = []
        for number in (node.inputs[0], node.outputs[0]):
            outer = graph.tensors[number]
            shape = (outer.shape[0], *outer.shape[1 + self.dropped :])
            tensors.append(Tensor(len(tensors), shape, outer.dtype, outer.name))
        block = Block(None, node.name, [0], [1], [node.inner])
        return Graph(tensors, [node.inner], block, graph.flavour)

    def slim(self, node, kept):
        inside = kept.scope.inner[id(node)]
        change = rule_for(node.inner.kinds).slim(
            node.inner, Kept(inside, kept.vector)
        )
        layer = copy.deepcopy(node.config["layer"])
        layer["config"].update(change.config)
        # Weights are known by longer names outside.
        names = {w.key: w.name for w in node.weights}
        scale = {
            names[node.inner.weight(name).key]: factor
            for name, factor in change.scale.items()
            if node.inner.weight(name) is not None
        }
        return Change({"layer": layer}, scale=scale)

    def multiply_adds(self, node, graph):
        numbers = (node.inputs[0], node.outputs[0])
        steps = tuple(
            ("tensor", node.inputs[0], axis)
            for axis in range(1, 1 + self.dropped)
        )

        def outside(axis):
            kind, number, position = axis
            if kind == "tensor":
                return kind, numbers[number], position + self.dropped
            return axis

        return [
            Product(p.factor, steps + tuple(outside(axis) for axis in p.axes))
            for p in rule_for(node.inner.kinds).multiply_adds(
                node.inner, self._graph(node, graph)
            )
        ]


@register("TimeDistributed")
class TimeDistributedRule(_WrapperRule):
    """The layer at every step, with the same weights."""

    dropped = 1
    form = "each_step:"


@register("SpectralNormalization")
class SpectralNormalizationRule(_WrapperRule):
    """At inference the layer itself; in training its kernel is rescaled.

    `vector_u` belongs to the kernel's last axis.
    """

    def label(self, node, scope):
        super().label(node, scope)
        vector_u = node.weight("vector_u")
        kernel = node.inner.weight("kernel") or node.inner.weight("embeddings")
        vector = scope.weights.get((kernel.key, len(kernel.shape) - 1))
        scope.carry(node, vector_u, 1, vector)
