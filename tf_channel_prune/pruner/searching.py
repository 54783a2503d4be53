"""`Pruner.search`: plans within a budget, scored one after the other."""

from __future__ import annotations

import dataclasses
import functools
import json

import numpy as np

from tf_channel_prune import graph as graphs
from tf_channel_prune.analysis import score_of
from tf_channel_prune.channels import understood
from tf_channel_prune.errors import PruningError
from tf_channel_prune.graph.data import batches
from tf_channel_prune.graph.data import is_read_once
from tf_channel_prune.graph.digests import text_digest
from tf_channel_prune.graph.recalibration import Recalibration
from tf_channel_prune.numbers import check_count
from tf_channel_prune.planning import Limits
from tf_channel_prune.planning import Request
from tf_channel_prune.planning import check_candidates
from tf_channel_prune.planning.candidates import Candidates
from tf_channel_prune.planning.candidates import try_plans
from tf_channel_prune.planning.explain import of_counts
from tf_channel_prune.planning.proposals import Problem
from tf_channel_prune.pruner import analysing
from tf_channel_prune.pruner import choosing
from tf_channel_prune.pruner.subject import Subject


@dataclasses.dataclass(frozen=True)
class Found:
    """What a search found.

    Attributes:
        chosen: The best plan.
        candidates: All plans and their scores.
    """

    chosen: choosing.Chosen
    candidates: Candidates


def search(
    subject: Subject,
    evaluate,
    data,
    ratio,
    of,
    count,
    criterion,
    limits: Limits,
    latency,
    seed,
    samples,
    progress,
    told=lambda text: None,
) -> Found:
    """The best of several plans within a budget; see `Pruner.search`."""
    from tf_channel_prune.report.progress import progress_bar

    _check(evaluate, data, count)
    seed = check_count(seed, 0, "seed")
    samples = check_count(samples, 1, "samples")
    asked = Request(ratio, of=of, limits=limits)
    table = subject.costs(subject.channels, asked.metrics, latency)
    for reach in asked.check_reach(subject.channels, table):
        told(str(reach))
    criterion, known = analysing.ranking(subject, criterion)
    scores = subject.scores(subject.channels, criterion)
    problem = Problem(subject.channels, scores, asked, table, curves=known)
    origin = {**subject.origin(criterion, "search"), "samples": samples}
    with subject.workspace.lock():
        results = subject.workspace.results(origin, "search")
        measure = _measure(subject, evaluate, data, samples)
        with progress_bar("search", count, progress) as advance:
            score = _remembered(measure, results, advance)
            candidates, alive = try_plans(problem, score, count, seed)
    explanation = problem.first.explanation
    rows, best = candidates.rows, candidates.best
    request = {
        **asked.as_dict(),
        "criterion": criterion.name,
        "by": "search",
        "candidate": best.number,
        "score": best.score,
    }
    if best.number:
        explanation = of_counts(
            subject.channels,
            table,
            best.counts,
            asked.metrics,
            "search",
            why=f"candidate {best.number} of {count} scored "
            f"{best.score:.4g}, the {explanation.allocation} plan "
            f"{rows[0].score:.4g}",
        )
    return Found(
        choosing.chosen(
            subject,
            subject.channels,
            alive,
            f"search-{asked}",
            request,
            explanation,
            table,
        ),
        candidates,
    )


def kept(data, samples):
    """The data for every candidate; an iterator's are read here, once.

    Args:
        data: See `graph.data.batches`.
        samples: How many are needed; an iterator may never end.
    """
    if not is_read_once(data):
        return data
    samples = check_count(samples, 1, "samples")
    return list(batches(data, samples, samples))


def recalibrated(model, data, samples):
    """Measures a model's running statistics anew, in place."""
    Recalibration(graphs.read(model, understood))(data, samples)
    return model


def _measure(subject, evaluate, data, samples):
    """The score of a plan; the sparse model is made with the first one."""

    @functools.cache
    def bench():
        masks = subject.rehearsed()
        return masks, Recalibration(graphs.read(masks.model, understood))

    def measure(alive):
        masks, recalibrate = bench()
        with masks.trial(alive):
            recalibrate(data, samples)
            return evaluate(masks.model)

    return measure


def _remembered(measure, results, advance):
    """Scores plans; what is known is not measured again."""

    def score(alive, number):
        key, what = _key(alive), f"candidate {number}"
        if key not in results.known:
            results.add(*key, score_of(lambda: measure(alive), what))
        advance(what)
        return results.known[key]

    return score


def _key(alive) -> tuple[str, int]:
    """What the score of a plan is kept under."""
    dead = np.flatnonzero(~alive).tolist()
    return text_digest(json.dumps(dead)), len(dead)


def _check(evaluate, data, count) -> None:
    if not callable(evaluate):
        raise PruningError(
            "search needs evaluate, a function of a model that gives a "
            f"score; got {evaluate!r}."
        )
    if data is None:
        raise PruningError(
            "search measures running statistics anew for every candidate: "
            "give inputs as data=, or to the Pruner."
        )
    check_candidates(count)
