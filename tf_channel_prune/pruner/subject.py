"""The model that a pruner is for, and what belongs to it."""

from __future__ import annotations

import functools
import json
import logging
import pathlib
from typing import Any

from tf_channel_prune import criteria
from tf_channel_prune.api import channels_of
from tf_channel_prune.channels import ChannelGroup
from tf_channel_prune.channels import Channels
from tf_channel_prune.channels import as_patterns
from tf_channel_prune.cost import CostTable
from tf_channel_prune.cost.latency_table import as_table
from tf_channel_prune.errors import PruningError
from tf_channel_prune.graph.data import are_samples_with_targets
from tf_channel_prune.graph.digests import graph_digest
from tf_channel_prune.graph.digests import text_digest
from tf_channel_prune.graph.digests import weights_digest
from tf_channel_prune.masking import Masks
from tf_channel_prune.masking import make_sparse
from tf_channel_prune.workspace import Workspace

log = logging.getLogger("tf_channel_prune")


class Subject:
    """A dense model, its channels, and the folder for what is found.

    Args:
        model, workspace, exclude, data, loss: See `Pruner`.

    Attributes:
        channels: The labels of the model.
        groups: The groups of channels, frozen ones included.
    """

    def __init__(self, model, workspace, exclude=(), data=None, loss=None):
        self.model = model
        self.data = data
        self.loss = loss
        self.exclude = as_patterns(exclude)
        self.workspace = Workspace(workspace)
        self.channels = channels_of(model, self.exclude)
        self.groups: list[ChannelGroup] = self.channels.groups
        if not self.channels.prunable:
            reasons = dict.fromkeys(group.reason for group in self.groups)
            raise PruningError(
                f"Nothing of model {model.name!r} can be pruned: "
                f"{'; '.join(reasons) or 'no layer makes channels'}."
            )

    @functools.cached_property
    def graph_digest(self) -> str:
        return graph_digest(self.channels.graph)

    def origin(self, criterion, by="evaluate") -> dict[str, Any]:
        """What an analysis depends on.

        Args:
            criterion: Which channels of a group go first.
            by: What scores: `evaluate`, or the name of a metric on data.
        """
        units = [
            (group.name, group.units.tolist())
            for group in self.channels.prunable
        ]
        return {
            "graph": self.graph_digest,
            "weights": weights_digest(self.channels.graph),
            "groups": text_digest(json.dumps(units)),
            "criterion": criteria.get(criterion).key,
            "scoring": by,
        }

    @property
    def digest(self) -> str:
        """Another one for another graph, other weights or other excludes."""
        return text_digest(json.dumps(self.origin(None)))

    def scores(self, channels, criterion, loss=None):
        """The criterion's score of every unit, on the subject's data.

        Args:
            channels: The labels of the model.
            criterion: See `criteria.scores`.
            loss: Defaults to the subject's.
        """
        loss = self.loss if loss is None else loss
        return criteria.scores(channels, criterion, self.data, loss)

    @property
    def samples(self):
        """The data, if an analysis can score on them; else None."""
        return self.data if are_samples_with_targets(self.data) else None

    @property
    def latency_path(self) -> pathlib.Path:
        """The workspace's table of latencies."""
        return self.workspace.latency_path

    def costs(self, channels, metrics, latency=None) -> CostTable:
        """The costs of a model, with latencies where they are asked for.

        Args:
            channels: The labels of the model.
            metrics: What is asked for.
            latency: A table of latencies or its file. Defaults to the
                workspace's, if there is one.
        """
        if "latency" not in metrics:
            return CostTable(channels)
        if latency is None and self.latency_path.exists():
            latency = self.latency_path
        return CostTable(channels, latency=as_table(latency))

    def like_mine(self, model) -> Channels:
        """The labels of a model that was made from this one.

        Raises:
            PruningError: If it was not.
        """
        if model is None:
            return self.channels
        channels = channels_of(model, self.exclude)
        self._check_like_mine(model, channels)
        return channels

    def _check_like_mine(self, model, channels: Channels) -> None:
        if _outline(channels) != _outline(self.channels):
            raise PruningError(
                f"Model {model.name!r} was not made from model "
                f"{self.model.name!r}, or with another exclude: their groups "
                "of channels differ. Give a sparse model of this pruner, or "
                "make a pruner for the other model."
            )

    def rehearsed(self) -> Masks:
        """The masks of a new sparse copy that has gone the whole way once."""
        from tf_channel_prune.transform import rehearse

        sparse = make_sparse(self.channels)
        masks = Masks(sparse, self.like_mine(sparse))
        rehearse(sparse, masks)
        return masks


def _outline(channels: Channels):
    """What two models of the same making have in common."""
    return {g.name: (g.size, g.layers) for g in channels.prunable}
