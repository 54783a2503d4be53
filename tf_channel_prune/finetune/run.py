"""Iterations: prune a step, fine-tune, keep it or take a smaller step."""

from __future__ import annotations

import pathlib
from collections.abc import Callable
from typing import Any

from tf_channel_prune.errors import TargetError
from tf_channel_prune.finetune.driver import Outcome
from tf_channel_prune.finetune.rounds import Book
from tf_channel_prune.finetune.rounds import Round
from tf_channel_prune.finetune.rounds import Run
from tf_channel_prune.finetune.targets import Steps
from tf_channel_prune.finetune.targets import Target


def run(
    start,
    prune: Callable[[Any, float], tuple[Any, float]],
    tune: Callable[[Any, pathlib.Path], Outcome],
    baseline: Callable[[], float | None],
    target: Target,
    folder,
    origin: dict[str, Any],
    begin: Callable[[int, int], None] = lambda number, remaining: None,
) -> Run:
    """Prunes and fine-tunes round after round, resumably.

    Args:
        start: A sparse model with nothing masked.
        prune: From a sparse model and a ratio to a sparse model and the
            share that is gone. The same in, the same out.
        tune: From a sparse model and a folder to its fine-tuning.
        baseline: Gives the dense model's score; None accepts every round.
        target: Where to go.
        folder: What is done is kept there.
        origin: What the run depends on, as JSON values.
        begin: Called before each round that is not done yet, with its number
            and how many rounds are still expected, this one included.

    Raises:
        TargetError: If the target ratio cannot be reached by pruning.
        StaleFileError: If `folder` holds another run.
    """
    book = Book(folder, origin)
    if not book.begun:
        book.open(baseline())
    steps, number = Steps(target), 0
    while (ratio := steps.next()) is not None:
        number += 1
        if number <= len(book.rounds):
            entry = book.rounds[number - 1]
        else:
            begin(number, steps.remaining)
            model, entry = _round(
                book.last_accepted(start),
                number,
                ratio,
                prune,
                tune,
                target,
                book,
            )
            book.add(entry, model)
        steps.note(entry)
    reached = steps.reached or (target.ratio is None and steps.started)
    book.close(reached)
    model = book.last_accepted(start)
    return Run(model, book.baseline, tuple(book.rounds), reached, book.folder)


def _round(model, number, ratio, prune, tune, target, book):
    """One round: what was made of the model, and what to write down."""
    try:
        sparse, achieved = prune(model, ratio)
    except TargetError as error:
        left = Round(number, ratio, 0, None, None, "", 0, False, str(error))
        return None, left
    same = book.refused(achieved)
    if same is not None:
        # Cuts come in steps of channels: this is the model that was tried.
        note = f"the same cut as in round {same.number}"
        return None, Round(
            number, ratio, achieved, None, None, "", 0, False, note
        )
    outcome = tune(sparse, book.folder / f"round-{number}")
    score = outcome.trial.score
    drop = None if score is None else book.baseline - score
    accepted = drop is None or drop <= target.allowed
    entry = Round(
        number,
        ratio,
        achieved,
        score,
        drop,
        str(outcome.trial.recipe),
        sum(trial.seconds for trial in outcome.trials),
        accepted,
        "" if accepted else f"more than {target.allowed:g} lost",
    )
    return outcome.model, entry
