"""One class per family of operations; see the README one folder up."""

from tf_channel_prune.channels.rules import activations  # noqa: F401
from tf_channel_prune.channels.rules import attention  # noqa: F401
from tf_channel_prune.channels.rules import contractions  # noqa: F401
from tf_channel_prune.channels.rules import convolutions  # noqa: F401
from tf_channel_prune.channels.rules import dense  # noqa: F401
from tf_channel_prune.channels.rules import einsum_dense  # noqa: F401
from tf_channel_prune.channels.rules import embedding  # noqa: F401
from tf_channel_prune.channels.rules import merging  # noqa: F401
from tf_channel_prune.channels.rules import normalization  # noqa: F401
from tf_channel_prune.channels.rules import ops_contraction  # noqa: F401
from tf_channel_prune.channels.rules import ops_elementwise  # noqa: F401
from tf_channel_prune.channels.rules import ops_joining  # noqa: F401
from tf_channel_prune.channels.rules import ops_movement  # noqa: F401
from tf_channel_prune.channels.rules import ops_nn  # noqa: F401
from tf_channel_prune.channels.rules import ops_reduction  # noqa: F401
from tf_channel_prune.channels.rules import ops_slicing  # noqa: F401
from tf_channel_prune.channels.rules import pooling  # noqa: F401
from tf_channel_prune.channels.rules import preprocessing  # noqa: F401
from tf_channel_prune.channels.rules import recurrent  # noqa: F401
from tf_channel_prune.channels.rules import reshaping  # noqa: F401
from tf_channel_prune.channels.rules import sources  # noqa: F401
from tf_channel_prune.channels.rules import tf_shape  # noqa: F401
from tf_channel_prune.channels.rules import wrappers  # noqa: F401
from tf_channel_prune.channels.rules.base import Change
from tf_channel_prune.channels.rules.base import Kept
from tf_channel_prune.channels.rules.base import Product
from tf_channel_prune.channels.rules.base import Rule
from tf_channel_prune.channels.rules.base import register
from tf_channel_prune.channels.rules.base import rule_for
from tf_channel_prune.channels.rules.registration import register_rule

__all__ = [
    "Change",
    "Kept",
    "Product",
    "Rule",
    "register",
    "register_rule",
    "rule_for",
]
