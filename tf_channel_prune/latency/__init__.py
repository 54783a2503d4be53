"""Latencies measured on the machine at hand, or by a function of the user.

`targets` runs a model with LiteRT or TensorFlow against the clock; `filling`
measures a model's segments at candidate widths into a table file. What is
made of the table is arithmetic, in `cost`.
"""

from tf_channel_prune.latency.agreement import Agreement
from tf_channel_prune.latency.agreement import agreement
from tf_channel_prune.latency.filling import fill
from tf_channel_prune.latency.targets import in_turns
from tf_channel_prune.latency.targets import measure
from tf_channel_prune.latency.targets import target_for

__all__ = [
    "Agreement",
    "agreement",
    "fill",
    "in_turns",
    "measure",
    "target_for",
]
