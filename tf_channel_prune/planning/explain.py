"""Why each group got what it got."""

from __future__ import annotations

import dataclasses

import numpy as np

from tf_channel_prune.channels import ChannelGroup


@dataclasses.dataclass(frozen=True)
class GroupReason:
    """What a plan does to one group, and why.

    Attributes:
        group: The group's name.
        size: How many units it has.
        kept: How many stay.
        saved: Per metric of the target, the share of the dense cost that
            this group's cut saves by itself.
        why: One sentence.
    """

    group: str
    size: int
    kept: int
    saved: dict[str, float]
    why: str


@dataclasses.dataclass(frozen=True)
class Explanation:
    """The reasons of a whole plan; it prints as a table.

    Attributes:
        allocation: How the target was shared out.
        rows: One per prunable group, in graph order.
        frozen: The groups that cannot be pruned.
        loss: The sum of the expected losses of score, by an analysis.
        bound: What that sum is at least for any plan, where it is known.
        uncounted: Layers whose FLOPs are not known: no share of FLOPs that
            is saved takes them into account.
    """

    allocation: str
    rows: list[GroupReason]
    frozen: list[ChannelGroup]
    loss: float | None = None
    bound: float | None = None
    uncounted: tuple[str, ...] = ()

    def by_group(self) -> dict[str, str]:
        """The sentences by group name, for the plan file."""
        return {row.group: row.why for row in self.rows}

    def __str__(self) -> str:
        from tf_channel_prune.report.explanation import explanation_table
        from tf_channel_prune.report.tables import to_text

        return to_text(explanation_table(self))


def explain(
    ranking, table, counts, metrics, allocation, fixed=(), packing=None
) -> Explanation:
    """Explains the counts that a ranking led to.

    Args:
        ranking: The ladders and prices.
        table: The costs.
        counts: What every group keeps.
        metrics: The metrics of the target.
        allocation: The allocation's name.
        fixed: Numbers of the groups whose share was given.
        packing: The solution by loss curves, where there is one.
    """
    down = ranking.down(counts)
    cutoff = max(
        (float(p[d - 1]) for p, d in zip(ranking.prices, down) if d),
        default=None,
    )
    rows = []
    for g, group in enumerate(ranking.groups):
        saved = _saved(table, g, int(counts[g]), metrics)
        if g in fixed:
            why = "as asked for"
        else:
            why = _why(ranking, g, int(down[g]), cutoff, allocation)
        rows.append(
            GroupReason(group.name, group.size, int(counts[g]), saved, why)
        )
    return Explanation(
        allocation,
        rows,
        [g for g in ranking.channels.groups if g.frozen],
        None if packing is None else packing.loss,
        None if packing is None else packing.bound,
        table.uncounted if "flops" in metrics else (),
    )


def of_counts(channels, table, counts, metrics, allocation, why) -> Explanation:
    """Explains counts that no ranking led to.

    Args:
        channels: The labels of the model.
        table: The costs.
        counts: What every group keeps.
        metrics: The metrics to tell the savings of.
        allocation: What to call it.
        why: One sentence for all groups, or by group name.
    """
    if isinstance(why, str):
        why = {group.name: why for group in channels.prunable}
    rows = [
        GroupReason(
            group.name,
            group.size,
            int(counts[g]),
            _saved(table, g, int(counts[g]), metrics),
            why.get(group.name, "not recorded"),
        )
        for g, group in enumerate(channels.prunable)
    ]
    return Explanation(
        allocation,
        rows,
        [g for g in channels.groups if g.frozen],
        uncounted=table.uncounted if "flops" in metrics else (),
    )


def _saved(table, g, kept, metrics):
    """What a group's cut saves in the dense model, by metric."""
    counts = np.array(table.sizes)
    counts[g] = kept
    return {of: 1 - table.relative(counts, of) for of in metrics}


_PRICE = {
    "uniform": "{:.0%} of it gone",
    "isomorphic": "rank {:.0%} among its kind",
    "sensitivity": "a loss of {:.4g}",
}


def _price(allocation, value) -> str:
    return _PRICE.get(allocation, "a score of {:.4g}").format(value)


def _why(ranking, g, down, cutoff, allocation) -> str:
    prices, ladder = ranking.prices[g], ranking.ladders[g]
    if not prices.size:
        return f"left whole: {_limit(ranking, g)} allows nothing smaller"
    if down == len(prices):
        paid = _price(allocation, prices[-1])
        return f"as far as {_limit(ranking, g)} allows, at {paid}"
    ahead = _price(allocation, prices[down])
    step = f"keeping {int(ladder[down + 1])} would be at {ahead}"
    if cutoff is None or allocation == "sensitivity":
        paid = "nothing" if not down else _price(allocation, prices[down - 1])
        return f"it pays {paid}; {step}"
    if prices[down] > cutoff:
        return f"{step}, the cut-off is at {_price(allocation, cutoff)}"
    return f"{step}; that is below the cut-off, but the target is met"


def _limit(ranking, g) -> str:
    """The limit that ends a group's ladder."""
    group = ranking.groups[g]
    limits = ranking.limits.of(group)
    last = int(ranking.ladders[g][-1])
    if last <= 1:
        return "one channel, the least,"
    if last <= group.least:
        return f"what its layers need, {group.least} channels,"
    if last - limits.step(group.size) in group.never:
        return "a layer, which adds its bias elsewhere with fewer,"
    by_ratio = group.size - int(group.size * limits.max_ratio + 1e-9)
    step = limits.step(group.size)
    if last - step < by_ratio and by_ratio >= limits.min_channels:
        return f"max_ratio={limits.max_ratio:g}"
    if last - step < limits.min_channels and limits.min_channels > 1:
        return f"min_channels={limits.min_channels}"
    return f"divisor={step}"
