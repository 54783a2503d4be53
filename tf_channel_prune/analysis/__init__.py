"""`ana`: how much the score suffers when one group alone is pruned.

`steps` lists what is to be evaluated, `analyse` does it, one result on disk
before the next is begun, and `Sensitivity` is the result. Plain NumPy: the
model is behind the function that measures.
"""

from tf_channel_prune.analysis.fast import curves_of
from tf_channel_prune.analysis.run import RATIOS
from tf_channel_prune.analysis.run import Step
from tf_channel_prune.analysis.run import analyse
from tf_channel_prune.analysis.run import analyse_many
from tf_channel_prune.analysis.run import assemble
from tf_channel_prune.analysis.run import check_ratios
from tf_channel_prune.analysis.run import score_of
from tf_channel_prune.analysis.run import sizes_of
from tf_channel_prune.analysis.run import steps
from tf_channel_prune.analysis.sensitivity import Sensitivity
from tf_channel_prune.analysis.sensitivity import removed_at

__all__ = [
    "RATIOS",
    "Sensitivity",
    "Step",
    "analyse",
    "analyse_many",
    "assemble",
    "check_ratios",
    "curves_of",
    "removed_at",
    "score_of",
    "sizes_of",
    "steps",
]
