"""The weight slices that belong to a unit, and how they are folded.

A *slice* is what one weight holds of a unit on one axis: filter 3 of a
convolution's kernel (axis -1), input channel 3 of the next one's (axis -2),
entry 3 of a BatchNormalization's gamma, 64 rows of a dense kernel behind a
Flatten. All units of a group have the same slices, of the same shapes.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from tf_channel_prune.channels import ChannelGroup
from tf_channel_prune.channels import Channels
from tf_channel_prune.graph.structure import Weight


@dataclasses.dataclass(frozen=True)
class Slices:
    """The slices of a whole group in one weight, on one axis.

    Attributes:
        weight: The weight.
        axis: The axis, from 0.
        positions: Where each unit's slice lies on the axis, shape
            (group size, positions a unit).
    """

    weight: Weight
    axis: int
    positions: np.ndarray

    def rows(self, array: np.ndarray) -> np.ndarray:
        """The entries of each unit's slice, shape (group size, entries)."""
        moved = np.moveaxis(np.asarray(array), self.axis, 0)
        return moved[self.positions].reshape(len(self.positions), -1)


def coupled(channels: Channels) -> list[tuple[ChannelGroup, list[Slices]]]:
    """The slices of every prunable group, in graph order."""
    index = np.full(channels.unit_count + 1, -1)
    place = np.full(channels.unit_count + 1, -1)
    found: list[tuple[ChannelGroup, list[Slices]]] = []
    for g, group in enumerate(channels.prunable):
        index[group.units] = g
        place[group.units] = np.arange(group.size)
        found.append((group, []))
    weights = channels.graph.weights
    for (key, axis), units in channels.weight_units.items():
        groups = index[units]
        for g in np.unique(groups[groups >= 0]).tolist():
            here = np.flatnonzero(groups == g)
            here = here[np.argsort(place[units[here]], kind="stable")]
            positions = here.reshape(channels.prunable[g].size, -1)
            found[g][1].append(Slices(weights[key], axis, positions))
    return found


class Sums:
    """Sums of a non-negative share per weight entry over slices.

    Every weight is read once, and folded to its prunable axes at once.
    """

    def __init__(self, channels: Channels, elements):
        self.channels = channels
        self.elements = elements
        self._axes: dict[int, list[int]] = {}
        for key, axis in channels.weight_units:
            self._axes.setdefault(key, []).append(axis)
        self._sums: dict[tuple[int, int], np.ndarray] = {}

    def __call__(self, slices: Slices) -> np.ndarray:
        """One sum per unit of the group."""
        key = slices.weight.key
        if (key, slices.axis) not in self._sums:
            array = slices.weight.array
            shares = self.elements(array)
            for axis, sums in axis_sums(shares, self._axes[key]):
                self._sums[key, axis] = sums
        return self._sums[key, slices.axis][slices.positions].sum(axis=1)


def axis_sums(array, axes):
    """`(axis, sums over all other axes)`, folding shared axes only once."""
    others = tuple(a for a in range(array.ndim) if a not in axes)
    folded = array.sum(axis=others, dtype=np.float64) if others else array
    axes = sorted(axes)
    for position, axis in enumerate(axes):
        rest = tuple(p for p in range(len(axes)) if p != position)
        yield axis, folded.sum(axis=rest, dtype=np.float64)


REDUCTIONS = {
    "sum": lambda values: np.sum(values, axis=0),
    "mean": lambda values: np.mean(values, axis=0),
    "max": lambda values: np.max(values, axis=0),
}

NORMALISATIONS = {
    "none": lambda scores: 1.0,
    "mean": lambda scores: scores.mean(),
    "max": lambda scores: scores.max(),
    "sum": lambda scores: scores.sum(),
    "l2": lambda scores: float(np.sqrt(np.square(scores).sum())),
}
