"""What is asked of a plan, and the plan that answers it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from tf_channel_prune.analysis import Sensitivity
from tf_channel_prune.channels import Channels
from tf_channel_prune.cost import CostTable
from tf_channel_prune.errors import PruningError
from tf_channel_prune.numbers import make_plain
from tf_channel_prune.planning import allocation as allocations
from tf_channel_prune.planning.budget import Budget
from tf_channel_prune.planning.budget import Reach
from tf_channel_prune.planning.budget import reachable
from tf_channel_prune.planning.budget import unreachable
from tf_channel_prune.planning.explain import Explanation
from tf_channel_prune.planning.explain import explain
from tf_channel_prune.planning.knapsack import finite_losses
from tf_channel_prune.planning.knapsack import loss_of
from tf_channel_prune.planning.knapsack import pack
from tf_channel_prune.planning.limits import Limits
from tf_channel_prune.planning.prices import loss_prices
from tf_channel_prune.planning.prices import measured_prices
from tf_channel_prune.planning.search import Ranking
from tf_channel_prune.planning.search import cheapest_counts
from tf_channel_prune.planning.search import check_threshold
from tf_channel_prune.planning.search import put_back

# What is taken without an analysis; see docs/results.md, "Choosing".
DEFAULT_ALLOCATION = "global"


def exactly_one(**targets) -> None:
    """Raises unless one of the targets, and only one, is given."""
    given = [name for name, value in targets.items() if value is not None]
    if len(given) != 1:
        raise PruningError(
            f"Give exactly one of {', '.join(targets)}; got "
            f"{' and '.join(given) or 'none'}."
        )


@dataclasses.dataclass(frozen=True, eq=False)
class Choice:
    """What stays, and why.

    Attributes:
        alive: Boolean per unit.
        explanation: One reason a group.
    """

    alive: np.ndarray
    explanation: Explanation


@dataclasses.dataclass(frozen=True)
class Request:
    """A target and what holds on the way to it.

    Attributes:
        ratio: Share of the dense cost to remove, or the most to leave, or
            several by metric (see `Budget`); None with a threshold, or where
            `allocation` says it all.
        threshold: Loss of score that each group may cause, or None.
        of: What cost a single ratio is of.
        limits: What holds for every group.
        allocation: How the target is shared out: `uniform`, `global`,
            `isomorphic`, `sensitivity`, shares to remove by pattern of group
            or layer names (the rest of the target goes to the other groups),
            or None: `sensitivity` with an analysis, else the default.

    Raises:
        PruningError: If the request makes no sense.
    """

    ratio: Any = None
    threshold: float | None = None
    of: str = "flops"
    limits: Limits = dataclasses.field(default_factory=Limits)
    allocation: str | Mapping[str, float] | None = None

    def __post_init__(self):
        make_plain(self)
        if self.allocation is not None:
            allocations.check(self.allocation)
        if self.threshold is not None:
            check_threshold(self.threshold)
        elif self.ratio is not None or not self._given:
            self.budget()

    @property
    def _given(self) -> bool:
        return isinstance(self.allocation, Mapping)

    def budget(self) -> Budget:
        """The targets."""
        return Budget.of(self.ratio, self.of)

    @property
    def metrics(self) -> list[str]:
        """The costs that the target is of."""
        return [self.of] if self.ratio is None else [*self.budget().targets]

    def reach(self, channels: Channels, table=None) -> list[Reach]:
        """How far each cost of the target can be cut.

        Args:
            channels: The labels of the model.
            table: The graph's cost table, if there is one already.
        """
        if self.ratio is None:
            return []
        fixed = self._fixed(channels)
        return reachable(channels, self.limits, table, self.metrics, fixed)

    def check_reach(self, channels: Channels, table=None) -> list[Reach]:
        """How far each cost can be cut, after a check of the targets.

        Args:
            channels: The labels of the model.
            table: The graph's cost table, if there is one already.

        Raises:
            TargetError: If one of them cannot be reached within the limits.
        """
        table = table or CostTable(channels)
        reached = self.reach(channels, table)
        caps = self.budget().caps(table)
        if any(reach.least > caps[reach.metric] for reach in reached):
            raise unreachable(self.budget(), reached, channels)
        return reached

    def plan(self, channels, scores, living=None, sensitivity=None):
        """Boolean per unit: what stays; see `choose`."""
        return self.choose(channels, scores, living, sensitivity).alive

    def choose(
        self,
        channels: Channels,
        scores: np.ndarray,
        living: np.ndarray | None = None,
        sensitivity: Sensitivity | None = None,
        table: CostTable | None = None,
    ) -> Choice:
        """What stays, and why.

        Args:
            channels: The labels of the model.
            scores: Per unit, comparable across groups; larger stays longer.
            living: Units that are still there. Defaults to all.
            sensitivity: The analysis; a threshold and the allocation
                `sensitivity` cannot do without.
            table: The graph's cost table, if there is one already.

        Raises:
            TargetError: If no allowed plan removes that much.
            PruningError: If an analysis is needed and there is none.
        """
        if self.threshold is not None:
            return self._by_threshold(
                channels, scores, living, sensitivity, table
            )
        table = table or CostTable(channels)
        fixed = self._fixed(channels)
        name = self._allocation(sensitivity)
        ranking = Ranking(
            channels,
            scores,
            self.limits,
            living,
            self._prices(name, channels, scores, living, sensitivity),
            fixed,
        )
        counts, packing = self._counts(name, ranking, table)
        return Choice(
            ranking.alive(counts),
            explain(ranking, table, counts, self.metrics, name, fixed, packing),
        )

    def _fixed(self, channels: Channels) -> dict[int, int]:
        """Kept counts by group number, where shares are given by group."""
        if not self._given:
            return {}
        return allocations.given_counts(channels, self.allocation, self.limits)

    def _allocation(self, sensitivity) -> str:
        """The name of the allocation of what is not given by group."""
        if isinstance(self.allocation, str):
            name = self.allocation
        else:
            name = "sensitivity" if sensitivity else DEFAULT_ALLOCATION
        if name == "sensitivity" and sensitivity is None:
            raise PruningError(
                'allocation="sensitivity" needs a finished analysis of this '
                "model: call ana first."
            )
        return name

    def _prices(self, name, channels, scores, living, sensitivity):
        if name == "uniform":
            return allocations.uniform_prices()
        if name == "isomorphic":
            return allocations.isomorphic_prices(channels, scores, living)
        if name == "sensitivity":
            return loss_prices(sensitivity)
        return None

    def _counts(self, name, ranking, table):
        """Kept counts, and how they were packed."""
        if self.ratio is None:
            return ranking.counts(0), None
        budget = self.budget()
        if name != "sensitivity":
            return cheapest_counts(ranking, table, budget), None
        finite_losses(ranking)
        caps = budget.caps(table)
        packing = pack(ranking, table, caps)
        if packing is None:
            raise unreachable(
                budget,
                self.reach(ranking.channels, table),
                ranking.channels,
            )
        counts = put_back(ranking, table, caps, packing.counts)
        return counts, dataclasses.replace(
            packing, counts=counts, loss=loss_of(ranking, counts)
        )

    def _by_threshold(self, channels, scores, living, sensitivity, table):
        if sensitivity is None:
            raise PruningError(
                "A threshold is a loss of score in the analysis, and there is "
                "no finished one of this model: call ana(evaluate) first."
            )
        table = table or CostTable(channels)
        prices = measured_prices(sensitivity)
        ranking = Ranking(channels, scores, self.limits, living, prices)
        counts = ranking.counts_at(self.threshold)
        return Choice(
            ranking.alive(counts),
            explain(ranking, table, counts, [self.of], "sensitivity"),
        )

    def as_dict(self) -> dict[str, Any]:
        """For the plan file."""
        if self.threshold is not None:
            target: dict[str, Any] = {"threshold": self.threshold}
        elif self.ratio is None:
            target = {}
        elif isinstance(self.ratio, Mapping):
            target = {"ratio": dict(self.ratio)}
        else:
            target = {"ratio": self.ratio, "of": self.of}
        shares = self.allocation
        if isinstance(shares, Mapping):
            shares = dict(shares)
        if shares is not None:
            target["allocation"] = shares
        return {**target, **self.limits.as_dict()}

    def __str__(self) -> str:
        if self.threshold is not None:
            return f"threshold-{self.threshold:g}"
        return "given" if self.ratio is None else str(self.budget())
