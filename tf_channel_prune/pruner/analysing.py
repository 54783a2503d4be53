"""`Pruner.ana`: measures, keeps and finds analyses of a subject."""

from __future__ import annotations

import dataclasses

from tf_channel_prune import criteria
from tf_channel_prune.analysis import RATIOS
from tf_channel_prune.analysis import Sensitivity
from tf_channel_prune.analysis import analyse
from tf_channel_prune.analysis import analyse_many
from tf_channel_prune.analysis import assemble
from tf_channel_prune.analysis import check_ratios
from tf_channel_prune.analysis import curves_of
from tf_channel_prune.analysis import sizes_of
from tf_channel_prune.analysis import steps
from tf_channel_prune.errors import PruningError
from tf_channel_prune.graph.data import is_read_once
from tf_channel_prune.graph.data import kept
from tf_channel_prune.graph.files import write_model
from tf_channel_prune.masking.jobs import in_processes
from tf_channel_prune.masking.trials import analyse_on_data
from tf_channel_prune.pruner.subject import Subject
from tf_channel_prune.pruner.subject import log

# The names of scores that the fast analysis is kept under.
_METRICS = ("accuracy", "loss", "function")


def measure(
    subject: Subject, evaluate, ratios, criterion, progress, jobs
) -> Sensitivity:
    """Scores every group at every ratio by `evaluate`; see `Pruner.ana`."""
    ratios = check_ratios(ratios)
    criterion = _to_analyse_by(criterion, subject.data)
    if not isinstance(jobs, int) or jobs < 1:
        raise PruningError(f"jobs must be at least 1, got {jobs!r}.")
    with subject.workspace.lock():
        results = _results(subject, criterion, "evaluate")
        criterion = _in_order(
            subject, criterion, results, subject.data, subject.loss
        )
        todo = _steps(subject, subject.channels, criterion, ratios)
        if not all(step.key in results.known for step in todo):
            _evaluate(
                subject, evaluate, ratios, criterion, results, progress, jobs
            )
        results.finish(ratios, sizes_of(subject.channels))
    return _told(curves(results, criterion), results)


def measure_on_data(
    subject: Subject, data, ratios, criterion, progress, metric, loss, share
) -> Sensitivity:
    """Scores only what decides, on data; see `Pruner.ana`."""
    from tf_channel_prune.report.progress import progress_bar

    ratios = check_ratios(ratios)
    data = kept(data)
    loss = subject.loss if loss is None else loss
    criterion = _to_analyse_by(criterion, data)
    by = metric if metric in _METRICS else "function"
    with subject.workspace.lock():
        results = _results(subject, criterion, by)
        if results.ratios != ratios:
            channels = subject.channels
            todo = 1 + 2 * len(channels.prunable)
            with progress_bar("ana", todo, progress) as advance:
                advance.expect(f"scores by {criterion.name}", todo)
                ordered = _in_order(subject, criterion, results, data, loss)
                scores = criteria.scores(channels, ordered, data, loss)
                masks = subject.rehearsed()
                advance("scores")
                _, effort = analyse_on_data(
                    channels,
                    scores,
                    data,
                    metric,
                    loss,
                    share,
                    ratios,
                    results,
                    masks,
                    on_group=lambda group: advance(f"group {group.name!r}"),
                )
            log.info("ana scored %s.", effort)
        results.finish(ratios, sizes_of(subject.channels))
    return _told(curves(results, criterion), results)


def measure_once(
    subject: Subject, evaluate, criterion, loss, progress, first
) -> None:
    """Makes the analysis that a run plans by, where `known` finds none.

    It is the fast one on the subject's data, where these are arrays with
    targets; else that by `evaluate`, where there is one.

    Args:
        first: Called before an analysis that does not call `evaluate`: what
            fails then does not fail hours later.
        (others): See `Pruner.run`.
    """
    if _finished(subject, criterion) is not None:
        return  # it rehearsed when it was made
    if subject.samples is not None:
        first()
        measure_on_data(
            subject,
            subject.samples,
            RATIOS,
            criterion,
            progress,
            "loss",
            loss,
            1.0,
        )
    elif evaluate is not None:
        measure(subject, evaluate, RATIOS, criterion, progress, 1)
    else:
        subject.rehearsed()


def _to_analyse_by(criterion, data):
    """The criterion of a new analysis."""
    if criterion is None and (data is None or is_read_once(data)):
        criterion = criteria.DEFAULT_WITH_CURVES
    return criteria.get(criterion or criteria.DEFAULT_WITH_DATA)


def _in_order(subject, criterion, results, data, loss):
    """The criterion, with the scores that the analysis has begun with.

    Other data, or an augmentation of them, would give other scores, and the
    curve through points of two orders is of neither.
    """
    if not (criterion.uses_data or criterion.cumulative):
        return criterion
    if not results.scores:
        channels = subject.channels
        scores = criteria.scores(channels, criterion, data, loss)
        results.keep_scores(criteria.by_group(channels, scores))
    return criteria.Recorded(criterion, results.scores)


def ranking(subject: Subject, criterion, allocation=None, changed=False):
    """The criterion to rank by, and its finished analysis or None.

    One that looks at data gives the scores that the analysis was made with.

    Args:
        subject: What is pruned.
        criterion: See `_finished`.
        allocation: How a target is shared out.
        changed: Whether the weights are not the subject's own; then the
            subject's data, where it has some, are looked at anew.
    """
    by_curves = allocation in (None, "sensitivity")
    found = _finished(subject, criterion, told=True) if by_curves else None
    if found is None:
        return criteria.get(criterion), None
    criterion, results = found
    sensitivity = curves(results, criterion)
    anew = changed and subject.data is not None
    if criterion.uses_data and results.scores and not anew:
        criterion = criteria.Recorded(criterion, results.scores)
    return criterion, sensitivity


def known(subject: Subject, criterion) -> Sensitivity | None:
    """The finished analysis of the subject; see `Pruner.sensitivity`."""
    found = _finished(subject, criterion, told=True)
    return None if found is None else curves(found[1], found[0])


def _finished(subject, criterion, told=False):
    """The criterion and the results of a finished analysis, or None.

    Args:
        criterion: Defaults to whichever default there is an analysis by.
        told: Whether to warn of what is not used.
    """
    wanted = [criterion]
    if criterion is None:
        wanted = [criteria.DEFAULT_WITH_DATA, criteria.DEFAULT_WITH_CURVES]
    wanted = [criteria.get(one) for one in wanted]
    for one in wanted:
        for results in _all_results(subject, one):
            if results.ratios is not None:
                return one, results
            if results.known and told:
                log.warning(
                    "The analysis in %s is not finished and is not used: "
                    "call ana again to finish it.",
                    results.path,
                )
    if told:
        _notice_others(subject, *(subject.origin(one) for one in wanted))
    return None


def _all_results(subject, criterion):
    """What there may be of analyses, the one by `evaluate` first."""
    for by in ("evaluate", *_METRICS):
        yield subject.workspace.results(subject.origin(criterion, by))


def _results(subject, criterion, by):
    results = subject.workspace.results(subject.origin(criterion, by))
    if not results.known:
        _notice_others(subject, results.origin)
    return results


def _evaluate(subject, evaluate, ratios, criterion, results, progress, jobs):
    """Evaluates what is not known, on one sparse copy of the model."""
    from tf_channel_prune.report.progress import progress_bar

    if not callable(evaluate):
        raise PruningError(
            "ana needs evaluate, a function of a model that gives a "
            f"score, or data; got {evaluate!r}."
        )
    masks = subject.rehearsed()
    todo = _steps(subject, masks.channels, criterion, ratios)

    def score(alive):
        with masks.trial(alive):
            return evaluate(masks.model)

    with progress_bar("ana", len(todo), progress) as advance:
        if jobs > 1:
            file = subject.workspace.model_path("ana")
            write_model(file, masks.model)
            spread = in_processes(file, evaluate, jobs)
            analyse_many(todo, spread, results, advance)
        else:
            units = masks.channels.unit_count
            analyse(todo, units, score, results, advance)


def _steps(subject, channels, criterion, ratios):
    return steps(channels, subject.scores(channels, criterion), ratios)


def curves(results, criterion=None) -> Sensitivity:
    """The curves of a finished analysis.

    Args:
        results: The analysis.
        criterion: Which one it was by; without, curves run evenly between
            their points.
    """
    if results.origin["scoring"] == "evaluate":
        made = assemble(results.sizes, results.known, results.ratios)
    else:
        made = curves_of(results.sizes, results.known)
    if criterion is None:
        return made
    expected = criteria.expected(criterion, results.scores)
    return dataclasses.replace(made, expected=expected)


def _told(sensitivity: Sensitivity, results) -> Sensitivity:
    if not sensitivity.rises:
        return sensitivity
    if results.origin["scoring"] == "evaluate":
        why = (
            "larger must mean better. If evaluate returns a loss, return -loss."
        )
    else:
        why = (
            "the model is not trained on data like these, or its loss is "
            "another one."
        )
    log.warning("Most scores of the analysis are above the baseline: %s", why)
    return sensitivity


def _notice_others(subject, *origins) -> None:
    """Warns of analyses that are of something else than all of these."""
    others = [subject.workspace.other_results(origin) for origin in origins]
    for file in others[0]:
        if not all(file in one for one in others):
            continue
        differs = min((one[file] for one in others), key=len)
        log.warning(
            "The analysis %s is not used: it is of another %s.",
            file,
            " and another ".join(differs),
        )
