"""What it costs to keep fewer channels of a group, by an analysis."""

from __future__ import annotations

import numpy as np

from tf_channel_prune.analysis import Sensitivity
from tf_channel_prune.planning.search import Prices


def loss_prices(sensitivity: Sensitivity) -> Prices:
    """The loss of score by the curve of the group."""

    def prices(group, counts):
        return sensitivity.loss(group.name, 1 - counts / group.size)

    return prices


def measured_prices(sensitivity: Sensitivity) -> Prices:
    """The same, and infinite where nothing was measured."""
    losses = loss_prices(sensitivity)

    def prices(group, counts):
        share = sensitivity.measured(group.name)
        # Shares of whole counts are equal or further apart than this.
        beyond = 1 - counts / group.size > share + 1e-9
        return np.where(beyond, np.inf, losses(group, counts))

    return prices
