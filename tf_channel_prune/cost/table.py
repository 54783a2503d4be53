"""Costs of a graph as functions of the groups' kept counts."""

from __future__ import annotations

import numpy as np

from tf_channel_prune.channels import Channels
from tf_channel_prune.channels.rules import Product
from tf_channel_prune.channels.rules.base import sizes
from tf_channel_prune.cost.latency import LatencyTerms
from tf_channel_prune.cost.segments import segments
from tf_channel_prune.errors import PruningError
from tf_channel_prune.graph import concrete_shapes
from tf_channel_prune.graph.digests import graph_digest
from tf_channel_prune.graph.structure import CONSTANT
from tf_channel_prune.graph.structure import VARIABLE
from tf_channel_prune.graph.structure import item_bytes

# Costs that are sums of products of sizes; latency is measured.
PRODUCT_METRICS = ("flops", "params", "activation_memory")
METRICS = (*PRODUCT_METRICS, "latency")


def check_metric(of: str) -> None:
    """Raises unless there is such a cost."""
    if of not in METRICS:
        raise PruningError(f"of={of!r}: expected one of {', '.join(METRICS)}.")


class CostTable:
    """Evaluates costs from kept counts, one integer per prunable group.

    Args:
        channels: The solved labels of a graph.
        input_shape: Sizes for the axes that the model leaves open; see
            `graph.concrete_shapes`. A size that stays unknown counts as 1.
        latency: A `LatencyTable` of the graph's segments; without one there
            is no metric `latency`.

    Attributes:
        metrics: The costs that there are.
        groups: The prunable groups, in the order of the counts.
        sizes: Their full sizes, shape (groups,).
        shapes: Which sizes were taken for open axes.
        uncounted: Names of layers and operations whose FLOPs are not known:
            they count as 0.
    """

    def __init__(self, channels: Channels, input_shape=None, latency=None):
        self.groups = channels.prunable
        self.sizes = np.array([g.size for g in self.groups], np.int64)
        self.shapes = concrete_shapes(channels.graph, input_shape)
        self.uncounted = tuple(
            dict.fromkeys(
                node.name
                for node in channels.graph.nodes
                if channels.multiply_adds[node.index] is None
            )
        )
        self._axes = _Axes(channels, self.shapes.by_tensor)
        self._terms = {
            metric: _Terms(products(channels, metric), self._axes)
            for metric in PRODUCT_METRICS
        }
        self._axes.close(len(self.groups))
        if latency is not None:
            self._terms["latency"] = LatencyTerms(
                latency,
                segments(channels, self.shapes.by_tensor),
                graph_digest(channels.graph),
                self.sizes,
            )
        self.metrics = tuple(self._terms)

    def total(self, counts, metric: str) -> float:
        """The whole model's cost.

        Args:
            counts: How many units of each prunable group stay.
            metric: `flops`, `params`, `activation_memory` (bytes) or
                `latency` (microseconds).

        Raises:
            PruningError: If it is `latency`, and nothing was measured.
        """
        return float(self._of(metric).values(counts).sum())

    def _of(self, metric):
        terms = self._terms.get(metric)
        if terms is None:
            check_metric(metric)
            raise PruningError(
                'of="latency" needs latencies measured on the target: make a '
                "table with tcp.measure_latency(model, path) and give it as "
                "latency=."
            )
        return terms

    def counts(self, alive: np.ndarray) -> np.ndarray:
        """How many units of each prunable group are alive."""
        return np.array([alive[g.units].sum() for g in self.groups], np.int64)

    def removed(self, alive: np.ndarray, metric: str) -> float:
        """The share of the dense cost that is gone, between 0 and 1."""
        return 1 - self.relative(self.counts(alive), metric)

    def alternatives(self, counts, group: int, options, metric: str):
        """What a cost is at several counts of one group, for comparisons.

        Args:
            counts: How many units of each prunable group stay.
            group: The number of a group.
            options: Counts of that group, shape (options,).
            metric: Which cost.

        Returns:
            Shape (options,): the part of the cost that depends on the group.
        """
        return self._of(metric).alternatives(counts, group, options)

    def by_node(self, counts, metric: str) -> np.ndarray:
        """Cost per node of the graph, shape (nodes,)."""
        terms = self._of(metric)
        return np.bincount(
            terms.nodes,
            terms.values(counts),
            minlength=self._axes.node_count,
        )

    def relative(self, counts, metric: str) -> float:
        """A cost as a share of the dense model's."""
        full = self.total(self.sizes, metric)
        return self.total(counts, metric) / full if full else 1.0

    def products(self, metric: str):
        """A cost as a sum of products of sizes that depend on the counts.

        Returns:
            `(factor, sizes)` pairs, equal products added up; each size is a
            pair of a constant and of a tuple of `(group number, times)`.
            Latency is no such sum.
        """
        return self._terms[metric].collected()


class _Axes:
    """Axis sizes as affine functions of the kept counts."""

    def __init__(self, channels, shapes):
        self.channels = channels
        self.shapes = shapes
        self.node_count = len(channels.graph.nodes)
        self._index: dict[tuple, int] = {}
        self._base = [1]  # entry 0 pads short products
        self._rows: list[tuple[int, int, int]] = []
        self._group_of = np.full(channels.unit_count + 1, -1)
        for g, group in enumerate(channels.prunable):
            self._group_of[group.units] = g
        self._sizes = [group.size for group in channels.prunable]
        self._weights = channels.graph.weights
        self._times: dict[int, np.ndarray] = {}
        self._last: tuple[bytes, np.ndarray] | None = None

    def index(self, axis: tuple[str, int, int]) -> int:
        """The position of an axis' size in the vector of sizes."""
        known = self._index.get(axis)
        if known is not None:
            return known
        position = self._index[axis] = len(self._base)
        kind, number, dim = axis
        if kind == "weight":
            size = self._weights[number].shape[dim]
            vector = self.channels.scope.weights.get((number, dim))
        else:
            labels = self.channels.scope.tensors[number]
            size = self.shapes.get(number, labels.shape)[dim]
            size = 1 if size is None else size
            vector = labels.axes.get(dim)
        if vector is not None:
            groups = self._group_of[self.channels.units(vector)]
            counts = np.bincount(groups + 1, minlength=1)
            size = int(counts[0])
            for g in np.flatnonzero(counts[1:]).tolist():
                times = int(counts[g + 1]) // self._sizes[g]
                self._rows.append((position, g, times))
        self._base.append(size)
        return position

    def close(self, group_count):
        """All axes are known: prepares the matrix."""
        from scipy.sparse import csr_array

        rows = np.array(self._rows, np.int64).reshape(-1, 3)
        self._matrix = csr_array(
            (rows[:, 2], (rows[:, 0], rows[:, 1])),
            shape=(len(self._base), group_count),
        )
        self._vector = np.array(self._base, np.int64)

    def times(self, group: int) -> np.ndarray:
        """How often a group's count is in each size."""
        if group not in self._times:
            column = self._matrix[:, [group]].toarray()[:, 0]
            self._times[group] = column.astype(np.float64)
        return self._times[group]

    def affine(self, position: int):
        """A size as a constant and `(group number, times)` pairs."""
        start, end = self._matrix.indptr[position : position + 2]
        groups = self._matrix.indices[start:end].tolist()
        times = self._matrix.data[start:end].tolist()
        return int(self._vector[position]), tuple(sorted(zip(groups, times)))

    def __call__(self, counts) -> np.ndarray:
        """Every size; a planner asks many times in a row for the same."""
        counts = np.asarray(counts, np.int64)
        key = counts.tobytes()
        last = self._last
        if last is None or last[0] != key:
            sizes = (self._vector + self._matrix @ counts).astype(np.float64)
            sizes.setflags(write=False)
            last = self._last = key, sizes
        return last[1]


class _Terms:
    """Products of axis sizes, each belonging to a node."""

    def __init__(self, pairs, axes: _Axes):
        self._axes = axes
        self.nodes = np.array([node for node, _ in pairs], np.int64)
        self._factor = np.array([p.factor for _, p in pairs], np.float64)
        width = max((len(p.axes) for _, p in pairs), default=0)
        self._index = np.zeros((len(pairs), width), np.int64)
        self._of_group: dict[int, tuple] = {}
        for row, (_, product) in enumerate(pairs):
            for column, axis in enumerate(product.axes):
                self._index[row, column] = axes.index(axis)

    def values(self, counts) -> np.ndarray:
        """Each product with so many kept units."""
        return self._factor * self._axes(counts)[self._index].prod(axis=1)

    def alternatives(self, counts, group: int, options) -> np.ndarray:
        """See `CostTable.alternatives`."""
        times = self._axes.times(group)
        if group not in self._of_group:
            rows = np.flatnonzero(times[self._index].any(axis=1))
            self._of_group[group] = rows, self._index[rows]
        rows, index = self._of_group[group]
        steps = np.asarray(options) - counts[group]
        sizes = self._axes(counts)[index] + steps[:, None, None] * times[index]
        return sizes.prod(axis=2) @ self._factor[rows]

    def collected(self):
        """See `CostTable.products`."""
        affine = {
            p: self._axes.affine(p) for p in np.unique(self._index).tolist()
        }
        found: dict[tuple, float] = {}
        for factor, row in zip(self._factor.tolist(), self._index.tolist()):
            varying = []
            for position in row:
                constant, groups = affine[position]
                if groups:
                    varying.append((constant, groups))
                else:
                    factor *= constant
            key = tuple(sorted(varying))
            found[key] = found.get(key, 0.0) + factor
        return [(factor, key) for key, factor in found.items()]


def products(channels: Channels, metric: str) -> list[tuple[int, Product]]:
    """`(node index, product)` pairs whose sum is the cost."""
    graph = channels.graph
    if metric == "flops":
        return [
            (node.index, Product(2 * p.factor, p.axes))
            for node in graph.nodes
            for p in channels.multiply_adds[node.index] or ()
        ]
    if metric == "params":
        seen: set[int] = set()
        pairs = []
        for node in graph.nodes:
            for weight in node.weights:
                if weight.key not in seen:
                    seen.add(weight.key)
                    axes = sizes("weight", weight.key, range(len(weight.shape)))
                    pairs.append((node.index, Product(1.0, axes)))
        return pairs
    return [
        (
            node.index,
            Product(
                float(item_bytes(graph.tensors[number].dtype)),
                sizes(
                    "tensor", number, range(1, len(graph.tensors[number].shape))
                ),
            ),
        )
        for node in graph.nodes
        if node.kind not in (VARIABLE, CONSTANT)
        for number in node.outputs
    ]
