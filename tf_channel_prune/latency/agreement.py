"""Predicted against measured latency."""

from __future__ import annotations

import dataclasses

import numpy as np

from tf_channel_prune.cost import CostTable
from tf_channel_prune.cost.latency_table import LatencyTable
from tf_channel_prune.errors import PruningError
from tf_channel_prune.latency.filling import for_one_sample
from tf_channel_prune.latency.targets import WHOLE_SECONDS
from tf_channel_prune.latency.timing import fastest
from tf_channel_prune.masking import Masks


@dataclasses.dataclass(frozen=True)
class Agreement:
    """A table's prediction for a sparse model, and what was measured.

    Attributes:
        predicted: Microseconds of the slim model, by the table.
        measured: Microseconds of the slim model.
        baseline_predicted, baseline_measured: Of the dense model. The two
            models are measured in turns.
    """

    predicted: float
    measured: float
    baseline_predicted: float
    baseline_measured: float

    @property
    def predicted_share(self) -> float:
        """Slim over dense, by the table."""
        return self.predicted / self.baseline_predicted

    @property
    def measured_share(self) -> float:
        """Slim over dense, as measured."""
        return self.measured / self.baseline_measured

    def __str__(self) -> str:
        return (
            f"latency predicted {self.predicted:.0f} us, "
            f"{self.predicted_share:.1%} of the dense model's; measured "
            f"{self.measured:.0f} us, {self.measured_share:.1%}"
        )


def agreement(
    sparse, table: LatencyTable, target, seconds: float = 2 * WHOLE_SECONDS
) -> Agreement:
    """Predicts a sparse model's latency and measures it.

    Args:
        sparse: A sparse model.
        table: The measured segments of the model.
        target: Where to measure; what the table was measured on.
        seconds: How long to measure.

    Raises:
        PruningError: If the target cannot run models on this machine.
    """
    if not hasattr(target, "runner"):
        raise PruningError(
            "A latency that another machine measures is compared there: "
            "write the slim model with tcp.export.litert and time it."
        )
    masks = Masks(sparse)
    channels, alive = masks.channels, masks.alive()
    costs = CostTable(channels, latency=table)
    full = np.ones_like(alive)
    dense, slim = fastest(
        [
            target.runner(for_one_sample(channels, which))
            for which in (full, alive)
        ],
        seconds,
        target.clock,
    )
    return Agreement(
        costs.total(costs.counts(alive), "latency"),
        slim,
        costs.total(costs.sizes, "latency"),
        dense,
    )
