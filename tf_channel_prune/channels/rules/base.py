"""What a rule is, and where rules are found."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from tf_channel_prune.channels.scope import Scope
from tf_channel_prune.graph.structure import Graph
from tf_channel_prune.graph.structure import Node

_RULES: dict[str, Rule] = {}


@dataclasses.dataclass(frozen=True)
class Product:
    """`factor` times the sizes of some axes: one term of a node's work.

    `axes` holds `("tensor", number, axis)` and `("weight", key, axis)`; each
    stands for the number of positions that stay along that axis.
    """

    factor: float
    axes: tuple[tuple[str, int, int], ...]


@dataclasses.dataclass
class Change:
    """What a slim node has different from the node it came from.

    Attributes:
        config: Constructor arguments that change.
        args, kwargs: The whole call arguments, or None to leave them.
        scale: Factors by weight name, applied after slicing, where the
            operation itself scales by a size that changes.
        take: `(axis, indices)`: the operation is replaced by picking these
            positions of its first input.
    """

    config: dict[str, Any] = dataclasses.field(default_factory=dict)
    args: tuple | None = None
    kwargs: dict[str, Any] | None = None
    take: list[tuple[int, np.ndarray]] | None = None
    scale: dict[str, float] = dataclasses.field(default_factory=dict)


class Kept:
    """Which positions stay: answers in counts and in boolean vectors."""

    def __init__(self, scope: Scope, of_labels: Callable):
        self.scope = scope
        self._of_labels = of_labels

    def vector(self, vector) -> np.ndarray | None:
        """True where a position of a label vector stays (None: all do)."""
        return None if vector is None else self._of_labels(vector)

    def tensor(self, number: int, axis: int) -> np.ndarray | None:
        return self.vector(self.scope.tensors[number].axis(axis))

    def weight(self, node: Node, name: str, axis: int) -> int:
        """How many positions of a weight's axis stay."""
        weight = node.weight(name)
        axis %= len(weight.shape)
        vector = self.scope.weights.get((weight.key, axis))
        if vector is None:
            return weight.shape[axis]
        return int(self.vector(vector).sum())

    def size(self, number: int, axis: int) -> int | None:
        """How many positions of a tensor's axis stay."""
        labels = self.scope.tensors[number]
        stays = self.tensor(number, axis)
        if stays is None:
            return labels.shape[axis % len(labels.shape)]
        return int(stays.sum())

    def shape(self, number: int) -> tuple[int | None, ...]:
        rank = len(self.scope.tensors[number].shape)
        return tuple(self.size(number, axis) for axis in range(rank))


class Rule:
    """How one family of operations treats channels.

    A rule has no state: one object serves every node.
    """

    def label(self, node: Node, scope: Scope) -> None:
        """Sets the labels of the node's outputs and of its weights' axes."""
        raise NotImplementedError

    def slim(self, node: Node, kept: Kept) -> Change:
        """What changes in the node when only `kept` stays."""
        return Change()

    def multiply_adds(self, node: Node, graph: Graph) -> list[Product]:
        """The multiply-adds of one sample, as products of axis sizes."""
        return []

    def multiply_adds_if_whole(
        self, node: Node, graph: Graph
    ) -> list[Product] | None:
        """The same for a node that `label` left whole; None if not known."""
        never = type(self).multiply_adds is Rule.multiply_adds
        return [] if never else None


def register(*kinds: str):
    """Class decorator: the rule serves these kinds."""

    def add(rule: type[Rule]) -> type[Rule]:
        for kind in kinds:
            _RULES[kind] = rule()
        return rule

    return add


def rule_for(kinds: tuple[str, ...]) -> Rule | None:
    """The rule of the most specific kind that has one."""
    for kind in kinds:
        if kind in _RULES:
            return _RULES[kind]
    return None


def sizes(kind: str, number: int, axes) -> tuple[tuple[str, int, int], ...]:
    """Axis references for a `Product`."""
    return tuple((kind, number, axis) for axis in axes)
