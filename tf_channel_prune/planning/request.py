"""What is asked of a plan, and the plan that answers it."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from tf_channel_prune.analysis import Sensitivity
from tf_channel_prune.channels import Channels
from tf_channel_prune.errors import PruningError
from tf_channel_prune.planning.limits import Limits
from tf_channel_prune.planning.prices import loss_prices
from tf_channel_prune.planning.prices import measured_prices
from tf_channel_prune.planning.search import check_target
from tf_channel_prune.planning.search import check_threshold
from tf_channel_prune.planning.search import plan_for_ratio
from tf_channel_prune.planning.search import plan_for_threshold


def exactly_one(**targets) -> None:
    """Raises unless one of the targets, and only one, is given."""
    given = [name for name, value in targets.items() if value is not None]
    if len(given) != 1:
        raise PruningError(
            f"Give exactly one of {', '.join(targets)}; got "
            f"{' and '.join(given) or 'none'}."
        )


@dataclasses.dataclass(frozen=True)
class Request:
    """A target and what holds on the way to it.

    Attributes:
        ratio: Share of the dense cost to remove, or None.
        threshold: Loss of score that each group may cause, or None.
        of: What cost the ratio is of.
        limits: What holds for every group.

    Raises:
        PruningError: If the request makes no sense.
    """

    ratio: float | None = None
    threshold: float | None = None
    of: str = "flops"
    limits: Limits = dataclasses.field(default_factory=Limits)

    def __post_init__(self):
        if self.threshold is None:
            check_target(self.ratio, self.of)
        else:
            check_threshold(self.threshold)

    def plan(
        self,
        channels: Channels,
        scores: np.ndarray,
        living: np.ndarray | None = None,
        sensitivity: Sensitivity | None = None,
    ) -> np.ndarray:
        """Boolean per unit: what stays.

        Args:
            channels: The labels of the model.
            scores: Per unit, comparable across groups; larger stays longer.
            living: Units that are still there. Defaults to all.
            sensitivity: The analysis; a threshold cannot do without.

        Raises:
            TargetError: If no allowed plan removes that much.
            PruningError: If a threshold has no analysis.
        """
        if self.threshold is None:
            prices = loss_prices(sensitivity) if sensitivity else None
            return plan_for_ratio(
                channels,
                scores,
                self.ratio,
                self.of,
                self.limits,
                alive=living,
                prices=prices,
            )
        if sensitivity is None:
            raise PruningError(
                "A threshold is a loss of score in the analysis, and there is "
                "no finished one of this model: call ana(evaluate) first."
            )
        return plan_for_threshold(
            channels,
            scores,
            self.threshold,
            measured_prices(sensitivity),
            self.limits,
            living,
        )

    def as_dict(self) -> dict[str, Any]:
        """For the plan file."""
        target = {"threshold": self.threshold}
        if self.threshold is None:
            target = {"ratio": self.ratio, "of": self.of}
        return {**target, **dataclasses.asdict(self.limits)}

    def __str__(self) -> str:
        if self.threshold is None:
            return f"{self.of}-{self.ratio:g}"
        return f"threshold-{self.threshold:g}"
