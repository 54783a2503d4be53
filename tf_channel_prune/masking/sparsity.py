"""How much of a model is masked."""

from __future__ import annotations

from tf_channel_prune.cost import CostTable
from tf_channel_prune.cost import check_metric
from tf_channel_prune.masking.masks import Masks


def sparsity(model, of: str) -> float:
    """The share of the dense cost that is masked; see `api.sparsity`."""
    check_metric(of)
    masks = Masks(model)
    return CostTable(masks.channels).removed(masks.alive(), of)
