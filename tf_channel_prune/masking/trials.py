"""Scores of a sparse model with one group pruned, for a fast analysis."""

from __future__ import annotations

import dataclasses
import functools
import numbers
from collections.abc import Sequence

import numpy as np

from tf_channel_prune.analysis.fast import Effort
from tf_channel_prune.analysis.fast import InMemory
from tf_channel_prune.analysis.fast import analyse_fast
from tf_channel_prune.analysis.run import RATIOS
from tf_channel_prune.analysis.sensitivity import Sensitivity
from tf_channel_prune.channels import ChannelGroup
from tf_channel_prune.channels import Channels
from tf_channel_prune.cost import CostTable
from tf_channel_prune.errors import PruningError
from tf_channel_prune.graph.data import count_of
from tf_channel_prune.graph.trial import Trials
from tf_channel_prune.masking.masks import Masks
from tf_channel_prune.masking.masks import make_sparse


def analyse_on_data(
    channels: Channels,
    scores: np.ndarray,
    data,
    metric="accuracy",
    loss=None,
    share: float = 1.0,
    ratios=RATIOS,
    results=None,
    masks: Masks | None = None,
    on_group=lambda group: None,
) -> tuple[Sensitivity, Effort]:
    """The fast analysis of a model; see `analysis.fast`.

    Args:
        channels: The labels of the model.
        scores: Per unit; within a group the lowest go first.
        data: Samples with targets, which can be read more than once (see
            `graph.data.kept`).
        metric: `accuracy`, `loss` (negative) or a function of `(y, y_pred)`
            with one number a sample, larger for better.
        loss: The loss, where the model is not compiled with one.
        share: The share of the samples to score on. Defaults to all.
        ratios: The shares of a group that may be tried.
        results: Where results are kept. Defaults to nowhere.
        masks: A sparse copy of the model that nobody else uses.
        on_group: Called with each group, twice; see `analyse_fast`.
    """
    masks = masks or Masks(make_sparse(channels))
    trials = GroupTrials(masks, scores, data, metric, loss, share)
    sensitivity, effort = analyse_fast(
        masks.channels, trials, results or InMemory(), ratios, on_group=on_group
    )
    return sensitivity, dataclasses.replace(
        effort, share=trials.share, evaluations=trials.evaluations
    )


def plan_scorer(masks: Masks, data, metric="accuracy", loss=None):
    """A function of a boolean per unit that gives a plan's score by sample.

    Normalisation layers use the statistics of each batch, so that a plan is
    scored as it would be with its running statistics measured anew.

    Args:
        masks: The masks of a sparse model that nobody else uses.
        data: Samples with targets, of which all are used.
        metric, loss: See `graph.trial.Trials`.
    """
    trials = Trials(masks.channels.graph, data, metric, loss)

    def score(alive: np.ndarray) -> np.ndarray:
        return trials.whole(functools.partial(masks.trial, alive))

    return score


class GroupTrials:
    """Scores, sample by sample, of groups with their worst units masked.

    Args:
        masks: The masks of a sparse model that nobody else uses; running
            statistics of its normalisation layers are overwritten.
        scores: Per unit; within a group the lowest go first.
        data: Samples with targets; see `graph.data.batches`.
        metric, loss, statistics, seed: See `Trials`.
        share: The share of the samples to use, a random choice. Defaults to
            all. Of data that are not arrays all batches are used.

    Attributes:
        channels: The labels of the sparse model.
        share: The share that is used.
    """

    def __init__(
        self,
        masks: Masks,
        scores: np.ndarray,
        data,
        metric="accuracy",
        loss=None,
        share: float = 1.0,
        statistics: bool = True,
        seed: int = 0,
    ):
        self.masks = masks
        self.channels = masks.channels
        self.scores = scores
        if not isinstance(share, numbers.Real) or not 0 < share <= 1:
            raise PruningError(
                "share is the share of the data to score on, above 0 and at "
                f"most 1; got {share!r}."
            )
        total = count_of(data)
        self.share = 1.0 if total is None else share
        table = CostTable(self.channels)
        self._trials = Trials(
            self.channels.graph,
            data,
            metric,
            loss,
            samples=None if total is None else int(np.ceil(total * share)),
            statistics=statistics,
            seed=seed,
            costs=table.by_node(table.sizes, "flops"),
        )
        self._living = masks.alive()

    @property
    def evaluations(self) -> float:
        """The work so far, in evaluations of the model on all samples."""
        return self._trials.work * self.share

    def __call__(
        self, group: ChannelGroup | None, counts: Sequence[int]
    ) -> np.ndarray:
        """Scores, shape (counts, samples), of a group without its worst units.

        Args:
            group: A prunable group; None for the model as it is.
            counts: How many units are masked.
        """
        if group is None:
            return self._trials.outcomes(0, [self._variant([])])
        # Ties go in channel order, so that every process agrees.
        order = np.argsort(self.scores[group.units], kind="stable")
        worst = group.units[order]
        variants = [self._variant(worst[:count]) for count in counts]
        return self._trials.outcomes(self._first_node(group), variants)

    def _variant(self, dead):
        alive = np.array(self._living)
        alive[dead] = False
        return functools.partial(self.masks.trial, alive)

    def _first_node(self, group) -> int:
        """The first node that a mask of the group changes."""
        for node in self.channels.graph.nodes:
            for units in self.channels.mask_units(node).values():
                if np.isin(units, group.units).any():
                    return node.index
        return 0
