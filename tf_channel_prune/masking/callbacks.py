"""Callbacks for the training of sparse models.

Masks hold without any callback. These set them on a schedule, report them,
prove that they hold, and stop when they settle.
"""

from __future__ import annotations

from tf_channel_prune.masking.gradual import GradualPruning
from tf_channel_prune.masking.schedules import Constant
from tf_channel_prune.masking.schedules import OneShot
from tf_channel_prune.masking.schedules import Polynomial
from tf_channel_prune.masking.sparsity_learning import GroupSparsity
from tf_channel_prune.masking.sparsity_learning import SlimmingL1
from tf_channel_prune.masking.watching import MaskCheck
from tf_channel_prune.masking.watching import PruningSummaries
from tf_channel_prune.masking.watching import StopWhenStable

__all__ = [
    "Constant",
    "GradualPruning",
    "GroupSparsity",
    "MaskCheck",
    "OneShot",
    "Polynomial",
    "PruningSummaries",
    "SlimmingL1",
    "StopWhenStable",
]
