"""Labels, rules and groups: the core of the package, without Keras.

See README.md in this folder for the idea.
"""

from tf_channel_prune.channels.groups import ChannelGroup
from tf_channel_prune.channels.groups import Channels
from tf_channel_prune.channels.walk import understood

__all__ = ["ChannelGroup", "Channels", "understood"]
