"""The slim model: masked channels gone, outputs equal, always verified."""

from tf_channel_prune.transform.rehearsal import rehearse
from tf_channel_prune.transform.slim import make_slim
from tf_channel_prune.transform.slim import transform
from tf_channel_prune.transform.verify import Difference
from tf_channel_prune.transform.verify import compare

__all__ = ["Difference", "compare", "make_slim", "rehearse", "transform"]
