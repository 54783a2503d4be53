"""How much each unit of channels matters.

A criterion turns the weight slices that are coupled in a unit into one number;
larger matters more. Within a slice it sums; over the slices of a unit it
*reduces*; before groups are compared it *normalises*. All three are stated in
each class, and the last two can be chosen.
"""

from tf_channel_prune.criteria.base import DEFAULT
from tf_channel_prune.criteria.base import DEFAULT_WITH_CURVES
from tf_channel_prune.criteria.base import DEFAULT_WITH_DATA
from tf_channel_prune.criteria.base import Criterion
from tf_channel_prune.criteria.base import Recorded
from tf_channel_prune.criteria.base import by_group
from tf_channel_prune.criteria.base import expected
from tf_channel_prune.criteria.base import get
from tf_channel_prune.criteria.base import names
from tf_channel_prune.criteria.base import scores
from tf_channel_prune.criteria.data_driven import OBD
from tf_channel_prune.criteria.data_driven import ActivationMean
from tf_channel_prune.criteria.data_driven import APoZ
from tf_channel_prune.criteria.data_driven import Taylor
from tf_channel_prune.criteria.magnitude import FPGM
from tf_channel_prune.criteria.magnitude import L1
from tf_channel_prune.criteria.magnitude import L2
from tf_channel_prune.criteria.magnitude import LAMP
from tf_channel_prune.criteria.magnitude import BNScale
from tf_channel_prune.criteria.magnitude import Random
from tf_channel_prune.criteria.reconstruction import ThiNet

__all__ = [
    "DEFAULT",
    "DEFAULT_WITH_CURVES",
    "DEFAULT_WITH_DATA",
    "FPGM",
    "L1",
    "L2",
    "LAMP",
    "OBD",
    "APoZ",
    "ActivationMean",
    "BNScale",
    "Criterion",
    "Random",
    "Recorded",
    "Taylor",
    "ThiNet",
    "by_group",
    "expected",
    "get",
    "names",
    "scores",
]
