"""What a model costs, as arithmetic on how many channels stay.

Every cost is a sum of products of axis sizes, and every axis size is a
constant plus multiples of the groups' kept counts. So the cost of a plan is a
few array operations, never a model build.

Convention: a multiply-add is two FLOPs; only multiply-adds of convolutions,
dense layers and other contractions count (biases, normalisation, activations
and pooling do not), for one sample. Parameters count every weight once,
BatchNormalization statistics included, as Keras' `count_params` does.
Activation bytes are the outputs of all operations, for one sample.
"""

from tf_channel_prune.cost.latency_table import LatencyTable
from tf_channel_prune.cost.report import Cost
from tf_channel_prune.cost.report import LayerCost
from tf_channel_prune.cost.report import measure
from tf_channel_prune.cost.table import METRICS
from tf_channel_prune.cost.table import PRODUCT_METRICS
from tf_channel_prune.cost.table import CostTable
from tf_channel_prune.cost.table import check_metric

__all__ = [
    "METRICS",
    "PRODUCT_METRICS",
    "Cost",
    "CostTable",
    "LatencyTable",
    "LayerCost",
    "check_metric",
    "measure",
]
