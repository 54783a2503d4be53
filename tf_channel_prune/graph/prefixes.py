"""Tensors in front of a node, for every batch of some data.

An analysis asks for them group by group, mostly from the input on: what is in
front of the next group is what is in front of this one and a little more. So
they are kept, as far as memory for them goes, and the next call goes on there.
"""

from __future__ import annotations

import numpy as np

from tf_channel_prune.graph import run as running
from tf_channel_prune.graph.structure import Graph

BYTES = 2**29  # as much as 900 images of 224 x 224 pixels


class Prefixes:
    """The tensors of a model that stay the same while what follows changes.

    Args:
        graph: The graph of a model; its weights are the same at every call.
        run: Function of `(values, nodes, keep)` that runs nodes; see
            `run.run`.
        limit: How many bytes of tensors are kept.
    """

    def __init__(self, graph: Graph, run, limit: int = BYTES):
        self._graph = graph
        self._run = run
        self._limit = limit
        self._kept: dict[int, tuple[int, dict]] = {}
        self._bytes = 0

    def before(self, batch: int, x, start: int) -> tuple[dict, int]:
        """What the nodes from `start` on need of those in front of it.

        Args:
            batch: The number of the batch.
            x: Its samples, always the same for a number.
            start: The index of a node.

        Returns:
            Tensor by number; the index of the first node that was run for it.
        """
        nodes = self._graph.nodes
        needed = {n for node in nodes[start:] for n in node.inputs}
        needed.update(self._graph.outputs)
        at, values = self._kept.pop(batch, (0, {}))
        self._bytes -= _bytes(values)
        if at > start or not values:
            at, values = 0, running.inputs(self._graph, x)
        made = self._run(values, nodes[at:start], needed)
        made.update({n: v for n, v in values.items() if n in needed})
        size = _bytes(made)
        if self._bytes + size <= self._limit:
            self._kept[batch] = start, made
            self._bytes += size
        return made, at


def _bytes(values: dict) -> int:
    """How much memory tensors take; of a dtype without size, four a number."""
    return sum(
        int(np.prod(value.shape)) * getattr(value.dtype, "size", 4)
        for value in values.values()
        if hasattr(value, "shape") and hasattr(value, "dtype")
    )
