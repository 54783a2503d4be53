"""How much each unit of channels matters.

A criterion turns the weight slices that are coupled in a unit into one number;
larger matters more. Scores are compared within a group as they are, and across
groups after normalisation (see `normalised`).
"""

from tf_channel_prune.criteria.base import Criterion
from tf_channel_prune.criteria.base import get
from tf_channel_prune.criteria.base import normalised
from tf_channel_prune.criteria.magnitude import L1
from tf_channel_prune.criteria.magnitude import L2

__all__ = ["L1", "L2", "Criterion", "get", "normalised"]
