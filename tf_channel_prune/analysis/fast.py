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
import itertools
from collections.abc import Callable
from collections.abc import Sequence

import numpy as np

from tf_channel_prune.analysis.run import BASELINE
from tf_channel_prune.analysis.run import Results
from tf_channel_prune.analysis.run import sizes_of
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
        share: The share of the data that points were scored on.
        evaluations: The work, in evaluations of the model on all data.
    """

    points: int
    grid: int
    share: float = 1.0
    evaluations: float = 0.0

    def __str__(self) -> str:
        return (
            f"{self.points} of {self.grid} points on {self.share:.0%} of the "
            f"data, the work of {self.evaluations:.1f} full evaluations"
        )


class InMemory:
    """Results that are not kept."""

    def __init__(self):
        self.known: dict[tuple[str, int], float] = {}

    def add(self, group: str, removed: int, score: float) -> None:
        self.known[group, removed] = score


def analyse_fast(
    channels: Channels,
    outcomes: Outcomes,
    results: Results,
    ratios: Sequence[float],
    tolerance: float = 0.35,
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
            score falls by less than this share of the typical fall of a
            whole curve, or by less than twice its standard error. Defaults
            to 0.35.
        on_group: Called with each group twice: when its first points are
            scored, and when all are.
    """
    known = results.known
    base: dict[int, np.ndarray] = {}
    if (BASELINE, 0) not in known:
        base[-1] = outcomes(None, [0])[0]
        results.add(BASELINE, 0, float(base[-1].mean()))
    curves = [
        _Curve(group, _grid(group.size, ratios), known, dict(base))
        for group in channels.prunable
    ]

    def score(curve, todo):
        counts = [curve.at[i] for i in todo]
        for i, row in zip(todo, outcomes(curve.group, counts)):
            results.add(curve.group.name, curve.at[i], float(row.mean()))
            curve.rows[i] = row

    for curve in curves:
        if todo := curve.first():
            score(curve, todo)
        on_group(curve.group)
    falls = [fall for curve in curves if (fall := curve.whole()) > 0]
    scale = float(np.median(falls)) if falls else 0.0
    for curve in curves:
        while todo := curve.halves(scale, tolerance):
            score(curve, todo)
        on_group(curve.group)
    points = sum(len(curve.scored()) for curve in curves)
    grid = sum(len(curve.at) for curve in curves)
    return curves_of(sizes_of(channels), known), Effort(points + 1, grid + 1)


def curves_of(sizes: dict[str, int], known) -> Sensitivity:
    """The curves through all points that are known.

    Args:
        sizes: How many channels each group has.
        known: Scores by group name and removed count.
    """
    curves: dict[str, dict[float, float]] = {}
    for group, size in sizes.items():
        removed = sorted(n for name, n in known if name == group and n)
        curves[group] = {n / size: known[group, n] for n in removed}
    return Sensitivity(known[BASELINE, 0], curves, sizes)


def _grid(size: int, ratios) -> list[int]:
    """Removed counts, ascending; what rounds to nothing is left out."""
    counts = dict.fromkeys(removed_at(size, ratio) for ratio in ratios)
    return [count for count in counts if count]


class _Curve:
    """Which points of one group's curve are still needed.

    Args:
        group: The group.
        at: The removed counts that may be scored.
        known: Scores by group name and removed count.
        rows: Scores of single samples by point, as far as they were seen;
            point -1 is the whole model.
    """

    def __init__(self, group, at, known, rows):
        self.group = group
        self.at = at
        self.known = known
        self.rows = rows

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

    def whole(self) -> float:
        """How far the score falls up to the last point."""
        return self.score(-1) - self.score(len(self.at) - 1) if self.at else 0.0

    def first(self) -> list[int]:
        """The points that every curve needs: at quarters."""
        last = len(self.at) - 1
        quarters = dict.fromkeys(round(last * i / 4) for i in range(1, 5))
        return [i for i in quarters if i >= 0 and i not in self.scored()]

    def halves(self, scale: float, tolerance: float) -> list[int]:
        """Points between scored ones, where the score still falls.

        What lies behind a fall that no plan would choose is left alone.
        """
        points = [-1, *self.scored()]
        middle = []
        for low, high in itertools.pairwise(points):
            fall = self.score(low) - self.score(high)
            enough = max(tolerance * scale, self._noise(low, high))
            near = self.score(-1) - self.score(low) < 2 * scale
            if high - low > 1 and near and fall > enough:
                middle.append((low + high) // 2)
        return middle

    def _noise(self, low, high) -> float:
        """Twice the standard error of the difference of two points."""
        if low not in self.rows or high not in self.rows:
            return 0.0
        gaps = self.rows[low] - self.rows[high]
        return 2 * float(gaps.std() / np.sqrt(gaps.size))
