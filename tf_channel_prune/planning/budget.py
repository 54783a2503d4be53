"""What may be left of each cost: a share, an absolute number, or several."""

from __future__ import annotations

import dataclasses
import numbers
from collections.abc import Mapping

import numpy as np

from tf_channel_prune.channels import Channels
from tf_channel_prune.cost import CostTable
from tf_channel_prune.cost import check_metric
from tf_channel_prune.errors import PruningError
from tf_channel_prune.errors import TargetError
from tf_channel_prune.planning.limits import Limits


def check_target(ratio: float, of: str) -> None:
    """Raises unless it is a share of a cost to remove."""
    check_metric(of)
    if not isinstance(ratio, numbers.Real) or not 0 < ratio < 1:
        raise PruningError(
            "ratio is the share of the cost to remove, between 0 and 1; got "
            f"{ratio!r}. What may be left at most is a dictionary: "
            f'ratio={{"{of}": 1e6}}.'
        )


@dataclasses.dataclass(frozen=True)
class Budget:
    """Targets by metric; all of them must be met.

    Attributes:
        targets: Per metric, the share of the dense cost to remove (between 0
            and 1), or the most that may be left (1 or more; in FLOPs,
            parameters, bytes or microseconds).
    """

    targets: dict[str, float]

    @classmethod
    def of(cls, ratio, of: str = "flops") -> Budget:
        """The budget of a request.

        Args:
            ratio: The share to remove of the metric `of`, or a dictionary of
                targets by metric.
            of: The metric of a single share.

        Raises:
            PruningError: If a target makes no sense.
        """
        if not isinstance(ratio, Mapping):
            check_target(ratio, of)
            return cls({of: float(ratio)})
        targets = dict(ratio)
        if not targets:
            raise PruningError("ratio is an empty dictionary: name a target.")
        for metric, target in targets.items():
            check_metric(metric)
            real = isinstance(target, numbers.Real) and not isinstance(
                target, bool
            )
            if not real or not target > 0 or not np.isfinite(target):
                raise PruningError(
                    "ratio holds shares of costs to remove, between 0 and 1, "
                    "or what may be left at most, absolute numbers from 1 up; "
                    f"got {target!r} for {metric}."
                )
        return cls({metric: float(t) for metric, t in targets.items()})

    def caps(self, table: CostTable) -> dict[str, float]:
        """The most that may be left, by metric."""
        caps = {}
        for metric, target in self.targets.items():
            full = table.total(table.sizes, metric)
            if not full:
                raise TargetError(
                    f"No {metric} of this model are understood, so no share "
                    "of them can be removed: see the reasons in "
                    "tcp.channel_groups(model), or prune by another cost."
                )
            cap = target if target >= 1 else full * (1 - target)
            caps[metric] = cap * (1 + 1e-12) + 1e-9  # float sums
        return caps

    def __str__(self) -> str:
        return "-".join(f"{of}-{t:g}" for of, t in self.targets.items())


def within(table: CostTable, counts, caps: Mapping[str, float]) -> bool:
    """Whether a plan's costs are all within their caps."""
    return all(table.total(counts, of) <= cap for of, cap in caps.items())


# How many groups that stay whole an error names.
REASONS = 3


@dataclasses.dataclass(frozen=True)
class Reach:
    """What plans within some limits can remove of one cost.

    Attributes:
        metric: Which cost.
        full: The dense model's cost.
        least: The least that can be left.
        uncounted: Layers that cost something that is not in these numbers,
            since nobody knows how much.
    """

    metric: str
    full: float
    least: float
    uncounted: tuple[str, ...] = ()

    @property
    def ratio(self) -> float:
        """The largest share that can be removed."""
        return 1 - self.least / self.full if self.full else 0.0

    def __str__(self) -> str:
        from tf_channel_prune.report.tables import amount
        from tf_channel_prune.report.tables import not_counted

        text = (
            f"{self.metric} reachable: 0 to {self.ratio:.4f} of "
            f"{amount(self.full)} can be removed with these limits "
            f"(down to {amount(self.least)})"
        )
        return "; ".join(filter(None, (text, not_counted(self.uncounted))))


def reachable(
    channels: Channels,
    limits: Limits | None = None,
    table: CostTable | None = None,
    metrics=("flops", "params", "activation_memory"),
    fixed: Mapping[int, int] | None = None,
) -> list[Reach]:
    """How far each cost can be cut.

    Args:
        channels: The labels of a model.
        limits: What holds for every group.
        table: The graph's cost table, if there is one already.
        metrics: Which costs.
        fixed: Counts by group number, for groups that have no choice.
    """
    limits = limits or Limits()
    limits.check(channels.prunable)
    table = table or CostTable(channels)
    least = np.array([limits.ladder(g)[-1] for g in channels.prunable], int)
    for g, count in (fixed or {}).items():
        least[g] = count
    return [
        Reach(
            metric,
            table.total(table.sizes, metric),
            table.total(least, metric),
            table.uncounted if metric == "flops" else (),
        )
        for metric in metrics
    ]


def unreachable(
    budget: Budget, reached: list[Reach], channels: Channels
) -> TargetError:
    """The error for a budget that no allowed plan meets."""
    wanted = ", ".join(f"{t:g} of {of}" for of, t in budget.targets.items())
    return TargetError(
        f"ratio={wanted} cannot be reached. "
        + "; ".join(map(str, reached))
        + ". Lower the ratio, or relax min_channels, max_ratio, divisor, "
        f"exclude or allocation.{_left_whole(channels)}"
    )


def _left_whole(channels: Channels) -> str:
    """Which channels cannot go, where that is most of them; for people."""
    frozen = [group for group in channels.groups if group.frozen]
    count = sum(group.size for group in frozen)
    total = sum(group.size for group in channels.groups)
    if 2 * count <= total:
        return ""
    largest = sorted(frozen, key=lambda group: -group.size)[:REASONS]
    reasons = "; ".join(f"{g.name!r}: {g.reason}" for g in largest)
    return f" {count} of {total} channels stay whole, among them {reasons}."
