"""Plans that meet one budget in different ways, for a search among them.

One-step search (EagleEye: Li et al., ECCV 2020, algorithm 1) samples a share
to remove for every group, measures the running statistics of normalisation
layers anew, and keeps the plan with the best score. There plans that miss the
budget are thrown away; here a sample says how the shares relate, and the
ranking takes them exactly to the budget.

With loss curves the search climbs from the plan that they lead to. The sum of
losses of single groups is only near to the loss of a whole plan, and many
plans have almost the same sum: which of them is best, only a trial tells.
Every step stretches the curves of the best plan so far at random.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any
from typing import Protocol

import numpy as np

from tf_channel_prune.analysis import Sensitivity
from tf_channel_prune.planning.request import Choice
from tf_channel_prune.planning.request import Request
from tf_channel_prune.planning.search import Prices
from tf_channel_prune.planning.search import Ranking
from tf_channel_prune.planning.search import cheapest_counts

# Gives what a plan with a number scores: one number, or one number a sample,
# the same samples for every plan. Larger is better.
Score = Callable[[np.ndarray, int], float | np.ndarray]
# How many times faster than another a group may go down.
SPREAD = 10.0
# The standard deviation of the logarithm of what stretches a curve.
STRETCH = 0.15
# How often a stretch that leads to a plan seen before is doubled.
DOUBLINGS = 4


@dataclasses.dataclass(frozen=True, eq=False)
class Problem:
    """What is to be cut, and by how much.

    Attributes:
        channels: The labels of the model.
        scores: Per unit; within a group the lowest go first.
        request: The `Request`.
        table: The costs.
        living: Units that are still there; None for all.
        curves: Loss curves, where there are some.
    """

    channels: Any
    scores: np.ndarray
    request: Request
    table: Any
    living: np.ndarray | None = None
    curves: Sensitivity | None = None

    @functools.cached_property
    def first(self) -> Choice:
        """The plan that `prune` makes without any trial."""
        return self.choose(self.curves)

    def choose(self, curves: Sensitivity | None) -> Choice:
        """The plan of the request by some curves, or by none."""
        return self.request.choose(
            self.channels, self.scores, self.living, curves, self.table
        )

    def ranking(self, prices: Prices) -> Ranking:
        """The ladders of all groups, with prices."""
        return Ranking(
            self.channels,
            self.scores,
            self.request.limits,
            self.living,
            prices,
        )


class Proposals(Protocol):
    """Plans to try; each may depend on the scores of those before.

    Number 0 is the plan that `prune` makes without any trial.
    """

    how: str

    def plan(self, number: int) -> np.ndarray: ...

    def note(self, number: int, score: float) -> None: ...


def proposals(problem: Problem, seed: int) -> Proposals:
    """Near the plan of the curves, or, without curves, at random."""
    made = RandomPlans if problem.curves is None else NearPlans
    return made(problem, seed)


class RandomPlans:
    """Plans that share the cut out at random.

    Args:
        problem: What is to be cut; its request's allocation is not looked at.
        seed: Of the whole search.
    """

    how = "random"

    def __init__(self, problem: Problem, seed: int):
        self.problem = problem
        self.seed = seed

    def plan(self, number: int) -> np.ndarray:
        """Boolean per unit; the same for the same number.

        Raises:
            TargetError: If no allowed plan removes that much.
        """
        if not number:
            return self.problem.first.alive
        groups = self.problem.channels.prunable
        ranking = self.problem.ranking(random_prices(groups, self.seed, number))
        budget = self.problem.request.budget()
        return ranking.alive(
            cheapest_counts(ranking, self.problem.table, budget)
        )

    def note(self, number: int, score: float) -> None:
        """A score changes nothing."""


class NearPlans:
    """Plans whose sums of losses are nearly the least.

    Args:
        problem: What is to be cut, with curves.
        seed: Of the whole search.
    """

    how = "near"

    def __init__(self, problem: Problem, seed: int):
        self.problem = problem
        self.seed = seed
        self._names = [group.name for group in problem.channels.prunable]
        self._best = np.ones(len(self._names))
        self._best_score = -np.inf
        self._tried = self._best
        self._seen: set[bytes] = set()

    def plan(self, number: int) -> np.ndarray:
        """Boolean per unit; the same for the same number and past scores."""
        alive = self.problem.first.alive if not number else self._new(number)
        self._seen.add(alive.tobytes())
        return alive

    def _new(self, number):
        """A plan that was not tried yet, if there is one near."""
        rng = np.random.default_rng([self.seed, number])
        step = rng.normal(0.0, STRETCH, len(self._names))
        for doubled in range(DOUBLINGS + 1):
            self._tried = self._best * np.exp(step * 2**doubled)
            factors = dict(zip(self._names, self._tried.tolist()))
            curves = self.problem.curves.scaled(factors)
            alive = self.problem.choose(curves).alive
            if alive.tobytes() not in self._seen:
                break
        return alive

    def note(self, number: int, score: float) -> None:
        """What the last plan scored: later ones go on from the best."""
        if score > self._best_score:
            self._best, self._best_score = self._tried, score


def climb(
    plans: Proposals,
    score: Score,
    count: int,
) -> list[tuple[np.ndarray, float | np.ndarray]]:
    """Scores plans one after the other.

    Args:
        plans: Where they come from.
        score: Gives the score of a plan and its number; where it has one a
            sample, the mean counts.
        count: How many to try.

    Returns:
        The plans and their scores.
    """
    found = []
    for number in range(count):
        alive = plans.plan(number)
        found.append((alive, score(alive, number)))
        plans.note(number, float(np.mean(found[-1][1])))
    return found


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
