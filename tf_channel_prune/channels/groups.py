"""Units and groups: what lives and dies together, and what has a ratio."""

from __future__ import annotations

import copy
import dataclasses
import functools

import numpy as np

from tf_channel_prune.channels.contracting import may_contract
from tf_channel_prune.channels.rules import Kept
from tf_channel_prune.channels.rules import Product
from tf_channel_prune.channels.rules import Rule
from tf_channel_prune.channels.rules import rule_for
from tf_channel_prune.channels.scope import Scope
from tf_channel_prune.channels.walk import walk
from tf_channel_prune.graph.structure import VARIABLE
from tf_channel_prune.graph.structure import Graph
from tf_channel_prune.graph.structure import Node

# In place of a weight's name: the input of an operation with a masked form.
INPUT = "input"


@dataclasses.dataclass(frozen=True)
class ChannelGroup:
    """Channels that are interchangeable for every cost.

    Attributes:
        name: Unique in the model: the first layer that makes the channels,
            with what they are where it makes several kinds
            (`attention:heads`), and a range where a layer's channels fall
            into several groups.
        layers: Every layer that makes channels of the group, in graph order.
        size: The number of units: channels, or sets of channels that can
            only be removed together.
        frozen: Whether nothing of it can be removed.
        reason: Why it is frozen; empty if it is not.
        units: The unit numbers, in the order of the channels.
        probed: Layers and operations on its way that have no rule: what they
            do to channels was found by trying them.
        least: The fewest of its units that a layer on its way can do with.
        never: Counts above that with which such a layer does something else.
    """

    name: str
    layers: tuple[str, ...]
    size: int
    frozen: bool
    reason: str
    units: np.ndarray = dataclasses.field(repr=False, compare=False)
    probed: tuple[str, ...] = ()
    least: int = 1
    never: frozenset[int] = frozenset()

    def allowed(self, count: int) -> int:
        """The fewest units, from `count` up, that its layers can do with."""
        count = max(count, self.least)
        while count in self.never:
            count += 1
        return min(count, self.size)


class Channels:
    """The labels of a graph, solved: units, groups and where they lie.

    Attributes:
        graph: The graph.
        scope: The labels of its tensors and weight axes.
        groups: Every group, frozen ones included, in graph order.
    """

    def __init__(self, graph: Graph, exclude=()):
        self.graph = graph
        self.scope: Scope = walk(graph, exclude)
        self._units = self.scope.space.solve()
        self.unit_count = self._units.count
        self.groups: list[ChannelGroup] = _groups(self)

    def freezing(self, units, reason: str) -> Channels:
        """The same labels with more units frozen.

        Args:
            units: Unit numbers.
            reason: Why, for those that are not frozen already.
        """
        more = {int(unit): reason for unit in units}
        other = copy.copy(self)
        other.__dict__.pop("prunable", None)
        other._units = dataclasses.replace(
            self._units, frozen={**more, **self._units.frozen}
        )
        other.groups = _groups(other)
        return other

    @functools.cached_property
    def prunable(self) -> list[ChannelGroup]:
        return [group for group in self.groups if not group.frozen]

    @property
    def left_whole(self) -> list[tuple[str, str]]:
        """`(layer, reason)` for every operation that no rule understands."""
        return [(node.name, why) for node, why in self.scope.left_whole]

    @property
    def probed(self) -> list[tuple[str, str]]:
        """`(layer, pattern)` for every operation that was tried out."""
        return [(node.name, pattern) for node, pattern in self.scope.probed]

    def units(self, vector: np.ndarray) -> np.ndarray:
        """The unit of each entry of a label vector; -1 is fixed."""
        return self._units.of_label[vector]

    @functools.cached_property
    def weight_units(self) -> dict[tuple[int, int], np.ndarray]:
        """Units along each weight axis that carries any."""
        return {
            key: self.units(vector)
            for key, vector in self.scope.weights.items()
            if vector is not None
        }

    def rule(self, node: Node) -> Rule | None:
        """The rule that treats a node; None if the node is left whole."""
        return None if id(node) in self.scope.whole else rule_for(node.kinds)

    @functools.cached_property
    def multiply_adds(self) -> list[list[Product] | None]:
        """The work of every node for one sample; None where nobody knows."""
        return [self._work(node) for node in self.graph.nodes]

    def _work(self, node) -> list[Product] | None:
        rule = self.rule(node)
        if rule is not None:
            return rule.multiply_adds(node, self.graph)
        work = None
        rule = rule_for(node.kinds)
        if rule is not None:
            work = rule.multiply_adds_if_whole(node, self.graph)
        if work is None and not may_contract(node):
            return []
        return work

    def mask_units(self, node: Node) -> dict[tuple[str, int], np.ndarray]:
        """Units along each axis that a mask of this node can lie on.

        Keys are `(weight name, axis)`, and `(INPUT, axis)` for the input axes
        that a masked form looks at.
        """
        found = {}
        for weight in node.weights:
            for axis in range(len(weight.shape)):
                units = self.weight_units.get((weight.key, axis))
                if units is not None:
                    found[weight.name, axis] = units
        watched = self.scope.watched.get(id(node.operation))
        if watched is not None:
            for axis, vector in watched.axes.items():
                found[INPUT, axis] = self.units(vector)
        return found

    def form(self, node: Node) -> str | None:
        """The masked form that the node needs, if any."""
        watched = self.scope.watched.get(id(node.operation))
        return None if watched is None else watched.form

    def unit_reason(self, unit: int) -> str:
        """Why a unit is frozen; empty if it is not."""
        return self._units.frozen.get(unit, "")

    def kept(self, alive: np.ndarray) -> Kept:
        """Answers about a plan.

        Args:
            alive: Boolean, one per unit.
        """
        # The last entry answers for unit -1: fixed positions stay.
        table = np.append(alive, True)
        return Kept(self.scope, lambda vector: table[self.units(vector)])


def _groups(channels: Channels) -> list[ChannelGroup]:
    signature = _signatures(channels)
    makers, positions, layered = _makers(channels)
    tried = _tried(channels)
    buckets: dict[tuple, list[int]] = {}
    for unit in range(channels.unit_count):
        if not signature[unit] and unit not in layered:
            continue  # positions of a constant that no weight meets
        reason = channels.unit_reason(unit)
        if not reason and not signature[unit]:
            reason = "no weight makes or uses it"
        key = (signature[unit], tuple(makers[unit]), reason)
        buckets.setdefault(key, []).append(unit)
    least = _least(channels)
    never = _never(channels, buckets, least)
    counts: dict[str, int] = {}
    for key in buckets:
        first = key[1][0] if key[1] else "unnamed"
        counts[first] = counts.get(first, 0) + 1
    groups = []
    seen: dict[str, int] = {}
    for (_, made_by, reason), units in buckets.items():
        name = first = made_by[0] if made_by else "unnamed"
        if counts[first] > 1:
            name = f"{first}[{_span(positions, first, units)}]"
            # Two axes of one weight may have the same positions.
            seen[name] = seen.get(name, 0) + 1
            if seen[name] > 1:
                name = f"{name}#{seen[name]}"
        layers = dict.fromkeys(maker.partition(":")[0] for maker in made_by)
        groups.append(
            ChannelGroup(
                name,
                tuple(layers),
                len(units),
                bool(reason),
                reason,
                np.array(units),
                tuple(n for n, on in tried if not on.isdisjoint(units)),
                int(least[units].max()),
                frozenset(never.get(units[0], ())),
            )
        )
    return groups


def _tried(channels: Channels) -> list[tuple[str, set[int]]]:
    """Names of the nodes that were tried out, and the units in them."""
    return [
        (
            node.name,
            {
                unit
                for number in (*node.inputs, *node.outputs)
                for vector in channels.scope.tensors[number].axes.values()
                for unit in channels.units(vector).tolist()
            },
        )
        for node, _ in channels.scope.probed
    ]


def _least(channels: Channels) -> np.ndarray:
    """Per unit, how many of its kind a layer needs."""
    least = np.ones(channels.unit_count + 1, int)
    for vector, count in channels.scope.least:
        units = channels.units(vector)
        least[units] = np.maximum(least[units], count)
    return least[:-1]


def _never(channels: Channels, buckets, least) -> dict[int, set[int]]:
    """Per first unit of a group, the counts of it that no layer may meet.

    Where several groups share an axis, no count of one tells how much stays:
    they stay whole, by `least`.
    """
    never: dict[int, set[int]] = {}
    free = {key: units for key, units in buckets.items() if not key[-1]}
    for vector, count in channels.scope.avoided:
        on_axis = channels.units(vector)
        found = [u for u in free.values() if np.isin(u, on_axis).any()]
        if len(found) > 1:
            for units in found:
                least[units] = len(units)
        for units in found:
            own = int(np.isin(on_axis, units).sum())
            times = own // len(units)
            rest, beside = divmod(count - (vector.size - own), times)
            if not beside and rest > 0:
                never.setdefault(units[0], set()).add(rest)
    return never


def _signatures(channels: Channels) -> list[int]:
    """A number per unit, equal for units that lie on the same axes alike."""
    rng = np.random.default_rng(0)
    total = np.zeros(channels.unit_count + 1, np.uint64)

    def add(units):
        weight = rng.integers(1, 2**63, dtype=np.uint64)
        counts = np.bincount(units + 1, minlength=1).astype(np.uint64)
        total[: counts.size] += counts * weight

    for units in channels.weight_units.values():
        add(units)
    weighted = total.copy()
    for labels in channels.scope.tensors.values():
        for vector in labels.axes.values():
            add(channels.units(vector))
    return np.where(weighted == 0, 0, total)[1:].tolist()


def _makers(channels: Channels):
    """What makes each unit, and where its first channel stands.

    A maker is a layer, or one of the kinds of channels that it makes:
    `attention:heads`. Where no layer makes a unit, it is a variable, and at
    last a constant. Also gives the units that are more than constants.
    """
    makers: list[list[str]] = [[] for _ in range(channels.unit_count)]
    positions: dict[tuple[str, int], int] = {}

    def add(producers):
        left = {unit for unit, names in enumerate(makers) if not names}
        for vector, node, role in producers:
            maker = f"{node.name}:{role}" if role else node.name
            units = channels.units(vector)
            for position, unit in enumerate(units.tolist()):
                if unit not in left:
                    continue
                if not makers[unit] or makers[unit][-1] != maker:
                    makers[unit].append(maker)
                positions.setdefault((maker, unit), position)

    producers = channels.scope.producers
    variables = [p for p in producers if p[1].kind == VARIABLE]
    add([p for p in producers if p[1].kind != VARIABLE])
    # Kernels before scales and biases.
    add([p for p in variables if len(p[1].weights[0].shape) > 1])
    add(variables)
    layered = {unit for unit, names in enumerate(makers) if names}
    add([(vector, node, "") for vector, node in channels.scope.fillers])
    return makers, positions, layered


def _span(positions, layer: str, units) -> str:
    """`0:16` for a run of channels, the first ones for others."""
    where = sorted(positions[layer, unit] for unit in units)
    if where[-1] - where[0] == len(where) - 1:
        return f"{where[0]}:{where[-1] + 1}"
    return ",".join(map(str, where[:3])) + (",..." if len(where) > 3 else "")
