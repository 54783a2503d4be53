"""The slim model: masked channels gone, outputs equal, always verified."""

from tf_channel_prune.graph.outputs import Difference
from tf_channel_prune.graph.outputs import compare
from tf_channel_prune.transform.rehearsal import rehearse
from tf_channel_prune.transform.slim import make_slim
from tf_channel_prune.transform.slim import transform

__all__ = ["Difference", "compare", "make_slim", "rehearse", "transform"]
