"""`Pruner.ana`: measures, keeps and finds analyses of a subject."""

from __future__ import annotations

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
from tf_channel_prune.graph.data import are_samples_with_targets
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
    criterion = _of_curves(criterion)
    if not isinstance(jobs, int) or jobs < 1:
        raise PruningError(f"jobs must be at least 1, got {jobs!r}.")
    with subject.workspace.lock():
        results = _results(subject, criterion, "evaluate")
        todo = _steps(subject, subject.channels, criterion, ratios)
        if not all(step.key in results.known for step in todo):
            _evaluate(
                subject, evaluate, ratios, criterion, results, progress, jobs
            )
        results.finish(ratios, sizes_of(subject.channels))
    return _told(curves(results))


def measure_on_data(
    subject: Subject, data, ratios, criterion, progress, metric, loss, share
) -> Sensitivity:
    """Scores only what decides, on data; see `Pruner.ana`."""
    from tf_channel_prune.report.progress import progress_bar

    ratios = check_ratios(ratios)
    criterion = _of_curves(criterion)
    by = metric if metric in _METRICS else "function"
    with subject.workspace.lock():
        results = _results(subject, criterion, by)
        if results.ratios != ratios:
            masks = subject.rehearsed()
            halves = 2 * len(masks.channels.prunable)
            with progress_bar("ana", halves, progress) as advance:
                _, effort = analyse_on_data(
                    subject.channels,
                    criterion,
                    data,
                    metric,
                    loss,
                    share,
                    ratios,
                    results,
                    masks,
                    lambda group: advance(f"group {group.name!r}"),
                )
            log.info("ana scored %s.", effort)
        results.finish(ratios, sizes_of(subject.channels))
    return _told(curves(results))


def measure_once(subject: Subject, evaluate, criterion, loss, progress) -> None:
    """Makes the analysis that a run plans by, where `known` finds none.

    It is the fast one on the subject's data, where these are arrays with
    targets; else that by `evaluate`, where there is one.
    """
    found = _all_results(subject, _of_curves(criterion))
    if any(results.ratios is not None for results in found):
        return  # it rehearsed when it was made
    if are_samples_with_targets(subject.data):
        measure_on_data(
            subject,
            subject.data,
            RATIOS,
            criterion,
            progress,
            "loss",
            subject.loss or loss,
            1.0,
        )
    elif evaluate is not None:
        measure(subject, evaluate, RATIOS, criterion, progress, 1)
    else:
        subject.rehearsed()


def _of_curves(criterion):
    return criteria.get(criterion or criteria.DEFAULT_WITH_CURVES)


def ranking(subject: Subject, criterion, allocation=None):
    """The criterion to rank by, and its finished analysis or None."""
    by_curves = allocation in (None, "sensitivity")
    found = known(subject, criterion) if by_curves else None
    return (_of_curves if found else criteria.get)(criterion), found


def known(subject: Subject, criterion) -> Sensitivity | None:
    """The finished analysis of the subject; see `Pruner.sensitivity`."""
    criterion = _of_curves(criterion)
    for results in _all_results(subject, criterion):
        if results.ratios is not None:
            return curves(results)
        if results.known:
            log.warning(
                "The analysis in %s is not finished and is not used: call "
                "ana again to finish it.",
                results.path,
            )
    _notice_others(subject, subject.origin(criterion))
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


def curves(results) -> Sensitivity:
    """The curves of a finished analysis."""
    if results.origin["scoring"] == "evaluate":
        return assemble(results.sizes, results.known, results.ratios)
    return curves_of(results.sizes, results.known)


def _told(sensitivity: Sensitivity) -> Sensitivity:
    if sensitivity.rises:
        log.warning(
            "Most scores of the analysis are above the baseline: larger "
            "must mean better. If evaluate returns a loss, return -loss."
        )
    return sensitivity


def _notice_others(subject, origin) -> None:
    for file, differs in subject.workspace.other_results(origin).items():
        log.warning(
            "The analysis %s is not used: it is of another %s.",
            file,
            " and another ".join(differs),
        )
