"""Which operations of a graph run as one, and what their time depends on.

Runtimes fuse an operation with cheap ones around it, so latencies are of
*segments*: at most one operation with multiply-adds, the padding, pooling or
reshaping that only it uses, and the normalisation and activations behind it.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence

import numpy as np

from tf_channel_prune.channels import Channels
from tf_channel_prune.graph.digests import part_digest
from tf_channel_prune.graph.digests import text_digest
from tf_channel_prune.graph.structure import CONSTANT
from tf_channel_prune.graph.structure import VARIABLE
from tf_channel_prune.graph.structure import Node

# A segment of more widths is measured along their sum.
MOST_WIDTHS = 4


@dataclasses.dataclass(frozen=True)
class Coordinate:
    """One width that a segment's latency depends on.

    Attributes:
        constant: The part of the width that stays.
        groups: `(group number, times)`: each kept unit counts so often.
    """

    constant: int
    groups: tuple[tuple[int, int], ...]

    def size(self, counts) -> int:
        """The width with so many kept units of every prunable group."""
        return self.constant + sum(t * int(counts[g]) for g, t in self.groups)


@dataclasses.dataclass(frozen=True, eq=False)
class Segment:
    """Operations that run as one.

    Attributes:
        nodes: The calls, with variables and constants that they use.
        inputs: Shapes of what goes in, by tensor number; one sample.
        outputs: Numbers of what comes out.
        coordinates: What the latency depends on: no group is in two of them.
        key: The same for segments that compute the same, in any model.
        main: The index of the node that works most.
        what: For people: the kinds of the operations.
    """

    nodes: tuple[Node, ...]
    inputs: dict[int, tuple[int, ...]]
    outputs: tuple[int, ...]
    coordinates: tuple[Coordinate, ...]
    key: str
    main: int
    what: str


def segments(channels: Channels, shapes: dict[int, tuple]) -> list[Segment]:
    """The segments of a graph, in graph order.

    Args:
        channels: The labels of the graph.
        shapes: Shapes by tensor number where the graph's have open sizes.
    """
    facts = _Facts(channels, shapes)
    return [facts.segment(chain) for chain in _Chains(channels).all()]


class _Chains:
    """Splits a graph into chains of calls."""

    def __init__(self, channels):
        self.channels = channels
        self.graph = channels.graph
        self.users: dict[int, list[Node]] = {}
        for node in self.graph.nodes:
            for number in dict.fromkeys(node.inputs):
                self.users.setdefault(number, []).append(node)

    def all(self) -> list[list[Node]]:
        seen: set[int] = set()
        chains = []
        for node in self.graph.nodes:
            if node.index not in seen and not _is_static(node):
                chain = self._from(node)
                seen.update(n.index for n in chain)
                chains.append(chain)
        return chains

    def _from(self, node):
        chain = [node]
        heavy = self._is_heavy(node)
        while (behind := self._only_user(chain[-1])) is not None:
            works = self._is_heavy(behind)
            # What keeps the shape goes with what it follows; what changes it
            # (padding, pooling) goes with what follows it.
            if heavy and (works or not self._keeps_shape(behind)):
                break
            chain.append(behind)
            heavy = heavy or works
        return chain

    def _is_heavy(self, node) -> bool:
        return bool(self.channels.multiply_adds[node.index])

    def _only_user(self, node):
        """The call that alone uses all that a node makes, and nothing else."""
        if len(node.outputs) != 1 or node.outputs[0] in self.graph.outputs:
            return None
        users = self.users.get(node.outputs[0], [])
        if len(users) != 1 or {*self._moving(users[0])} != {*node.outputs}:
            return None
        return users[0]

    def _moving(self, node):
        """A node's inputs that are not constants."""
        makers = self.graph.producer
        return [
            n
            for n in node.inputs
            if n not in makers or not _is_static(makers[n])
        ]

    def _keeps_shape(self, node) -> bool:
        tensors = self.graph.tensors
        shapes = {
            tensors[n].shape for n in (*self._moving(node), *node.outputs)
        }
        return len(shapes) == 1


class _Facts:
    """What is to be known of each segment."""

    def __init__(self, channels, shapes):
        self.channels = channels
        self.graph = channels.graph
        self.shapes = shapes
        self._group_of = np.full(channels.unit_count + 1, -1)
        for g, group in enumerate(channels.prunable):
            self._group_of[group.units] = g
        self._size = [group.size for group in channels.prunable]

    def segment(self, chain) -> Segment:
        made = {n for node in chain for n in node.outputs}
        used = {n for node in chain for n in node.inputs} - made
        makers = self.graph.producer
        statics = {
            makers[n].index: makers[n]
            for n in sorted(used)
            if n in makers and _is_static(makers[n])
        }
        nodes = (*(statics[i] for i in sorted(statics)), *chain)
        fixed = {n for node in statics.values() for n in node.outputs}
        inputs = {n: self._shape(n) for n in sorted(used - fixed)}
        coordinates = self._coordinates(nodes, (*inputs, *made))
        works = [n for n in chain if self.channels.multiply_adds[n.index]]
        return Segment(
            nodes,
            inputs,
            tuple(chain[-1].outputs),
            coordinates,
            self._key(nodes, inputs, coordinates),
            (works or chain)[0].index,
            " + ".join(n.kind.rsplit(".", 1)[-1] for n in chain),
        )

    def _shape(self, number):
        own = self.graph.tensors[number].shape
        sizes = self.shapes.get(number, own)
        return (1, *(size or 1 for size in sizes[1:]))

    def _coordinates(self, nodes, tensors) -> tuple[Coordinate, ...]:
        scope = self.channels.scope
        vectors = [
            vector
            for number in sorted(tensors)
            if number in scope.tensors
            for _, vector in sorted(scope.tensors[number].axes.items())
        ]
        for node in nodes:
            for weight in node.weights:
                for axis in range(len(weight.shape)):
                    vectors.append(scope.weights.get((weight.key, axis)))
        sizes = dict.fromkeys(
            self._affine(vector) for vector in vectors if vector is not None
        )
        found = _joined([size for size in sizes if size.groups])
        return tuple(found if len(found) <= MOST_WIDTHS else [_sum(found)])

    def _affine(self, vector) -> Coordinate:
        groups = self._group_of[self.channels.units(vector)]
        counts = np.bincount(groups + 1, minlength=1)
        found = [
            (g, int(counts[g + 1]) // self._size[g])
            for g in np.flatnonzero(counts[1:]).tolist()
        ]
        return Coordinate(int(counts[0]), tuple(found))

    def _key(self, nodes, inputs, coordinates) -> str:
        names: dict[int, int] = {}
        layout = [
            [
                coordinate.constant,
                [
                    [names.setdefault(g, len(names)), self._size[g], times]
                    for g, times in coordinate.groups
                ],
            ]
            for coordinate in coordinates
        ]
        digest = part_digest(self.graph, nodes, inputs)
        return text_digest(json.dumps([digest, layout]))


def _joined(sizes: Sequence[Coordinate]) -> list[Coordinate]:
    """One coordinate for sizes that share groups: their sum."""
    joined: list[list[Coordinate]] = []
    for size in sizes:
        own = {g for g, _ in size.groups}
        meets = [
            other
            for other in joined
            if own & {g for one in other for g, _ in one.groups}
        ]
        joined = [other for other in joined if other not in meets]
        joined.append([one for other in meets for one in other] + [size])
    return [_sum(sizes) for sizes in joined]


def _sum(sizes) -> Coordinate:
    if len(sizes) == 1:
        return sizes[0]
    times: dict[int, int] = {}
    for size in sizes:
        for g, n in size.groups:
            times[g] = times.get(g, 0) + n
    constant = sum(size.constant for size in sizes)
    return Coordinate(constant, tuple(sorted(times.items())))


def _is_static(node: Node) -> bool:
    return node.kind in (VARIABLE, CONSTANT)
