"""Labels, rules and groups: the core of the package, without Keras.

See README.md in this folder for the idea.
"""

from tf_channel_prune.channels.groups import INPUT
from tf_channel_prune.channels.groups import ChannelGroup
from tf_channel_prune.channels.groups import Channels
from tf_channel_prune.channels.rules import Change
from tf_channel_prune.channels.rules import Product
from tf_channel_prune.channels.rules import Rule
from tf_channel_prune.channels.rules import register_rule
from tf_channel_prune.channels.walk import as_patterns
from tf_channel_prune.channels.walk import understood

__all__ = [
    "INPUT",
    "Change",
    "ChannelGroup",
    "Channels",
    "Product",
    "Rule",
    "as_patterns",
    "register_rule",
    "understood",
]
