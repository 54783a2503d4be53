"""From a target to a plan: which channels stay.

A *ladder* lists the counts that a group may keep (limits and divisor built
in). A *ranking* orders all rungs of all ladders by how little they hurt. A
target is met by the shortest prefix of the ranking whose cost is low enough,
after which rungs that are not needed are put back.
"""

from tf_channel_prune.planning.limits import Limits
from tf_channel_prune.planning.plan import Plan
from tf_channel_prune.planning.prices import loss_prices
from tf_channel_prune.planning.prices import measured_prices
from tf_channel_prune.planning.request import Request
from tf_channel_prune.planning.request import exactly_one
from tf_channel_prune.planning.search import plan_for_ratio
from tf_channel_prune.planning.search import plan_for_threshold

__all__ = [
    "Limits",
    "Plan",
    "Request",
    "exactly_one",
    "loss_prices",
    "measured_prices",
    "plan_for_ratio",
    "plan_for_threshold",
]
