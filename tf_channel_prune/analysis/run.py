"""Evaluates one group after the other at one ratio after the other."""

from __future__ import annotations

import dataclasses
import numbers
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from tf_channel_prune.analysis.sensitivity import Sensitivity
from tf_channel_prune.analysis.sensitivity import removed_at
from tf_channel_prune.channels import Channels
from tf_channel_prune.errors import PruningError

RATIOS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
BASELINE = ""

# Scores by group and number of removed units.
Known = dict[tuple[str, int], float]


@dataclasses.dataclass(frozen=True, eq=False)
class Step:
    """One evaluation.

    Attributes:
        group: The pruned group's name; empty for the baseline.
        ratio: The share of the group that is removed.
        removed: How many units that is.
        dead: The numbers of those units: the ones with the lowest scores.
    """

    group: str
    ratio: float
    removed: int
    dead: np.ndarray

    @property
    def key(self) -> tuple[str, int]:
        """What its result is kept under."""
        return self.group, self.removed

    def __str__(self) -> str:
        if self.group == BASELINE:
            return "the whole model (the baseline)"
        return f"group {self.group!r} pruned at ratio {self.ratio:g}"


class Results(Protocol):
    """Where results are kept: each one is safe before the next is begun."""

    known: Known

    def add(self, group: str, removed: int, score: float) -> None: ...


def check_ratios(ratios: Iterable[float]) -> tuple[float, ...]:
    """The ratios in ascending order.

    Raises:
        PruningError: If there is none, or one is not between 0 and 1.
    """
    given = ratios
    try:
        ratios = tuple(sorted({float(ratio) for ratio in ratios}))
    except (TypeError, ValueError):
        ratios = ()
    if not ratios or not all(0 < ratio < 1 for ratio in ratios):
        raise PruningError(
            "ratios is a list of shares of a group, each between 0 and 1; got "
            f"{given!r}."
        )
    return ratios


def steps(channels: Channels, scores, ratios: Sequence[float]) -> list[Step]:
    """What an analysis evaluates: the baseline, then group by group.

    A ratio that removes as many units as a smaller one is not evaluated
    twice.

    Args:
        channels: The labels of the model.
        scores: Per unit; within a group the lowest go first.
        ratios: Shares of a group, ascending.
    """
    listed = [Step(BASELINE, 0.0, 0, np.zeros(0, np.int64))]
    for group in channels.prunable:
        # Ties go in channel order, so that every process agrees.
        worst = group.units[np.argsort(scores[group.units], kind="stable")]
        before = 0
        for ratio in ratios:
            removed = removed_at(group.size, ratio)
            if removed > before:
                dead = worst[:removed]
                listed.append(Step(group.name, ratio, removed, dead))
                before = removed
    return listed


def analyse(
    todo: Sequence[Step],
    unit_count: int,
    measure: Callable[[np.ndarray], object],
    results: Results,
    on_result: Callable[[str], None] = lambda what: None,
) -> None:
    """Evaluates what is not known yet.

    Args:
        todo: What to evaluate, from `steps`.
        unit_count: How many units the model has.
        measure: Gives the model's score for a boolean per unit.
        results: Known results; every new one is added at once.
        on_result: Called after each step, known or new, with what it was.

    Raises:
        PruningError: If `measure` raises or its result is not a finite
            number; names the group and the ratio.
    """
    for step in todo:
        if step.key not in results.known:
            alive = np.ones(unit_count, bool)
            alive[step.dead] = False
            score = score_of(lambda alive=alive: measure(alive), str(step))
            results.add(*step.key, score)
        on_result(str(step))


def analyse_many(
    todo: Sequence[Step],
    measure_many: Callable[[Sequence[Step]], Iterable[tuple[Step, object]]],
    results: Results,
    on_result: Callable[[str], None] = lambda what: None,
) -> None:
    """Evaluates what is not known yet, several steps at a time.

    Args:
        todo: What to evaluate, from `steps`.
        measure_many: Gives pairs of a step and its score, in any order.
        results: Known results; every new one is added at once.
        on_result: See `analyse`.

    Raises:
        PruningError: If a result is not a finite number.
    """
    unknown = []
    for step in todo:
        if step.key in results.known:
            on_result(str(step))
        else:
            unknown.append(step)
    for step, value in measure_many(unknown):
        score = score_of(lambda value=value: value, str(step))
        results.add(*step.key, score)
        on_result(str(step))


def sizes_of(channels: Channels) -> dict[str, int]:
    """How many channels each group that can be pruned has."""
    return {group.name: group.size for group in channels.prunable}


def assemble(sizes: dict[str, int], known: Known, ratios) -> Sensitivity:
    """The curves from the results of all steps."""
    baseline = known[BASELINE, 0]
    curves = {}
    for group, size in sizes.items():
        at = {ratio: removed_at(size, ratio) for ratio in ratios}
        curves[group] = {
            ratio: known[group, n] if n else baseline for ratio, n in at.items()
        }
    return Sensitivity(baseline, curves, sizes)


def score_of(evaluate: Callable[[], object], of: str) -> float:
    """Calls the user's evaluation and makes sure that it gave a score.

    Args:
        evaluate: What to call.
        of: What is evaluated, for messages.

    Raises:
        PruningError: If it raises, or gives anything but a finite number.
    """
    try:
        value = evaluate()
    except PruningError:
        raise
    except (Exception, SystemExit) as error:  # a user's function: anything
        raise PruningError(
            f"evaluate raised {type(error).__name__} on {of}: {error}"
        ) from error
    numeric = isinstance(value, numbers.Real) or hasattr(value, "__array__")
    array = np.asarray(value if numeric else "")
    if array.ndim or array.dtype.kind not in "fiu":
        raise PruningError(
            "evaluate must return one number, larger for a better model; on "
            f"{of} it returned a {type(value).__name__}."
        )
    if not np.isfinite(array):
        raise PruningError(
            f"evaluate returned {float(array)} on {of}: the score must be "
            "finite. Look for NaN in the data, the metric or the weights."
        )
    return float(array)
