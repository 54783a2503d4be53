"""Finds the smallest cut that is at least the request."""

from __future__ import annotations

import numbers
from collections.abc import Callable

import numpy as np

from tf_channel_prune.channels import ChannelGroup
from tf_channel_prune.channels import Channels
from tf_channel_prune.cost import CostTable
from tf_channel_prune.cost import check_metric
from tf_channel_prune.errors import PruningError
from tf_channel_prune.errors import TargetError
from tf_channel_prune.planning.limits import Limits

# The price of keeping no more than each of some counts of a group.
Prices = Callable[[ChannelGroup, np.ndarray], np.ndarray]


def check_target(ratio: float, of: str) -> None:
    """Raises unless the request makes sense."""
    check_metric(of)
    if not isinstance(ratio, numbers.Real) or not 0 < ratio < 1:
        raise PruningError(
            "ratio is the share of the cost to remove, between 0 and 1; got "
            f"{ratio!r}."
        )


def check_threshold(threshold: float) -> None:
    """Raises unless the request makes sense."""
    if not isinstance(threshold, numbers.Real) or not threshold >= 0:
        raise PruningError(
            "threshold is the loss of score that each group may cause, 0 or "
            f"more; got {threshold!r}."
        )


def plan_for_ratio(
    channels: Channels,
    scores: np.ndarray,
    ratio: float,
    of: str = "flops",
    limits: Limits | None = None,
    table: CostTable | None = None,
    alive: np.ndarray | None = None,
    prices: Prices | None = None,
) -> np.ndarray:
    """Which units stay so that at least `ratio` of the cost is gone.

    Args:
        channels: The labels of the dense graph.
        scores: Per unit; comparable across groups; larger stays longer.
        ratio: Share of the dense model's cost to remove.
        of: `flops`, `params` or `activation_memory`.
        limits: What holds for every group.
        table: The graph's cost table, if there is one already.
        alive: Units that are still there. Defaults to all.
        prices: What it costs to keep fewer of a group. Defaults to the
            score of the best unit that goes.

    Returns:
        Boolean per unit.

    Raises:
        TargetError: If no allowed plan removes that much.
    """
    check_target(ratio, of)
    limits = limits or Limits()
    table = table or CostTable(channels)
    ranking = Ranking(channels, scores, limits, alive, prices)
    full = table.total(table.sizes, of)
    budget = full * (1 - ratio) + 1e-6
    counts = shortest_prefix(ranking, table, of, budget)
    if counts is None:
        least = 1 - table.total(ranking.counts(len(ranking)), of) / full
        raise TargetError(
            f"ratio={ratio:g} of {of} cannot be reached: with these limits at "
            f"most {least:.4f} can be removed (reachable: 0 to {least:.4f}). "
            "Lower the ratio, or relax min_channels, max_ratio, divisor or "
            "exclude."
        )
    counts = put_back(ranking, table, of, budget, counts)
    return ranking.alive(counts)


def plan_for_threshold(
    channels: Channels,
    scores: np.ndarray,
    threshold: float,
    prices: Prices,
    limits: Limits | None = None,
    alive: np.ndarray | None = None,
) -> np.ndarray:
    """Which units stay if each group alone may cost up to `threshold`.

    Args:
        channels: The labels of the dense graph.
        scores: Per unit; larger stays longer.
        threshold: The largest allowed price of any group.
        prices: What it costs to keep fewer of a group.
        limits: What holds for every group.
        alive: Units that are still there. Defaults to all.

    Returns:
        Boolean per unit.

    Raises:
        PruningError: If the threshold is not a number from 0 up.
    """
    check_threshold(threshold)
    ranking = Ranking(channels, scores, limits or Limits(), alive, prices)
    return ranking.alive(ranking.counts_at(threshold))


class Ranking:
    """All rungs of all groups' ladders, in the order of going down.

    Within a group rungs follow each other. Ties go by the share of the group
    that is left, so that equal prices are paid by all groups alike, then by
    group, so that the order is the same in every process.

    Args:
        channels: The labels of the dense graph.
        scores: Per unit; larger stays longer.
        limits: What holds for every group.
        alive: Units that are still there. Defaults to all.
        prices: Function of a group and an array of kept counts that gives
            the price of keeping no more than that. Defaults to the score of
            the best unit that goes.
    """

    def __init__(self, channels, scores, limits, alive=None, prices=None):
        self.groups = channels.prunable
        self.unit_count = channels.unit_count
        if alive is None:
            alive = np.ones(channels.unit_count, bool)
        if not np.isfinite(scores[alive]).all():
            raise PruningError(
                "Some channel scores are not finite (NaN or infinite): look "
                "for NaN in the model's weights."
            )
        self.ladders: list[np.ndarray] = []
        self._order: list[np.ndarray] = []
        self._prices: list[np.ndarray] = []
        for group in self.groups:
            living = group.units[alive[group.units]]
            # Best first; a stable sort keeps ties in channel order.
            best = living[np.argsort(-scores[living], kind="stable")]
            ladder = limits.ladder(group.size)
            # What is dead already need not be a rung of these limits.
            below = ladder[ladder < living.size]
            ladder = np.concatenate([[living.size], below])
            price = scores[best[below]] if prices is None else None
            if price is None:
                price = prices(group, below)
            self._order.append(best)
            self.ladders.append(ladder)
            self._prices.append(np.maximum.accumulate(price))
        self._rungs = self._sorted()

    def _sorted(self):
        """The group of each rung, cheapest rung first."""
        rungs = [
            (price, -count / group.size, g)
            for g, group in enumerate(self.groups)
            for price, count in zip(
                self._prices[g].tolist(), self.ladders[g][1:].tolist()
            )
        ]
        return np.array([g for _, _, g in sorted(rungs)], np.int64)

    def __len__(self) -> int:
        return len(self._rungs)

    def counts(self, length: int) -> np.ndarray:
        """Kept counts after the first `length` rungs."""
        down = np.bincount(self._rungs[:length], minlength=len(self.groups))
        return np.array(
            [ladder[d] for ladder, d in zip(self.ladders, down)], np.int64
        )

    def counts_at(self, price: float) -> np.ndarray:
        """The least counts that cost each group no more than `price`."""
        down = [np.searchsorted(own, price, "right") for own in self._prices]
        return np.array(
            [ladder[d] for ladder, d in zip(self.ladders, down)], np.int64
        )

    def last_first(self, counts):
        """Groups whose last rung may be put back, dearest rung first."""
        for g in self._rungs[::-1].tolist():
            if counts[g] < self.ladders[g][0]:
                yield g

    def up(self, g: int, count: int) -> int:
        """The next higher count on a group's ladder."""
        ladder = self.ladders[g]
        return int(ladder[np.flatnonzero(ladder == count)[0] - 1])

    def alive(self, counts) -> np.ndarray:
        """Boolean per unit: the best `counts` of every group."""
        alive = np.ones(self.unit_count, bool)
        for group, best, count in zip(self.groups, self._order, counts):
            alive[group.units] = False
            alive[best[:count]] = True
        return alive


def shortest_prefix(ranking, table, of, budget):
    """Counts after the fewest rungs whose cost is within the budget."""
    low, high = 0, len(ranking)
    if table.total(ranking.counts(high), of) > budget:
        return None
    while low < high:
        middle = (low + high) // 2
        if table.total(ranking.counts(middle), of) <= budget:
            high = middle
        else:
            low = middle + 1
    return ranking.counts(high)


def put_back(ranking, table, of, budget, counts):
    """Climbs rungs again, dearest first, while the budget still holds.

    Afterwards no single rung can be put back: the cut is over the request by
    less than the cheapest rung.
    """
    counts = np.array(counts)
    for g in ranking.last_first(counts):
        trial = counts.copy()
        if trial[g] >= ranking.ladders[g][0]:
            continue
        trial[g] = ranking.up(g, int(trial[g]))
        if table.total(trial, of) <= budget:
            counts = trial
    return counts
