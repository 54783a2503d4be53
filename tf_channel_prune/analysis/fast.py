"""An analysis that evaluates only what decides: same curves, less work.

Two savings, one exact and one bounded:

- what stands before a group in the graph is run once for all its ratios (the
  `outcomes` function that is given does that);
- most curves are smooth: three points, a third of the grid apart, are as good
  as nine, and there is another one only where straight lines through them
  disagree about what is between (`tolerance`). What a criterion expects to be
  lost between them (`expected`) costs no evaluation, and is taken as the shape
  of the curve there.

All of the data are looked at, so that points are as exact as those of the full
analysis. Twice the points on half of the data would take the same time and lead
to plans that vary more: the noise of a point goes into the plan, while what is
between two points is guessed well.
"""

from __future__ import annotations

import dataclasses
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
    tolerance: float = 1.5,
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
            curve there is known to this share of the typical fall of a whole
            curve. Defaults to 1.5.
        on_group: Called with each group twice: when its first points are
            scored, and when all are.
    """
    known = results.known
    if (BASELINE, 0) not in known:
        results.add(BASELINE, 0, float(outcomes(None, [0]).mean()))
    curves = [
        _Curve(group, _grid(group.size, ratios), known)
        for group in channels.prunable
    ]

    def score(curve, todo):
        counts = [curve.at[i] for i in todo]
        for count, row in zip(counts, outcomes(curve.group, counts)):
            results.add(curve.group.name, count, float(row.mean()))

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
    """

    def __init__(self, group, at, known):
        self.group = group
        self.at = at
        self.known = known

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
        """The points that every curve needs: at each third of the grid."""
        thirds = (len(self.at) * k // 3 - 1 for k in (1, 2, 3))
        return [
            i
            for i in dict.fromkeys(thirds)
            if i >= 0 and i not in self.scored()
        ]

    def halves(self, scale: float, tolerance: float) -> list[int]:
        """Points between scored ones, where the curve is not known enough.

        What lies behind a fall that no plan would choose is left alone.
        """
        points = [-1, *self.scored()]
        shares = [self.at[i] / self.group.size if i >= 0 else 0 for i in points]
        falls = np.maximum.accumulate(
            [max(self.score(-1) - self.score(i), 0.0) for i in points]
        )
        middle = []
        for k, gap in enumerate(_gaps(shares, falls)):
            low, high = points[k], points[k + 1]
            near = falls[k] < 2 * scale
            if high - low > 1 and near and gap > tolerance * scale:
                middle.append((low + high) // 2)
        return middle


def _gaps(shares, falls) -> list[float]:
    """How far a rising curve may be from straight lines between its points.

    Where it bends one way, it lies between the line of an interval and those
    of its neighbours, continued; they are compared in the middle, within what
    the ends of the interval allow (Rote, Computing 48, 1992, does so for
    convex curves).

    Args:
        shares: Where the points are, ascending.
        falls: Their heights, not descending.

    Returns:
        One number an interval.
    """
    slopes = np.diff(falls) / np.diff(shares)
    gaps = []
    for k in range(len(slopes)):
        centre = (shares[k] + shares[k + 1]) / 2
        own = (falls[k] + falls[k + 1]) / 2
        others = [
            falls[n] + slopes[n] * (centre - shares[n])
            for n in (k - 1, k + 1)
            if 0 <= n < len(slopes)
        ]
        within = np.clip(others, falls[k], falls[k + 1])
        gaps.append(float(np.abs(within - own).max(initial=0.0)))
    return gaps
