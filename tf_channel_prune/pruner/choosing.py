"""`Pruner.prune`: which channels of a subject stay, written down as a plan."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from tf_channel_prune.channels import Channels
from tf_channel_prune.cost import CostTable
from tf_channel_prune.graph.digests import weights_digest
from tf_channel_prune.masking import living_units
from tf_channel_prune.planning import Explanation
from tf_channel_prune.planning import Limits
from tf_channel_prune.planning import Plan
from tf_channel_prune.planning import Request
from tf_channel_prune.planning import exactly_one
from tf_channel_prune.planning.explain import of_counts
from tf_channel_prune.pruner import analysing
from tf_channel_prune.pruner.subject import Subject
from tf_channel_prune.pruner.subject import log


@dataclasses.dataclass(frozen=True)
class Chosen:
    """What stays of a model.

    Attributes:
        channels: The labels of the model.
        alive: Boolean per unit.
        plan: The same, for people and files.
        name: What the plan's file is called.
        explanation: Why each group got what it got.
    """

    channels: Channels
    alive: np.ndarray
    plan: Plan
    name: str
    explanation: Explanation

    def write(self, subject: Subject) -> pathlib.Path:
        """Keeps the plan in the workspace."""
        with subject.workspace.lock():
            return subject.workspace.save_plan(self.plan.to_json(), self.name)


def choose(
    subject: Subject,
    ratio=None,
    of="flops",
    threshold=None,
    plan=None,
    model=None,
    criterion=None,
    min_channels=1,
    max_ratio=1.0,
    divisor="auto",
    allocation=None,
    latency=None,
    loss=None,
    told=lambda text: None,
) -> Chosen:
    """What stays by one of `ratio`, `threshold` and `plan`.

    Args:
        loss: On the subject's data, for criteria that need one.
        told: Called with each sentence that the user should see at once.
        (others): See `Pruner.prune`.
    """
    by_group = isinstance(allocation, Mapping) and ratio is None
    exactly_one(
        ratio=ratio,
        threshold=threshold,
        plan=plan,
        allocation=allocation if by_group else None,
    )
    limits = Limits(min_channels, max_ratio, divisor)
    channels = subject.like_mine(model)
    living = living_units(subject.model if model is None else model, channels)
    if plan is not None:
        return _replayed(subject, plan, channels, living)
    asked = Request(ratio, threshold, of, limits, allocation)
    table = subject.costs(channels, asked.metrics, latency)
    for reach in asked.reach(channels, table):
        told(str(reach))
    criterion, known = analysing.ranking(
        subject, criterion, allocation, changed=model is not None
    )
    scores = subject.scores(channels, criterion, loss)
    choice = asked.choose(channels, scores, living, known, table)
    by_curves = choice.explanation.allocation == "sensitivity"
    request = {
        **asked.as_dict(),
        "criterion": criterion.name,
        "by": "analysis" if by_curves else "criterion",
    }
    return chosen(
        subject,
        channels,
        choice.alive & living,
        str(asked),
        request,
        choice.explanation,
        table,
    )


def chosen(
    subject: Subject,
    channels: Channels,
    alive: np.ndarray,
    name: str,
    request: dict[str, Any],
    explanation: Explanation,
    table: CostTable,
) -> Chosen:
    """What stays, as a plan.

    Args:
        subject: What the plan is for.
        channels, alive, name, explanation: See `Chosen`.
        request: What was asked for, for the plan file.
        table: The costs.
    """
    plan = Plan.of(
        channels,
        alive,
        request=request,
        achieved={of: table.removed(alive, of) for of in table.metrics},
        digests={
            "graph": subject.graph_digest,
            "weights": weights_digest(channels.graph),
        },
        why=explanation.by_group(),
    )
    return Chosen(channels, alive, plan, name, explanation)


def explained(subject: Subject, plan) -> Explanation:
    """Why each group of a plan got what it got; see `Pruner.explain`."""
    return _replayed(subject, plan, subject.channels, True).explanation


def _replayed(subject, plan, channels, living) -> Chosen:
    """What stays by a plan that was made before."""
    name = "given"
    if not isinstance(plan, Plan):
        path = subject.workspace.find_plan(plan)
        name, plan = path.stem, Plan.read(path)
    plan.check_graph(subject.graph_digest)
    made_from = plan.digests.get("weights")
    digests = [weights_digest(c.graph) for c in (channels, subject.channels)]
    if made_from and made_from not in digests:
        log.warning(
            "The plan was made from other weights: its channels may not "
            "be the best ones of this model."
        )
    alive = plan.alive(channels) & living
    table = CostTable(channels)
    explanation = of_counts(
        channels, table, table.counts(alive), ["flops"], "a given", plan.why
    )
    return chosen(
        subject,
        channels,
        alive,
        f"replay-{name}",
        {"plan": name},
        explanation,
        table,
    )
