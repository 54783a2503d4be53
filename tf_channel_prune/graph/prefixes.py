"""Tensors in front of a node, for every batch of some data.

An analysis asks for them group by group, mostly from the input on: what is in
front of the next group is what is in front of this one and a little more. So
they are kept, as far as memory for them goes, and the next call goes on there.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from tf_channel_prune.graph import run as running
from tf_channel_prune.graph.structure import Graph
from tf_channel_prune.graph.structure import item_bytes

BYTES = 2**29  # as much as 900 images of 224 x 224 pixels


class Prefixes:
    """The tensors of a model that stay the same while what follows changes.

    Args:
        graph: The graph of a model; its weights are the same at every call.
        samples: What the model takes, batch by batch.
        run: Function of `(values, nodes, keep)` that runs nodes; see
            `run.run`.
        limit: How many bytes of tensors are kept.
    """

    def __init__(self, graph: Graph, samples, run, limit: int = BYTES):
        self._graph = graph
        self._samples = samples
        self._run = run
        self._limit = limit
        self._kept: dict[int, tuple[int, dict]] = {}
        self._bytes = 0

    def before(self, start: int) -> Iterator[tuple[dict, int]]:
        """What the nodes from `start` on need of those in front of it.

        Args:
            start: The index of a node.

        Yields:
            For each batch: tensor by number; the index of the first node that
            was run for it.
        """
        nodes = self._graph.nodes
        needed = {n for node in nodes[start:] for n in node.inputs}
        for batch, x in enumerate(self._samples):
            at, values = self._take(batch, start, x)
            made = self._run(values, nodes[at:start], needed)
            self._keep(batch, start, made)
            yield made, at

    def _take(self, batch, start, x):
        """The tensors to go on from, and the node that is next."""
        at, values = self._kept.pop(batch, (0, {}))
        self._bytes -= self._size(values)
        if at > start or not values:
            return 0, running.inputs(self._graph, x)
        return at, values

    def _keep(self, batch, start, values):
        size = self._size(values)
        if self._bytes + size <= self._limit:
            self._kept[batch] = start, values
            self._bytes += size

    def _size(self, values) -> int:
        """How many bytes tensors take; sizes not known (ragged) count as 1."""
        return sum(
            math.prod(n or 1 for n in np.shape(value))
            * item_bytes(self._graph.tensors[number].dtype)
            for number, value in values.items()
        )
