"""Tries the whole road before a long piece of work starts on it."""

from __future__ import annotations

import numpy as np

from tf_channel_prune.channels import ChannelGroup
from tf_channel_prune.errors import PruningError
from tf_channel_prune.errors import VerificationError
from tf_channel_prune.graph.outputs import references
from tf_channel_prune.masking import Masks
from tf_channel_prune.transform.slim import make_slim
from tf_channel_prune.transform.verify import check_equal

# The hardest that an analysis does, and one where enough of the model is
# left for its outputs to say something.
SHARES = (0.9, 0.5)


def rehearse(sparse, masks: Masks, shares=SHARES) -> None:
    """Prunes every group, rebuilds, compares; the model stays as it was.

    Args:
        sparse: A sparse model with nothing masked.
        masks: Its masks.
        shares: Which shares of every group to prune.

    Raises:
        PruningError: If the slim model cannot be made or differs, with the
            names of the layers that are to blame.
    """
    for share in shares:
        groups = masks.channels.prunable
        error = _attempt(sparse, masks, groups, share)
        if error is None:
            continue
        guilty = _narrowed(sparse, masks, groups, share)
        layers = list(dict.fromkeys(n for g in guilty for n in g.layers))
        raise PruningError(
            "The model cannot be pruned as it is: without "
            f"{share:.0%} of the channels of {', '.join(map(repr, layers))}, "
            f"{_sentence(error)} Exclude them, or report the model."
        ) from error


def _attempt(sparse, masks, groups: list[ChannelGroup], share):
    """The error that pruning these groups leads to, or None."""
    alive = np.ones(masks.channels.unit_count, bool)
    for group in groups:
        left = group.size - int(group.size * share + 0.5)
        dead = group.size - group.allowed(left)
        # Every unit but a few at even distances, to tell positions apart.
        order = np.argsort(np.arange(group.size) * 0.618 % 1, kind="stable")
        alive[group.units[order[:dead]]] = False
    with masks.trial(alive):
        try:
            expected = references(sparse, masks.channels.graph)
            slim = make_slim(masks.channels, alive)
            check_equal(expected, slim, masks.channels, alive)
        except Exception as error:  # layers may raise anything
            return error
    return None


def _narrowed(sparse, masks, groups, share):
    """The fewest groups that fail together, by halving while a half fails."""
    while len(groups) > 1:
        middle = len(groups) // 2
        for half in (groups[:middle], groups[middle:]):
            if _attempt(sparse, masks, half, share) is not None:
                groups = half
                break
        else:
            break
    return groups


def _sentence(error) -> str:
    if isinstance(error, VerificationError):
        return "the rebuilt model's outputs differ."
    text = str(error).strip().splitlines() or [type(error).__name__]
    return f"rebuilding it fails with: {text[0].rstrip('.')}."
