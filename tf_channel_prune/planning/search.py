"""Finds the smallest cut that is at least the request."""

from __future__ import annotations

import numbers
from collections.abc import Callable
from collections.abc import Mapping

import numpy as np

from tf_channel_prune.channels import ChannelGroup
from tf_channel_prune.channels import Channels
from tf_channel_prune.cost import CostTable
from tf_channel_prune.errors import PruningError
from tf_channel_prune.planning.budget import Budget
from tf_channel_prune.planning.budget import reachable
from tf_channel_prune.planning.budget import unreachable
from tf_channel_prune.planning.budget import within
from tf_channel_prune.planning.limits import Limits

# The price of keeping no more than each of some counts of a group.
Prices = Callable[[ChannelGroup, np.ndarray], np.ndarray]


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
    ratio,
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
        ratio: A target, or several by metric; see `Budget`.
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
    ranking = Ranking(channels, scores, limits or Limits(), alive, prices)
    table = table or CostTable(channels)
    budget = Budget.of(ratio, of)
    return ranking.alive(cheapest_counts(ranking, table, budget))


def cheapest_counts(ranking, table, budget: Budget) -> np.ndarray:
    """The counts that a ranking meets a budget with.

    Raises:
        TargetError: If none do.
    """
    caps = budget.caps(table)
    counts = shortest_prefix(ranking, table, caps)
    if counts is None:
        raise unreachable(
            budget,
            reachable(
                ranking.channels,
                ranking.limits,
                table,
                list(caps),
                ranking.fixed,
            ),
            ranking.channels,
        )
    return put_back(ranking, table, caps, counts)


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
        fixed: Counts by group number, for groups that have no choice.

    Attributes:
        channels, limits, fixed: As given.
        groups: The prunable groups.
        ladders: Per group, the counts that it may keep, from now down.
        prices: Per group, the price of each rung below the first; it never
            falls on the way down.
    """

    def __init__(
        self,
        channels,
        scores,
        limits,
        alive=None,
        prices=None,
        fixed: Mapping[int, int] | None = None,
    ):
        self.channels = channels
        self.limits = limits
        self.fixed = fixed
        self.groups = channels.prunable
        self.ladders: list[np.ndarray] = []
        self.prices: list[np.ndarray] = []
        self._order: list[np.ndarray] = []
        limits.check(self.groups)
        if alive is None:
            alive = np.ones(channels.unit_count, bool)
        if not np.isfinite(scores[alive]).all():
            raise PruningError(
                "Some channel scores are not finite (NaN or infinite): look "
                "for NaN in the model's weights."
            )
        for g, group in enumerate(self.groups):
            living = group.units[alive[group.units]]
            # Best first; a stable sort keeps ties in channel order.
            best = living[np.argsort(-scores[living], kind="stable")]
            below = limits.ladder(group)
            # What is dead already need not be a rung of these limits.
            below = below[below < living.size]
            start = living.size
            if fixed is not None and g in fixed:
                start, below = min(start, fixed[g]), below[:0]
            price = scores[best[below]] if prices is None else None
            if price is None:
                price = prices(group, below)
            self._order.append(best)
            self.ladders.append(np.concatenate([[start], below]))
            self.prices.append(np.maximum.accumulate(price))
        self._rungs = self._sorted()

    def _sorted(self):
        """The group of each rung, cheapest rung first."""
        groups = np.repeat(
            np.arange(len(self.groups)), [p.size for p in self.prices]
        )
        if not groups.size:
            return groups
        left = np.concatenate(
            [
                ladder[1:] / group.size
                for ladder, group in zip(self.ladders, self.groups)
            ]
        )
        order = np.lexsort((groups, -left, np.concatenate(self.prices)))
        return groups[order]

    def __len__(self) -> int:
        return len(self._rungs)

    def counts(self, length: int) -> np.ndarray:
        """Kept counts after the first `length` rungs."""
        down = np.bincount(self._rungs[:length], minlength=len(self.groups))
        return self.at(down)

    def at(self, down) -> np.ndarray:
        """Kept counts when each group is so many rungs down."""
        return np.array(
            [ladder[d] for ladder, d in zip(self.ladders, down)], np.int64
        )

    def counts_at(self, price: float) -> np.ndarray:
        """The least counts that cost each group no more than `price`."""
        return self.at(
            [np.searchsorted(own, price, "right") for own in self.prices]
        )

    def down(self, counts) -> np.ndarray:
        """How many rungs down each group is."""
        return np.array(
            [
                np.flatnonzero(ladder == count)[0]
                for ladder, count in zip(self.ladders, counts)
            ],
            np.int64,
        )

    def last_first(self):
        """The group of every rung, dearest rung first."""
        return self._rungs[::-1].tolist()

    def alive(self, counts) -> np.ndarray:
        """Boolean per unit: the best `counts` of every group."""
        alive = np.ones(self.channels.unit_count, bool)
        for group, best, count in zip(self.groups, self._order, counts):
            alive[group.units] = False
            alive[best[:count]] = True
        return alive


def shortest_prefix(ranking, table, caps):
    """Counts after the fewest rungs whose costs are within the caps."""
    low, high = 0, len(ranking)
    if not within(table, ranking.counts(high), caps):
        return None
    while low < high:
        middle = (low + high) // 2
        if within(table, ranking.counts(middle), caps):
            high = middle
        else:
            low = middle + 1
    return ranking.counts(high)


def put_back(ranking, table, caps, counts, order=None):
    """Climbs rungs again, dearest first, while the budget still holds.

    Afterwards no single rung can be put back: the cut is over the request by
    less than the cheapest rung. A group that could not climb once never can
    again, since every other climb leaves less room.

    Args:
        ranking: The ladders, and the order in which rungs are tried.
        table: The costs.
        caps: The most that may be left, by metric.
        counts: Kept counts within the caps.
        order: Groups, one entry a rung, in the order of trying. Defaults to
            the ranking's, dearest first.
    """
    counts = np.array(counts)
    down = ranking.down(counts)
    stuck = down == 0
    for g in ranking.last_first() if order is None else order:
        if stuck[g]:
            continue
        before, counts[g] = counts[g], ranking.ladders[g][down[g] - 1]
        if within(table, counts, caps):
            down[g] -= 1
            stuck[g] = down[g] == 0
        else:
            counts[g] = before
            stuck[g] = True
    return counts
