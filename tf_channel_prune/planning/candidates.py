"""Trying plans, and what was tried as a table."""

from __future__ import annotations

import dataclasses
import numbers

import numpy as np

from tf_channel_prune.errors import PruningError
from tf_channel_prune.planning.proposals import Problem
from tf_channel_prune.planning.proposals import Score
from tf_channel_prune.planning.proposals import climb
from tf_channel_prune.planning.proposals import proposals

# How many standard errors a plan must be better by than the first one: of many
# plans some seem better by chance alone (the one-standard-error rule of Breiman
# et al., "Classification and Regression Trees", 1984, section 3.4.3).
ERRORS = 1.0


@dataclasses.dataclass(frozen=True)
class Candidate:
    """One plan of a search.

    Attributes:
        number: 0 is the plan that `prune` makes; the others are random.
        how: What made it: an allocation, `random`, or `near` (the curves'
            plan).
        score: Larger is better.
        removed: The share of each cost that is gone.
        counts: How many units each group keeps, in group order.
        error: The standard error of the difference to the first plan's score,
            where both are means over the same samples; else 0.
    """

    number: int
    how: str
    score: float
    removed: dict[str, float]
    counts: tuple[int, ...]
    error: float = 0.0


@dataclasses.dataclass(frozen=True)
class Candidates:
    """What a search found; it prints as a table, the best plan first.

    Attributes:
        rows: The candidates, by number.
    """

    rows: tuple[Candidate, ...]

    @classmethod
    def of(cls, problem: Problem, how: str, found) -> Candidates:
        """The table of what `climb` found.

        Args:
            problem: What was to be cut.
            how: What made the plans after the first.
            found: Plans and their scores.
        """
        table = problem.table
        allocation = problem.first.explanation.allocation
        return cls(
            tuple(
                Candidate(
                    number,
                    how if number else allocation,
                    float(np.mean(score)),
                    {of: table.removed(alive, of) for of in table.metrics},
                    tuple(table.counts(alive).tolist()),
                    _error(score, found[0][1]),
                )
                for number, (alive, score) in enumerate(found)
            )
        )

    @property
    def best(self) -> Candidate:
        """The one that is taken: see `best_by`, with `ERRORS`."""
        return self.best_by(ERRORS)

    def best_by(self, errors: float) -> Candidate:
        """The one with the best score; of equal ones the first.

        The first plan stays where no other is better by more than so many
        standard errors.
        """
        first = self.rows[0]
        better = [
            row
            for row in self.rows
            if row.score - first.score > errors * row.error
        ]
        return max(better or [first], key=lambda row: (row.score, -row.number))

    def __str__(self) -> str:
        from tf_channel_prune.report.tables import candidates_table
        from tf_channel_prune.report.tables import to_text

        return to_text(candidates_table(self))


def _error(scores, others) -> float:
    """The standard error of the mean difference of paired scores."""
    difference = np.subtract(scores, others)
    if difference.size < 2:
        return 0.0
    return float(difference.std(ddof=1) / np.sqrt(difference.size))


def try_plans(
    problem: Problem,
    score: Score,
    count: int = 16,
    seed: int = 0,
) -> tuple[Candidates, np.ndarray]:
    """Tries plans near that of the curves or, without curves, at random.

    Args:
        problem: What is asked.
        score: Gives the score of a plan and its number.
        count: How many plans to try.
        seed: Of what is random about them.

    Returns:
        All that was tried, and what stays by the best: boolean per unit.

    Raises:
        TargetError: If no allowed plan removes that much.
    """
    plans = proposals(problem, seed)
    found = climb(plans, score, count)
    candidates = Candidates.of(problem, plans.how, found)
    return candidates, found[candidates.best.number][0]


def check_candidates(count) -> None:
    """Raises unless that many plans can be tried."""
    if not isinstance(count, numbers.Integral) or count < 1:
        raise PruningError(f"candidates must be at least 1, got {count!r}.")
