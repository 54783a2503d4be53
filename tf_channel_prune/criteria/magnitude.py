"""Criteria on the weights alone."""

from __future__ import annotations

import numpy as np

from tf_channel_prune.criteria.base import STATISTICS
from tf_channel_prune.criteria.base import Criterion
from tf_channel_prune.errors import PruningError


class L1(Criterion):
    """Sum of absolute weights (Li et al., ICLR 2017, section 3.1)."""

    name = "l1"

    def elements(self, array):
        return np.abs(array)


class L2(Criterion):
    """Sum of squared weights: the group norm of DepGraph.

    Fang et al., CVPR 2023, equation 4, with p = 2 and all coupled slices.
    """

    name = "l2"

    def elements(self, array):
        return np.square(array)


class BNScale(Criterion):
    """Absolute BatchNormalization scale.

    Network Slimming (Liu et al., ICCV 2017, section 3.2); where several
    layers scale a unit, their mean.
    """

    name = "bn_scale"
    reduction = "mean"
    normalisation = "none"

    def elements(self, array):
        return np.abs(array)

    def counts(self, slices):
        return slices.weight.name.rsplit("/", 1)[-1] == "gamma"

    def reduced(self, channels, value):
        scores = super().reduced(channels, value)
        without = [
            group.name
            for group in channels.prunable
            if not scores[group.units].any()
        ]
        if without:
            raise PruningError(
                "The criterion 'bn_scale' needs a scale in every group; "
                f"{', '.join(map(repr, without[:5]))} "
                f"{'has' if len(without) == 1 else 'have'} none. Exclude "
                "them, or take another criterion."
            )
        return scores


class FPGM(Criterion):
    """Sum of Euclidean distances to the other slices of the group.

    A filter near the geometric median can be replaced by the others (He et
    al., CVPR 2019, equations 4 and 6); here also for the consuming slices.
    """

    name = "fpgm"
    skips = (*STATISTICS, "bias", "beta")

    def rows(self, rows):
        rows = rows.astype(np.float64)
        square = np.square(rows).sum(axis=1)
        gaps = square[:, None] + square[None, :] - 2 * rows @ rows.T
        np.fill_diagonal(gaps, 0.0)
        return np.sqrt(np.maximum(gaps, 0.0)).sum(axis=1)


class LAMP(Criterion):
    """Squared norm over the squared norms of all that are not smaller.

    Lee et al., ICLR 2021, equation 3, for slices instead of single weights.
    It compares across layers as it is.
    """

    name = "lamp"
    reduction = "mean"
    normalisation = "none"
    skips = (*STATISTICS, "bias", "beta")

    def rows(self, rows):
        norms = np.square(rows.astype(np.float64)).sum(axis=1)
        order = np.argsort(norms, kind="stable")
        left = np.cumsum(norms[order][::-1])[::-1]
        scores = np.zeros_like(norms)
        scores[order] = norms[order] / np.maximum(left, np.finfo(float).tiny)
        return scores


class Random(Criterion):
    """Uniform numbers: what every other criterion must beat.

    Args:
        seed: Defaults to 0.
    """

    name = "random"
    normalisation = "none"

    def __init__(self, seed: int = 0):
        super().__init__()
        self.seed = seed

    def score(self, channels, data=None, loss=None):
        rng = np.random.default_rng(self.seed)
        return rng.random(channels.unit_count)
