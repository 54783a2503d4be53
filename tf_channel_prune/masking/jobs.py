"""Evaluations in other processes.

One evaluation is a plain function of a model file, of what is masked, and of
the evaluation function, so that anything that can call a function elsewhere
can spread an analysis: joblib's processes here, a cluster's workers later.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Iterator
from collections.abc import Sequence

import numpy as np

from tf_channel_prune.errors import PruningError


def evaluate_masked(model_file: str, dead: Sequence[int], evaluate) -> float:
    """The score of a sparse model with some units masked.

    Args:
        model_file: A sparse model, saved. A process loads it once.
        dead: The numbers of the units to mask.
        evaluate: Function of a model that gives a score.
    """
    masks = _loaded(model_file, os.stat(model_file).st_mtime_ns)
    alive = np.ones(masks.channels.unit_count, bool)
    alive[np.asarray(dead, np.int64)] = False
    with masks.trial(alive):
        return evaluate(masks.model)


@functools.lru_cache(maxsize=1)
def _loaded(model_file, _changed):
    from tf_channel_prune.graph.loading import load_model
    from tf_channel_prune.masking.masks import Masks

    return Masks(load_model(model_file))


def in_processes(model_file, evaluate, jobs: int):
    """A function that scores analysis steps in several processes.

    Args:
        model_file: A sparse model, saved.
        evaluate: Function of a model that gives a score; it is pickled (by
            value, if it stands in a script).
        jobs: How many processes; each gets its share of the cores.

    Returns:
        A function of steps that yields `(step, score)` pairs as they come.
    """
    import joblib

    def one(number, step):
        score = evaluate_masked(str(model_file), step.dead, evaluate)
        return number, float(score)

    def measure_many(steps) -> Iterator[tuple]:
        steps = list(steps)
        threads = max(1, (os.cpu_count() or 1) // jobs)
        with _threads(threads):
            done = joblib.Parallel(jobs, return_as="generator_unordered")(
                joblib.delayed(one)(number, step)
                for number, step in enumerate(steps)
            )
            try:
                for number, score in done:
                    yield steps[number], score
            except Exception as error:  # the user's function may raise anything
                raise PruningError(
                    f"evaluate raised {type(error).__name__} in another "
                    f"process: {error}"
                ) from error

    return measure_many


@contextlib.contextmanager
def _threads(count: int) -> Iterator[None]:
    """New processes give TensorFlow so many threads."""
    names = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, str(count)))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
