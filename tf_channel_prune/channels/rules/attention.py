"""Attention layers: whole heads, query and key width, value width."""

from __future__ import annotations

import math

import numpy as np

from tf_channel_prune.channels.rules.base import Change
from tf_channel_prune.channels.rules.base import Product
from tf_channel_prune.channels.rules.base import Rule
from tf_channel_prune.channels.rules.base import register
from tf_channel_prune.channels.rules.base import sizes
from tf_channel_prune.graph.structure import TensorRef

PROJECTIONS = ("query", "key", "value", "gate")
OUTPUT = "attention_output"


class _HeadsRule(Rule):
    """What the layers with weights share.

    Kernels are (inputs, heads, width) for query, key, value and gate, and
    (heads, width, outputs) for the output.
    """

    def label(self, node, scope):
        inputs = self.inputs(node)
        self._freeze_rows(node, scope, inputs)
        for name, number in self._sources(inputs).items():
            vector = scope.tensors[number].axis(-1)
            scope.carry(node, f"{name}/kernel", 0, vector)
        heads = self.label_heads(node, scope)
        self.label_widths(node, scope)
        self._add_narrow(node, scope, inputs)
        axes = self.label_output(node, scope, inputs)
        # A masked output channel has a masked kernel and a masked bias.
        scope.output(node, axes)
        if len(node.outputs) > 1:
            scores = {} if heads is None else {1: heads}
            scope.output(node, scores, zero=False, position=1)

    def inputs(self, node) -> dict[str, int]:
        """Tensor numbers of query, value and key."""
        query = node.argument(0, "query")
        value = node.argument(1, "value")
        key = node.argument(2, "key")
        key = value if key is None else key
        return {
            "query": query.index,
            "value": value.index,
            "key": key.index,
        }

    def _sources(self, inputs):
        return {**inputs, "gate": inputs["query"]}

    def _freeze_rows(self, node, scope, inputs):
        """Positions attend to each other; masks speak of all of them."""
        for number in dict.fromkeys(node.inputs):
            labels = scope.tensors[number]
            axes = labels.axes
            if number in inputs.values():
                axes = labels.without(-1)
            for vector in axes.values():
                scope.space.freeze(vector, f"{node.name} attends over it")

    def _add_narrow(self, node, scope, inputs):
        """The biases of heads of width 1 are vectors along the heads."""
        for name, number in self._sources(inputs).items():
            bias = node.weight(f"{name}/bias")
            if bias is not None and bias.shape[1] == 1:
                heads = scope.weights.get((bias.key, 0))
                shape = (*scope.tensors[number].shape[:-1], *bias.shape)
                scope.added_along(node, heads, shape, len(shape) - 2)

    def project(self, node, scope, names, axis, vector):
        """Carries a vector on kernels (axis counts from the kernel's 0)."""
        for name in names:
            scope.carry(node, f"{name}/kernel", axis, vector)
            scope.carry(node, f"{name}/bias", axis - 1, vector)
            if axis == 2:
                scope.biased(node.weight(f"{name}/bias"), vector)

    def scaled(self, node, old: int, new: int) -> dict[str, float]:
        """Scores are divided by the root of the width (Vaswani et al. 2017,
        equation 1); a narrower query makes up for it."""
        if old == new:
            return {}
        factor = math.sqrt(new / old)
        return {"query/kernel": factor, "query/bias": factor}

    def multiply_adds(self, node, graph):
        inputs = self.inputs(node)
        rank = len(graph.tensors[inputs["query"]].shape)
        rows = {
            name: sizes("tensor", number, range(1, rank - 1))
            for name, number in self._sources(inputs).items()
        }
        products = [
            Product(1.0, rows[name] + sizes("weight", kernel.key, (0, 1, 2)))
            for name in PROJECTIONS
            if (kernel := node.weight(f"{name}/kernel")) is not None
        ]
        query, output = node.weight("query/kernel"), self._output_kernel(node)
        everything = range(len(output.shape))
        products.append(
            Product(
                1.0, rows["query"] + sizes("weight", output.key, everything)
            )
        )
        attended = self.attention_axes(node, rank)
        pairs = rows["query"] + sizes("tensor", inputs["key"], attended)
        # Scores over the query's width, their product over the value's.
        for kernel, axes in ((query, (1, 2)), (output, (0, 1))):
            products.append(
                Product(1.0, pairs + sizes("weight", kernel.key, axes))
            )
        return products

    def _output_kernel(self, node):
        return node.weight(f"{OUTPUT}/kernel")

    def attention_axes(self, node, rank):
        return range(1, rank - 1)


@register("MultiHeadAttention")
class MultiHeadAttentionRule(_HeadsRule):
    """Heads, key width and value width are three groups of channels."""

    def label_heads(self, node, scope):
        vector = scope.made(node, "query/kernel", 1, role="heads")
        self.project(node, scope, ("key", "value", "gate"), 1, vector)
        scope.carry(node, "query/bias", 0, vector)
        scope.carry(node, f"{OUTPUT}/kernel", 0, vector)
        return vector

    def label_widths(self, node, scope):
        keys = scope.made(node, "query/kernel", 2, role="key_dim")
        self.project(node, scope, ("query", "key"), 2, keys)
        values = scope.made(node, "value/kernel", 2, role="value_dim")
        self.project(node, scope, ("value", "gate"), 2, values)
        scope.carry(node, f"{OUTPUT}/kernel", 1, values)
        if scope.graph.backend == "jax" and self._equally_wide(node):
            # Keras runs jax.nn.dot_product_attention there.
            scope.space.unite(keys, values, "JAX needs them equally wide")

    def _equally_wide(self, node) -> bool:
        one, two = node.weight("query/kernel"), node.weight("value/kernel")
        return one.shape[2] == two.shape[2]

    def label_output(self, node, scope, inputs):
        kernel = self._output_kernel(node)
        rank = len(scope.shape(node))
        axes = {}
        made = len(kernel.shape) - 2
        for position in range(made):
            role = "" if made == 1 else f"output{position}"
            vector = scope.made(node, kernel, 2 + position, role=role)
            scope.carry(node, f"{OUTPUT}/bias", position, vector)
            if vector is not None:
                axes[rank - made + position] = vector
        return axes

    def slim(self, node, kept):
        keys = kept.weight(node, "query/kernel", 2)
        config = {
            "num_heads": kept.weight(node, "query/kernel", 1),
            "key_dim": keys,
            "value_dim": kept.weight(node, "value/kernel", 2),
        }
        outputs = tuple(
            kept.weight(node, f"{OUTPUT}/kernel", axis)
            for axis in range(2, len(self._output_kernel(node).shape))
        )
        # tf_keras stores the shapes that it was built for.
        for name in ("query_shape", "key_shape", "value_shape"):
            if name in node.config:
                config[name] = None
        own = node.config.get("output_shape")
        if own is not None or outputs != (
            kept.size(self.inputs(node)["query"], -1),
        ):
            config["output_shape"] = outputs
        old = node.weight("query/kernel").shape[2]
        return Change(config, scale=self.scaled(node, old, keys))

    def attention_axes(self, node, rank):
        axes = node.config.get("attention_axes")
        if axes is None:
            return super().attention_axes(node, rank)
        axes = [axes] if isinstance(axes, int) else axes
        return [a if a >= 0 else rank - 1 + a for a in axes]


@register("GroupedQueryAttention")
class GroupedQueryAttentionRule(_HeadsRule):
    """Each key and value head serves several query heads.

    Either whole key heads go, each with its query heads, or the same query
    heads of every key head; whichever leaves the finer choice.
    """

    def label(self, node, scope):
        inputs = self.inputs(node)
        scope.space.unite(
            scope.tensors[inputs["query"]].axis(-1),
            scope.tensors[inputs["value"]].axis(-1),
            f"{node.name} needs its query and value equally wide",
        )
        super().label(node, scope)

    def label_heads(self, node, scope):
        query, key = node.weight("query/kernel"), node.weight("key/kernel")
        repeats = query.shape[1] // key.shape[1]
        if key.shape[1] >= repeats:
            shared = scope.made(node, key, 1, role="heads")
            vector = None if shared is None else np.repeat(shared, repeats)
            scope.carry(node, query, 1, vector)
        else:
            shared = scope.carry(node, key, 1, None)
            vector = scope.weights.get((query.key, 1))
            if (query.key, 1) not in scope.weights:
                own = scope.fresh(node, repeats, role="heads")
                vector = None if own is None else np.tile(own, key.shape[1])
            vector = scope.carry(node, query, 1, vector)
        scope.carry(node, "key/bias", 0, shared)
        self.project(node, scope, ("value",), 1, shared)
        scope.carry(node, "query/bias", 0, vector)
        self.project(node, scope, ("gate",), 1, vector)
        scope.carry(node, f"{OUTPUT}/kernel", 0, vector)
        return vector

    def label_widths(self, node, scope):
        width = scope.made(node, "query/kernel", 2, role="head_dim")
        self.project(node, scope, PROJECTIONS, 2, width)
        scope.carry(node, f"{OUTPUT}/kernel", 1, width)

    def label_output(self, node, scope, inputs):
        """The output is as wide as the query, so both lose the same."""
        labels = scope.tensors[inputs["query"]]
        vector = scope.carry(node, f"{OUTPUT}/kernel", 2, labels.axis(-1))
        scope.carry(node, f"{OUTPUT}/bias", 0, vector)
        return {} if vector is None else {len(labels.shape) - 1: vector}

    def slim(self, node, kept):
        width = kept.weight(node, "query/kernel", 2)
        config = {
            "head_dim": width,
            "num_query_heads": kept.weight(node, "query/kernel", 1),
            "num_key_value_heads": kept.weight(node, "key/kernel", 1),
        }
        old = node.weight("query/kernel").shape[2]
        return Change(config, scale=self.scaled(node, old, width))


@register("Attention", "AdditiveAttention")
class AttentionRule(Rule):
    """Inputs [query, value, key]; scores are a sum over channels."""

    def label(self, node, scope):
        query, value, *key = self._inputs(node, scope)
        key = key[0] if key else value
        for number in dict.fromkeys(node.inputs):
            for vector in scope.tensors[number].without(-1).values():
                scope.space.freeze(vector, f"{node.name} attends over it")
        vector, other = query.axis(-1), key.axis(-1)
        scope.space.unite(vector, other, f"{node.name} compares it")
        if not self._masked(node, scope, query, key):
            scope.space.freeze(
                vector,
                f"{node.name} compares it, where a masked channel is not zero",
            )
        last = len(value.shape) - 1
        passed = value.axis(-1)
        axes = {} if passed is None else {last: passed}
        scope.output(node, axes, value.zero)
        if len(node.outputs) > 1:
            scope.output(node, {}, position=1)

    def _inputs(self, node, scope):
        given = node.argument(0, "inputs")
        return [
            scope.tensors[t.index] for t in given if isinstance(t, TensorRef)
        ]

    def _masked(self, node, scope, query, key) -> bool:
        """Whether a masked channel adds nothing to the scores."""
        if node.kind == "AdditiveAttention":
            if node.weight("scale") is not None:
                scope.carry(node, "scale", 0, query.axis(-1))
                return True
            return query.zero and key.zero
        if node.config.get("score_mode", "dot") == "dot":
            return query.zero or key.zero
        return query.zero and key.zero

    def multiply_adds(self, node, graph):
        numbers = [t.index for t in node.argument(0, "inputs")]
        query, value = numbers[:2]
        rank = len(graph.tensors[query].shape)
        pairs = sizes("tensor", query, range(1, rank - 1))
        pairs += sizes("tensor", value, (rank - 2,))
        return [
            Product(1.0, pairs + sizes("tensor", number, (rank - 1,)))
            for number in (query, value)
        ]
