"""A plan by data: loss curves first, then trials of the plans near them."""

from __future__ import annotations

import dataclasses

import numpy as np

from tf_channel_prune import criteria
from tf_channel_prune.channels import Channels
from tf_channel_prune.graph.data import kept
from tf_channel_prune.graph.losses import default_metric
from tf_channel_prune.masking.masks import Masks
from tf_channel_prune.masking.masks import make_sparse
from tf_channel_prune.masking.trials import analyse_on_data
from tf_channel_prune.masking.trials import plan_scorer
from tf_channel_prune.planning import Request
from tf_channel_prune.planning.candidates import try_plans
from tf_channel_prune.planning.proposals import Problem


def choose_by_trials(
    channels: Channels,
    asked: Request,
    criterion,
    data,
    living=None,
    table=None,
    loss=None,
    metric=None,
    count: int = 16,
    seed: int = 0,
    progress: bool = True,
) -> np.ndarray:
    """What stays of a model, by loss curves and trials.

    Args:
        channels: The labels of the model.
        asked: The target; shared out by loss curves.
        criterion: Which channels of a group go first.
        data: Samples with targets: they make the curves, and compare the
            plans.
        living: Units that are still there. Defaults to all.
        table: The costs.
        loss: The loss, where the model is not compiled with one.
        metric: What plans are compared by; see `Trials`. Defaults to
            `default_metric`.
        count: How many plans to try.
        seed: Of what is random about them.
        progress: Whether to show progress bars.

    Returns:
        Boolean per unit.
    """
    from tf_channel_prune.report.progress import progress_bar

    data = kept(data)
    masks = Masks(make_sparse(channels))
    criterion = criteria.get(criterion)
    steps = 1 + 2 * len(channels.prunable)
    with progress_bar("loss curves", steps, progress) as advance:
        advance.expect(f"scores by {criterion.name}", steps)
        scores = criteria.scores(channels, criterion, data, loss)
        advance("scores")
        curves, effort = analyse_on_data(
            channels,
            scores,
            data,
            metric="loss",
            loss=loss,
            masks=masks,
            on_group=lambda group: advance(f"group {group.name!r}"),
        )
    print(f"Loss curves: {effort}")
    expected = criteria.expected(criterion, criteria.by_group(channels, scores))
    curves = dataclasses.replace(curves, expected=expected)
    problem = Problem(channels, scores, asked, table, living, curves)
    if asked.ratio is None or count == 1:
        return problem.first.alive
    metric = metric or default_metric(channels.graph, loss)
    measure = plan_scorer(masks, data, metric, loss)
    with progress_bar("plans", count, progress) as advance:

        def score(alive, number):
            found = measure(alive)
            advance(f"plan {number}: {found.mean():.4g}")
            return found

        candidates, alive = try_plans(problem, score, count, seed)
    print(
        _said(candidates, metric if isinstance(metric, str) else "the metric")
    )
    return alive


def _said(candidates, metric) -> str:
    """What trying plans has come to, in a sentence."""
    best, first = candidates.best, candidates.rows[0]
    of = f"Plans: of {len(candidates.rows)} that cost as much,"
    if best.number:
        return (
            f"{of} the best by {metric} has {best.score:.4g}, that of the "
            f"curves {first.score:.4g}"
        )
    return (
        f"{of} none is better by {metric} than that of the curves "
        f"({first.score:.4g}) by more than chance"
    )
