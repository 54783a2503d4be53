"""Low losses within caps on costs, for costs of any kind, by multipliers.

With a price on every cost (a Lagrange multiplier; Everett 1963) the budget is
gone, and group by group the rung with the least loss plus price is taken until
nothing changes. The smallest multiplier whose plan is within the caps is found
by halving; a few single steps then use up what is left between that plan and
the last one that is not within the caps.
"""

from __future__ import annotations

import numpy as np

from tf_channel_prune.planning.search import put_back
from tf_channel_prune.planning.search import within

HALVINGS = 8
# With several caps, how often their shares in the price are changed.
ROUNDS = 2
# The least weight of a cost, as a share of the largest, and the highest price;
# beyond it, all that can go goes.
LEAST = 0.02
MOST = 1e12


def descend(ranking, table, caps, worth=None) -> np.ndarray | None:
    """Counts with a low sum of losses within the caps.

    Args:
        ranking: Ladders with losses as prices.
        table: The costs.
        caps: The most that may be left, by metric.
        worth: What a unit of each cost is worth in losses, about. Defaults
            to the same for the same share of every cost.

    Returns:
        The counts, or None if no plan is within the caps.
    """
    lowest = np.array([len(prices) for prices in ranking.prices])
    if not within(table, ranking.at(lowest), caps):
        return None
    priced = _Priced(ranking, table, caps, worth)
    best = None
    # With one cap, or with known worths, there are no weights to look for.
    for _ in range(1 if worth or len(caps) == 1 else ROUNDS):
        for down in priced.around_the_caps():
            counts = put_back(ranking, table, caps, ranking.at(down))
            loss = priced.loss(ranking.down(counts))
            if best is None or loss < best[0]:
                best = loss, counts
        priced.reweigh(best[1])
    return best[1]


class _Priced:
    """Plans with prices on costs.

    Args:
        ranking, table, caps, worth: See `descend`.
    """

    def __init__(self, ranking, table, caps, worth):
        self.ranking = ranking
        self.table = table
        self.caps = caps
        self.losses = [np.concatenate([[0.0], p]) for p in ranking.prices]
        self.movable = [g for g, own in enumerate(self.losses) if len(own) > 1]
        full = ranking.at(np.zeros(len(self.losses), np.int64))
        costs = {of: max(table.total(full, of), 1e-9) for of in caps}
        worth = worth or {}
        shares = {of: worth.get(of, 0.0) * cost for of, cost in costs.items()}
        most = max(shares.values())
        if not most > 0:
            most = max(sum(float(own[-1]) for own in self.losses), 1e-9)
            shares = dict.fromkeys(caps, most)
        # A cost that is worth nothing now may be what is too high later.
        self.weights = {
            of: max(share, LEAST * most) / costs[of]
            for of, share in shares.items()
        }

    def loss(self, down) -> float:
        return sum(float(own[d]) for own, d in zip(self.losses, down))

    def within(self, down) -> bool:
        return within(self.table, self.ranking.at(down), self.caps)

    def around_the_caps(self):
        """Two plans within the caps, by the multipliers on either side."""
        low = np.zeros(len(self.losses), np.int64)
        if self.within(low):
            return [low]
        bottom = np.array([len(own) - 1 for own in self.losses])
        floor, price, high = 0.0, 1.0, self.settled(low, 1.0)
        while not self.within(high):
            floor, low, price = price, high, 2 * price
            high = bottom if price > MOST else self.settled(low, price)
        for _ in range(HALVINGS):
            if (low != high).sum() <= 1:
                break
            middle = (floor + price) / 2
            down = self.settled(low, middle)
            if self.within(down):
                price, high = middle, down
            else:
                floor, low = middle, down
        return [high, self.stepped(low)]

    def settled(self, down, price) -> np.ndarray:
        """What no single group would leave at this price, from `down` on."""
        down = np.array(down)
        counts = self.ranking.at(down)
        moved = True
        # Every move lowers the sum; the range is a guard against rounding.
        for _ in range(50):
            moved = False
            for g in self.movable:
                paid = self.losses[g] + price * self.costs(counts, g)
                best = int(np.argmin(paid))
                if paid[best] < paid[down[g]] - 1e-12 * abs(paid[down[g]]):
                    down[g] = best
                    counts[g] = self.ranking.ladders[g][best]
                    moved = True
            if not moved:
                break
        return down

    def costs(self, counts, g) -> np.ndarray:
        """The weighed costs of every rung of a group."""
        ladder = self.ranking.ladders[g]
        return sum(
            weight * self.table.alternatives(counts, g, ladder, of)
            for of, weight in self.weights.items()
        )

    def stepped(self, down) -> np.ndarray:
        """Goes on down where a loss saves most, until within the caps.

        A move may take several rungs at once, so that a flat stretch behind
        a steep rung is found.
        """
        down = np.array(down)
        while not self.within(down):
            _, g, rung = min(
                self.best_move(down, g)
                for g in self.movable
                if down[g] < len(self.losses[g]) - 1
            )
            down[g] = rung
        return down

    def best_move(self, down, g):
        """`(loss per saved cost, group, rung)` of the best move of a group."""
        costs = self.costs(self.ranking.at(down), g)
        saved = costs[down[g]] - costs[down[g] + 1 :]
        lost = self.losses[g][down[g] + 1 :] - self.losses[g][down[g]]
        with np.errstate(divide="ignore", invalid="ignore"):
            ratios = np.where(saved > 0, np.maximum(lost, 0) / saved, np.inf)
        best = int(np.argmin(ratios))
        return float(ratios[best]), g, int(down[g]) + 1 + best

    def reweigh(self, counts) -> None:
        """Prices a cost less where a plan leaves room under its cap."""
        for of, cap in self.caps.items():
            self.weights[of] *= (self.table.total(counts, of) / cap) ** 4
