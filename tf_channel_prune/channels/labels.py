"""Labels: which channel each position of each axis belongs to.

Plain NumPy; see README.md in this folder for the idea.
"""

from __future__ import annotations

import dataclasses

import numpy as np

FIXED = 0


@dataclasses.dataclass(frozen=True)
class Labels:
    """The labels of one tensor.

    Attributes:
        shape: The tensor's shape, batch axis included; `None` is unknown.
        axes: For each axis that carries labels, a vector of the axis' size.
        zero: Whether a masked channel is exactly zero in this tensor.
        origin: For a tensor without labels: where it comes from, for people.
        fill: What a masked channel holds everywhere in this tensor, where it
            is not zero and known: 1.0 after `x + 1`.
    """

    shape: tuple[int | None, ...]
    axes: dict[int, np.ndarray] = dataclasses.field(default_factory=dict)
    zero: bool = True
    origin: str = ""
    fill: float | None = None

    @property
    def dead(self) -> float | None:
        """What a masked channel holds in this tensor; None is unknown."""
        return 0.0 if self.zero else self.fill

    def axis(self, axis: int) -> np.ndarray | None:
        """The vector of an axis (negative counts from the end), or None."""
        return self.axes.get(axis % len(self.shape))

    def without(self, *axes: int) -> dict[int, np.ndarray]:
        """The vectors of all other axes."""
        gone = {axis % len(self.shape) for axis in axes}
        return {a: v for a, v in self.axes.items() if a not in gone}


class LabelSpace:
    """Hands out labels and remembers which are united and which frozen."""

    def __init__(self):
        self.count = 1  # label 0 is FIXED
        self._edges: list[tuple[np.ndarray, np.ndarray]] = []
        self._frozen: list[tuple[np.ndarray, str]] = []

    def fresh(self, size: int) -> np.ndarray:
        """`size` new labels."""
        vector = np.arange(self.count, self.count + size)
        self.count += size
        return vector

    def unite(self, first, second, reason: str) -> None:
        """Labels at the same positions live and die together.

        `None`, or a `FIXED` entry, on one side freezes the other side.
        """
        if first is None or second is None:
            both = first if second is None else second
            if both is not None:
                self.freeze(both, reason)
            return
        if first is second:
            return
        one, other = first == FIXED, second == FIXED
        if one.any() or other.any():
            self.freeze(first[other], reason)
            self.freeze(second[one], reason)
            free = ~(one | other)
            first, second = first[free], second[free]
        if first.size:
            self._edges.append((first, second))

    def unite_all(self, labels: np.ndarray, reason: str) -> None:
        """All labels in one vector live and die together."""
        if labels.size > 1:
            self.unite(labels[:-1], labels[1:], reason)

    def freeze(self, labels, reason: str) -> None:
        """These labels can never be removed."""
        if labels is None:
            return
        labels = np.unique(labels[labels != FIXED])
        if labels.size:
            self._frozen.append((labels, reason))

    def solve(self) -> Units:
        """The classes of united labels."""
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        if self._edges:
            first = np.concatenate([a for a, _ in self._edges])
            second = np.concatenate([b for _, b in self._edges])
        else:
            first = second = np.zeros(0, int)
        matrix = coo_array(
            (np.ones(first.size, bool), (first, second)),
            shape=(self.count, self.count),
        )
        number, classes = connected_components(matrix, directed=False)
        # Name each class by its first label, so that units are numbered in
        # the order in which their channels were first made.
        order = np.full(number, self.count)
        np.minimum.at(order, classes, np.arange(self.count))
        rank = np.empty(number, int)
        rank[np.argsort(order)] = np.arange(number)
        unit_of = rank[classes] - 1  # label 0 is the first class: unit -1
        reasons: dict[int, str] = {}
        for labels, reason in self._frozen:
            for unit in np.unique(unit_of[labels]).tolist():
                reasons.setdefault(unit, reason)
        return Units(unit_of, number - 1, reasons)


@dataclasses.dataclass(frozen=True)
class Units:
    """Classes of labels. Unit -1 is everything fixed.

    Attributes:
        of_label: The unit of each label.
        count: The number of units.
        frozen: Reason per frozen unit.
    """

    of_label: np.ndarray
    count: int
    frozen: dict[int, str]
