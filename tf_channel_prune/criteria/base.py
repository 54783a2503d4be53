"""What a criterion is."""

from __future__ import annotations

import numpy as np

from tf_channel_prune.channels import Channels
from tf_channel_prune.errors import PruningError

_CRITERIA: dict[str, type] = {}

# Running statistics describe the data, not the channel's weight in the model.
STATISTICS = ("moving_mean", "moving_variance")


class Criterion:
    """Scores units; larger matters more.

    A subclass overrides `elements` (a non-negative number per weight entry,
    summed over the slices of a unit), or `score` for anything else.
    """

    name = ""

    def __init_subclass__(cls):
        if cls.name:
            _CRITERIA[cls.name] = cls

    def elements(self, array: np.ndarray) -> np.ndarray:
        """The share of every weight entry, in the array's shape."""
        raise NotImplementedError

    def score(self, channels: Channels) -> np.ndarray:
        """One number per unit, shape (units,)."""
        total = np.zeros(channels.unit_count + 1)
        by_weight: dict[int, list] = {}
        for (key, axis), units in channels.weight_units.items():
            by_weight.setdefault(key, []).append((axis, units))
        weights = channels.graph.weights
        for key, axes in by_weight.items():
            weight = weights[key]
            if weight.name.rsplit("/", 1)[-1] in STATISTICS:
                continue
            shares = self.elements(weight.array)
            for axis, sums in _axis_sums(shares, [a for a, _ in axes]):
                units = dict(axes)[axis]
                total += np.bincount(
                    units + 1, sums, minlength=channels.unit_count + 1
                )
        return total[1:]


def _axis_sums(array, axes):
    """`(axis, sums over all other axes)`, folding shared axes only once."""
    others = tuple(a for a in range(array.ndim) if a not in axes)
    folded = array.sum(axis=others, dtype=np.float64) if others else array
    axes = sorted(axes)
    for position, axis in enumerate(axes):
        rest = tuple(p for p in range(len(axes)) if p != position)
        yield axis, folded.sum(axis=rest, dtype=np.float64)


def get(criterion) -> Criterion:
    """A criterion from its name, a criterion object, or a function.

    A function takes `Channels` and gives one score per unit.

    Raises:
        PruningError: If there is no criterion of that name.
    """
    if isinstance(criterion, Criterion):
        return criterion
    if isinstance(criterion, str):
        if criterion not in _CRITERIA:
            raise PruningError(
                f"No criterion {criterion!r}; there are "
                + ", ".join(sorted(_CRITERIA))
                + "."
            )
        return _CRITERIA[criterion]()
    if callable(criterion):
        made = Criterion()
        made.score = criterion
        made.name = getattr(criterion, "__name__", "function")
        return made
    raise PruningError(f"Not a criterion: {criterion!r}.")


def normalised(channels: Channels, scores: np.ndarray) -> np.ndarray:
    """Scores divided by their group's mean, so that groups compare.

    The mean normalisation of DepGraph (Fang et al., CVPR 2023, section 3.4).
    """
    result = np.array(scores, np.float64)
    for group in channels.prunable:
        mean = result[group.units].mean()
        if mean > 0:
            result[group.units] /= mean
    return result
