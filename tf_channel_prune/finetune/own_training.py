"""Fine-tuning by the user's own function."""

from __future__ import annotations

import time
from collections.abc import Callable

from tf_channel_prune.analysis import score_of
from tf_channel_prune.errors import PruningError
from tf_channel_prune.finetune.driver import Outcome
from tf_channel_prune.finetune.driver import Trial
from tf_channel_prune.finetune.driver import copy_of
from tf_channel_prune.graph import flavours
from tf_channel_prune.masking import Masks
from tf_channel_prune.numbers import check_count


def train_by(
    model,
    train: Callable[[object], object],
    evaluate: Callable[[object], float] | None = None,
    seed: int = 0,
) -> Outcome:
    """Trains a copy of a sparse model by a function, and scores it.

    Args:
        model: A sparse model. It is not changed.
        train: Function of a model that compiles and trains it in place.
        evaluate: Function of a model that gives its score.
        seed: Python's, NumPy's and the backend's global seeds are set from
            it, so that a training after an interruption is the one that it
            would have been. Defaults to 0.

    Raises:
        PruningError: If `train` raises, or the masks did not hold.
    """
    seed = check_count(seed, 0, "seed")
    # Layers draw the seed of their generator when they are made.
    flavours.library(model).utils.set_random_seed(seed % 2**31)
    student = copy_of(model)
    masks = Masks(student)
    before = masks.alive()
    start = time.monotonic()
    flavours.library(model).utils.set_random_seed(seed % 2**31)
    try:
        train(student)
    except PruningError:
        raise
    except (Exception, SystemExit) as error:  # a user's function: anything
        raise PruningError(
            f"train raised {type(error).__name__}: {error}"
        ) from error
    if (masks.alive() != before).any():
        raise PruningError("train changed the masks of the model.")
    masks.check()
    seconds = time.monotonic() - start
    score = None
    if evaluate is not None:
        score = score_of(lambda: evaluate(student), "the fine-tuned model")
    trial = Trial(getattr(train, "__name__", "train"), score, seconds, [])
    return Outcome(student, trial, (trial,))
