"""From a target to a plan: which channels stay.

A *ladder* lists the counts that a group may keep (limits and divisor built
in). A *ranking* orders all rungs of all ladders by how little they hurt. A
target is met by the shortest prefix of the ranking whose cost is low enough,
after which rungs that are not needed are put back.
"""

from tf_channel_prune.planning.limits import Limits
from tf_channel_prune.planning.plan import Plan
from tf_channel_prune.planning.search import plan_for_ratio

__all__ = ["Limits", "Plan", "plan_for_ratio"]
