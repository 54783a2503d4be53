"""How a target is shared out among the groups.

An allocation is a price for every rung of every group's ladder; the cheapest
rungs go first, until the budget is met. So every allocation keeps the same
hard limits and meets a target equally closely.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tf_channel_prune.channels import Channels
from tf_channel_prune.criteria.slices import coupled
from tf_channel_prune.errors import PruningError
from tf_channel_prune.numbers import is_real
from tf_channel_prune.planning.limits import check_patterns
from tf_channel_prune.planning.limits import first_match
from tf_channel_prune.planning.search import Prices

NAMES = ("global", "isomorphic", "sensitivity", "uniform")


def check(allocation, groups=None) -> None:
    """Raises unless there is such an allocation.

    Args:
        allocation: A name, or shares to remove by pattern of group or layer
            names.
        groups: The prunable groups, to check patterns against.
    """
    if isinstance(allocation, Mapping):
        for pattern, share in allocation.items():
            if not is_real(share) or not 0 <= share < 1:
                raise PruningError(
                    f"allocation: {pattern!r} has {share!r}; expected the "
                    "share of the group to remove, from 0 to below 1."
                )
        if groups is not None:
            check_patterns("allocation", allocation, groups)
    elif allocation not in NAMES:
        raise PruningError(
            f"allocation={allocation!r}: expected one of {', '.join(NAMES)}, "
            'or shares by group, as {"conv3": 0.4, "block*": 0.2}.'
        )


def uniform_prices() -> Prices:
    """The removed share: all groups go down together."""

    def prices(group, counts):
        return 1 - counts / group.size

    return prices


def isomorphic_prices(
    channels: Channels, scores: np.ndarray, alive: np.ndarray | None = None
) -> Prices:
    """The rank among units of the same structure.

    Scores compare only between units whose slices lie in layers of the same
    kinds; every such class is ranked by itself, and the same share of each
    goes (Isomorphic Pruning: Fang et al., ECCV 2024, section 3.2).
    """
    classes = isomorphic_classes(channels)
    if alive is None:
        alive = np.ones(channels.unit_count, bool)
    members: dict[int, list] = {}
    for group, number in zip(channels.prunable, classes):
        members.setdefault(number, []).append(group)
    ranked = {
        number: np.sort(
            scores[np.concatenate([g.units[alive[g.units]] for g in groups])]
        )
        for number, groups in members.items()
    }
    by_name = dict(zip((g.name for g in channels.prunable), classes))

    def prices(group, counts):
        best = np.sort(scores[group.units[alive[group.units]]])[::-1]
        mine = ranked[by_name[group.name]]
        rank = np.searchsorted(mine, best[counts], side="right")
        return rank / mine.size

    return prices


def isomorphic_classes(channels: Channels) -> list[int]:
    """A number per prunable group, equal for groups of the same structure.

    The structure is where a unit's slices lie: the kinds of the layers, which
    of their weights, on which axis, with which window.
    """
    kinds = {
        weight.key: node.kind
        for node in channels.graph.nodes
        for weight in node.weights
    }
    numbers: dict[tuple, int] = {}
    found = []
    for _, slices in coupled(channels):
        structure = tuple(
            sorted(
                (
                    kinds[s.weight.key],
                    s.weight.name,
                    s.axis - len(s.weight.shape),
                    s.weight.shape[:-2],
                )
                for s in slices
            )
        )
        found.append(numbers.setdefault(structure, len(numbers)))
    return found


def given_counts(
    channels: Channels, allocation: Mapping[str, float], limits
) -> dict[int, int]:
    """Kept counts by group number, for groups with a share of their own.

    The share is met from above: the largest allowed count that removes at
    least as much.

    Raises:
        PruningError: If a pattern fits no group, or the limits keep more.
    """
    check(allocation, channels.prunable)
    counts = {}
    for g, group in enumerate(channels.prunable):
        share = first_match(allocation, group)
        if share is None:
            continue
        most = group.size * (1 - share) + 1e-9
        ladder = limits.ladder(group)
        allowed = ladder[ladder <= most]
        if not allowed.size:
            raise PruningError(
                f"allocation: {share:g} of group {group.name!r} "
                f"({group.size} channels) cannot be removed: the limits keep "
                f"{int(ladder[-1])}. Lower the share or relax the limits."
            )
        counts[g] = int(allowed[0])
    return counts
