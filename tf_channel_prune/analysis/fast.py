"""An analysis that evaluates only what decides: same curves, less work.

Three savings, each exact or bounded:

- what stands before a group in the graph is run once for all its ratios (the
  `outcomes` function that is given does that);
- a curve that must not rise is known between two points that are close, so
  ratios are halved only where the score still moves (`tolerance`);
- points are scored on a random part of the data, and compared with the
  baseline sample by sample, which takes most of the noise out of a difference.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from collections.abc import Sequence

import numpy as np

from tf_channel_prune.analysis.run import BASELINE
from tf_channel_prune.analysis.run import Results
from tf_channel_prune.analysis.sensitivity import Sensitivity
from tf_channel_prune.analysis.sensitivity import removed_at
from tf_channel_prune.channels import ChannelGroup
from tf_channel_prune.channels import Channels

# Scores of one group with so many of its worst units removed, a row each.
Outcomes = Callable[[ChannelGroup | None, Sequence[int]], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Effort:
    """What an analysis took.

    Attributes:
        points: How many points of curves were scored.
        grid: How many points a full analysis scores.
        samples: How many samples each was scored on.
    """

    points: int
    grid: int
    samples: int


def analyse_fast(
    channels: Channels,
    outcomes: Outcomes,
    results: Results,
    ratios: Sequence[float],
    tolerance: float = 0.1,
    on_group: Callable[[ChannelGroup], None] = lambda group: None,
) -> tuple[Sensitivity, Effort]:
    """Scores every group at the ratios that its curve needs.

    Args:
        channels: The labels of the model.
        outcomes: Gives scores, shape (counts, samples), for a group with so
            many of its worst units removed; the baseline's for None.
        results: Known results; every new one is added at once.
        ratios: The ratios that may be scored, ascending.
        tolerance: Between two scored points others are left out when the
            score falls by less than this share of the fall of the whole
            curve, or by less than twice its standard error. Defaults to 0.1.
        on_group: Called after each group.
    """
    known = results.known
    if (BASELINE, 0) not in known:
        results.add(BASELINE, 0, float(outcomes(None, [0])[0].mean()))
    points = grid = samples = 0
    curves: dict[str, dict[float, float]] = {}
    for group in channels.prunable:
        at = _grid(group.size, ratios)
        curve = _Curve(group, at, known, tolerance)
        while todo := curve.todo():
            scores = outcomes(group, [at[i] for i in todo])
            samples = scores.shape[1]
            for i, row in zip(todo, scores):
                results.add(group.name, at[i], float(row.mean()))
                curve.rows[i] = row
        points += len(curve.scored())
        grid += len(at)
        curves[group.name] = {
            at[i] / group.size: known[group.name, at[i]]
            for i in curve.scored()
        }
        on_group(group)
    sizes = {group.name: group.size for group in channels.prunable}
    sensitivity = Sensitivity(known[BASELINE, 0], curves, sizes)
    return sensitivity, Effort(points + 1, grid + 1, samples)


def _grid(size: int, ratios) -> list[int]:
    """Removed counts, ascending; what rounds to nothing is left out."""
    counts = dict.fromkeys(removed_at(size, ratio) for ratio in ratios)
    return [count for count in counts if count]


class _Curve:
    """Which points of one group's curve are still needed."""

    def __init__(self, group, at, known, tolerance):
        self.group = group
        self.at = at
        self.known = known
        self.tolerance = tolerance
        self.rows: dict[int, np.ndarray] = {}

    def score(self, i: int) -> float:
        if i < 0:
            return self.known[BASELINE, 0]
        return self.known[self.group.name, self.at[i]]

    def scored(self) -> list[int]:
        return [
            i
            for i, count in enumerate(self.at)
            if (self.group.name, count) in self.known
        ]

    def todo(self) -> list[int]:
        """The next points to score; none when the curve is known."""
        if not self.at:
            return []
        last = len(self.at) - 1
        first = [i for i in (last // 2, last) if i not in self.scored()]
        if first:
            return first
        points = [-1, *self.scored()]
        whole = max(self.score(-1) - self.score(last), 0.0)
        middle = []
        for low, high in zip(points, points[1:]):
            fall = self.score(low) - self.score(high)
            open_ = fall > max(self.tolerance * whole, self._noise(low, high))
            if high - low > 1 and open_:
                middle.append((low + high) // 2)
        return middle

    def _noise(self, low, high) -> float:
        """Twice the standard error of the difference of two points."""
        if low not in self.rows or high not in self.rows:
            return 0.0
        gaps = self.rows[low] - self.rows[high]
        return 2 * float(gaps.std() / np.sqrt(gaps.size))
