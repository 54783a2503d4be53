"""Channel pruning for Keras: a trained model goes in, a smaller one comes out.

import tf_channel_prune as tcp

sparse = tcp.prune(model, ratio=0.5)  # masks, same shapes
sparse.compile(...); sparse.fit(...)  # masks hold by themselves
slim = tcp.transform(sparse)          # ordinary, smaller, equal
"""

# Two functions have the names of the rooms that they stand before. Python binds
# a room to its name here when it is first imported, so that must come first.
import tf_channel_prune.cost
import tf_channel_prune.transform  # noqa: F401
from tf_channel_prune.api import channel_groups
from tf_channel_prune.api import compare_latency
from tf_channel_prune.api import cost
from tf_channel_prune.api import make_sparse
from tf_channel_prune.api import measure_latency
from tf_channel_prune.api import prune
from tf_channel_prune.api import recalibrate
from tf_channel_prune.api import sparsity
from tf_channel_prune.api import transform
from tf_channel_prune.channels import Change
from tf_channel_prune.channels import Product
from tf_channel_prune.channels import Rule
from tf_channel_prune.channels import register_rule
from tf_channel_prune.cost import LatencyTable
from tf_channel_prune.criteria import Criterion
from tf_channel_prune.errors import PruningError
from tf_channel_prune.finetune import Distill
from tf_channel_prune.finetune import Recipe
from tf_channel_prune.masking.registration import register_holders
from tf_channel_prune.pruner import Pruner

__version__ = "0.1.0"

__all__ = [
    "Change",
    "Criterion",
    "Distill",
    "LatencyTable",
    "Product",
    "Pruner",
    "PruningError",
    "Recipe",
    "Rule",
    "callbacks",
    "channel_groups",
    "compare_latency",
    "cost",
    "export",
    "make_sparse",
    "measure_latency",
    "prune",
    "recalibrate",
    "register_rule",
    "sparsity",
    "transform",
]

register_holders()


def __getattr__(name: str):
    # Callbacks subclass Keras', which takes seconds to import.
    if name == "callbacks":
        from tf_channel_prune.masking import callbacks

        return callbacks
    if name == "export":
        import importlib

        return importlib.import_module("tf_channel_prune.export")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
