"""Iterations: prune a step, fine-tune, keep it or take a smaller step."""

from __future__ import annotations

import dataclasses
import json
import pathlib
from collections.abc import Callable
from typing import Any

from tf_channel_prune.analysis import score_of
from tf_channel_prune.errors import PruningError
from tf_channel_prune.errors import TargetError
from tf_channel_prune.finetune.checkpoints import Checkpoint
from tf_channel_prune.finetune.driver import Outcome
from tf_channel_prune.finetune.driver import copy_of
from tf_channel_prune.graph.files import write_text


@dataclasses.dataclass(frozen=True)
class Target:
    """Where a run goes, and how.

    Attributes:
        ratio: The share of the dense cost to remove, or None.
        max_drop: Instead of a ratio: the smallest model that loses at most
            this much of the score.
        rounds: Into how many rounds of equal relative size a ratio is
            divided. Defaults to 3.
        tolerance: The loss of score against the baseline that a round may
            end with. Defaults to `max_drop`, or to 0.02 with a ratio.
        step: The share of what is left that a round removes first, with
            `max_drop`. Defaults to 0.2.
        retries: How often a step in a row is halved. Defaults to 3.
    """

    ratio: float | None = None
    max_drop: float | None = None
    rounds: int = 3
    tolerance: float | None = None
    step: float = 0.2
    retries: int = 3

    def __post_init__(self):
        if (self.ratio is None) == (self.max_drop is None):
            raise PruningError("Give one of ratio and max_drop.")
        if self.ratio is not None and not 0 < self.ratio < 1:
            raise PruningError(
                "ratio is the share of the cost to remove, between 0 and 1; "
                f"got {self.ratio!r}."
            )
        if not self.rounds >= 1 or self.retries < 0 or not 0 < self.step < 1:
            raise PruningError(
                "A run has at least one round, retries of 0 or more and a "
                f"step between 0 and 1; got {self}."
            )
        if self.allowed < 0:
            raise PruningError("A loss of score that is allowed is positive.")

    @property
    def allowed(self) -> float:
        """The loss of score that a round may end with."""
        if self.tolerance is not None:
            return self.tolerance
        return 0.02 if self.max_drop is None else self.max_drop


@dataclasses.dataclass(frozen=True)
class Round:
    """One round of a run.

    Attributes:
        number: From 1.
        asked: The share of the dense cost that was to be gone.
        achieved: The share that is gone.
        score: After fine-tuning; None if nothing was pruned.
        drop: Baseline's score less this.
        recipe: The best recipe.
        seconds: Of training, all recipes together.
        accepted: Whether the next round starts from here.
        note: Why not, if not.
    """

    number: int
    asked: float
    achieved: float
    score: float | None
    drop: float | None
    recipe: str
    seconds: float
    accepted: bool
    note: str = ""


@dataclasses.dataclass(frozen=True)
class Run:
    """What a run gave.

    Attributes:
        model: The last acceptable sparse model.
        baseline: The dense model's score.
        rounds: All rounds, refused ones too.
        reached: Whether the model is at the target ratio; with `max_drop`,
            whether anything was removed.
    """

    model: Any
    baseline: float
    rounds: tuple[Round, ...]
    reached: bool


class Steps:
    """Which ratio a round asks for, from how the rounds before went.

    Every round removes the same share of what is left; one that is refused
    is tried again with half of its step (in the logarithm of the cost).
    """

    def __init__(self, target: Target):
        self.target = target
        self.left = 1.0
        self._failures = 0
        if target.ratio is None:
            self._goal = 0.0
            self._factor = 1 - target.step
        else:
            self._goal = 1 - target.ratio
            self._factor = self._goal ** (1 / target.rounds)

    @property
    def reached(self) -> bool:
        return self.left <= self._goal + 1e-6

    def next(self) -> float | None:
        """The next ratio, or None at the end of the run."""
        if self.reached or self._failures > self.target.retries:
            return None
        return 1 - self._next_left()

    def note(self, done: Round) -> None:
        """Takes a round into account."""
        if done.accepted:
            self.left = 1 - done.achieved
            self._failures = 0
        else:
            self._factor = (self._next_left() / self.left) ** 0.5
            self._failures += 1

    def _next_left(self):
        following = self.left * self._factor
        # A last step that would leave a sliver goes all the way.
        close = following <= self._goal * 1.001
        return self._goal if close else following


def run(
    start,
    prune: Callable[[Any, float], tuple[Any, float]],
    tune: Callable[[Any, pathlib.Path], Outcome],
    evaluate: Callable[[Any], float],
    target: Target,
    folder,
    origin: dict[str, Any],
    done: Callable[[Round], None] | None = None,
) -> Run:
    """Prunes and fine-tunes round after round, resumably.

    Args:
        start: A sparse model with nothing masked.
        prune: From a sparse model and a ratio to a sparse model and the
            share that is gone. The same in, the same out.
        tune: From a sparse model and a folder to its fine-tuning.
        evaluate: Function of a model that gives its score.
        target: Where to go.
        folder: What is done is kept there.
        origin: What the run depends on, as JSON values.
        done: Called after every round.

    Raises:
        TargetError: If the target ratio cannot be reached by pruning.
        StaleFileError: If `folder` holds another run.
    """
    if target.ratio is not None:
        prune(start, target.ratio)  # refused before anything long
    book = _Book(pathlib.Path(folder), origin)
    baseline = book.baseline
    if baseline is None:
        baseline = score_of(lambda: evaluate(start), "the dense model")
        book.open(baseline)
    steps, number = Steps(target), 0
    while (ratio := steps.next()) is not None:
        number += 1
        if number <= len(book.rounds):
            entry = book.rounds[number - 1]
        else:
            model = book.last_accepted(start)
            model, entry = _one(
                model, number, ratio, baseline, prune, tune, target, book
            )
            book.add(entry, model)
        steps.note(entry)
        if done is not None:
            done(entry)
    return Run(
        book.last_accepted(start),
        baseline,
        tuple(book.rounds),
        steps.reached or (target.ratio is None and steps.left < 1),
    )


def _one(model, number, ratio, baseline, prune, tune, target, book):
    """One round: what was made of the model, and what to write down."""
    try:
        sparse, achieved = prune(model, ratio)
    except TargetError as error:
        left = Round(number, ratio, 0, None, None, "", 0, False, str(error))
        return None, left
    outcome = tune(sparse, book.folder / f"round-{number}")
    score = outcome.trial.score
    drop = baseline - score
    accepted = drop <= target.allowed
    note = "" if accepted else f"more than {target.allowed:g} lost"
    entry = Round(
        number,
        ratio,
        achieved,
        score,
        drop,
        str(outcome.trial.recipe),
        sum(trial.seconds for trial in outcome.trials),
        accepted,
        note,
    )
    return outcome.model, entry


class _Book:
    """What is known of a run, on disk before it is acted upon.

    Attributes:
        baseline: The dense model's score, or None.
        rounds: The rounds that are done.
    """

    def __init__(self, folder, origin):
        self.folder = folder
        self.path = folder / "rounds.json"
        self.origin = json.loads(json.dumps(origin))
        self.baseline: float | None = None
        self.rounds: list[Round] = []
        if self.path.exists():
            self._load()

    def _load(self):
        try:
            text = json.loads(self.path.read_text(encoding="utf-8"))
            if text["origin"] != self.origin:
                raise ValueError("it is of another run")
            self.baseline = text["baseline"]
            self.rounds = [Round(**entry) for entry in text["rounds"]]
        except (ValueError, KeyError, TypeError) as error:
            raise PruningError(
                f"{self.path} cannot be used: {error}. Move it away."
            ) from error

    def open(self, baseline) -> None:
        self.baseline = baseline
        self._save()

    def add(self, entry: Round, model) -> None:
        """Writes a round down, its model first."""
        if entry.accepted:
            self._weights(entry.number).save(model, None)
        self.rounds.append(entry)
        self._save()

    def last_accepted(self, start):
        """The model that the next round starts from."""
        accepted = [entry.number for entry in self.rounds if entry.accepted]
        if not accepted:
            return start
        model = copy_of(start)
        self._weights(accepted[-1]).load(model)
        return model

    def _weights(self, number) -> Checkpoint:
        path = self.folder / f"round-{number}" / "accepted.npz"
        return Checkpoint(path, self.origin)

    def _save(self):
        text = {
            "origin": self.origin,
            "baseline": self.baseline,
            "rounds": [dataclasses.asdict(entry) for entry in self.rounds],
        }
        write_text(self.path, json.dumps(text, indent=2) + "\n")
