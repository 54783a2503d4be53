"""Plans that meet one budget in different ways, for a search among them.

One-step search (EagleEye: Li et al., ECCV 2020, algorithm 1) samples a share
to remove for every group, measures the running statistics of normalisation
layers anew, and keeps the plan with the best score. There plans that miss the
budget are thrown away; here a sample says how the shares relate, and the
ranking takes them exactly to the budget.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from tf_channel_prune.planning.search import Prices
from tf_channel_prune.planning.search import Ranking
from tf_channel_prune.planning.search import cheapest_counts

# How many times faster than another a group may go down.
SPREAD = 10.0


@dataclasses.dataclass(frozen=True)
class Candidate:
    """One plan of a search.

    Attributes:
        number: 0 is the plan that `prune` makes; the others are random.
        how: What made it, in a word.
        score: Larger is better.
        removed: The share of each cost that is gone.
        counts: How many units each group keeps, in group order.
    """

    number: int
    how: str
    score: float
    removed: dict[str, float]
    counts: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Candidates:
    """What a search found; it prints as a table, the best plan first.

    Attributes:
        rows: The candidates, by number.
    """

    rows: tuple[Candidate, ...]

    @property
    def best(self) -> Candidate:
        """The one with the best score; of equal ones the first."""
        return max(self.rows, key=lambda row: (row.score, -row.number))

    def __str__(self) -> str:
        from tf_channel_prune.report.tables import candidates_table
        from tf_channel_prune.report.tables import to_text

        return to_text(candidates_table(self))


def random_prices(groups, seed: int, number: int) -> Prices:
    """Prices by which every group goes down at a pace of its own.

    Args:
        groups: The prunable groups.
        seed: Of the whole search.
        number: Of the candidate; the same one gives the same paces.
    """
    rng = np.random.default_rng([seed, number])
    # The logarithm is uniform: half as fast is as likely as twice as fast.
    paces = np.exp(rng.uniform(0.0, np.log(SPREAD), len(groups)))
    pace_of = dict(zip((group.name for group in groups), paces))

    def prices(group, counts):
        return (1 - counts / group.size) / pace_of[group.name]

    return prices


def random_plan(
    channels, scores, request, table, seed, number, living=None
) -> np.ndarray:
    """A random plan that meets a request's budget within its limits.

    Args:
        channels: The labels of the model.
        scores: Per unit; within a group the lowest go first.
        request: The `Request`; its allocation is not looked at.
        table: The costs.
        seed, number: See `random_prices`.
        living: Units that are still there. Defaults to all.

    Returns:
        Boolean per unit.

    Raises:
        TargetError: If no allowed plan removes that much.
    """
    prices = random_prices(channels.prunable, seed, number)
    ranking = Ranking(channels, scores, request.limits, living, prices)
    return ranking.alive(cheapest_counts(ranking, table, request.budget()))
