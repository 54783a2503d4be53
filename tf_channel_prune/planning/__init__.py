"""From a target to a plan: which channels stay.

A *ladder* lists the counts that a group may keep (limits and divisor built
in). An *allocation* gives every rung of every ladder a price; a *ranking*
orders them. A *budget* is met by the shortest prefix of the ranking whose
costs are low enough, or, with loss curves, by the plan with the least sum of
losses (`knapsack`); then rungs that are not needed are put back.
"""

from tf_channel_prune.planning.budget import Budget
from tf_channel_prune.planning.budget import Reach
from tf_channel_prune.planning.budget import reachable
from tf_channel_prune.planning.candidates import Candidate
from tf_channel_prune.planning.candidates import Candidates
from tf_channel_prune.planning.candidates import check_candidates
from tf_channel_prune.planning.explain import Explanation
from tf_channel_prune.planning.explain import GroupReason
from tf_channel_prune.planning.limits import Limits
from tf_channel_prune.planning.plan import Plan
from tf_channel_prune.planning.prices import loss_prices
from tf_channel_prune.planning.prices import measured_prices
from tf_channel_prune.planning.request import DEFAULT_ALLOCATION
from tf_channel_prune.planning.request import Choice
from tf_channel_prune.planning.request import Request
from tf_channel_prune.planning.request import exactly_one
from tf_channel_prune.planning.search import plan_for_ratio
from tf_channel_prune.planning.search import plan_for_threshold

__all__ = [
    "DEFAULT_ALLOCATION",
    "Budget",
    "Candidate",
    "Candidates",
    "Choice",
    "Explanation",
    "GroupReason",
    "Limits",
    "Plan",
    "Reach",
    "Request",
    "check_candidates",
    "exactly_one",
    "loss_prices",
    "measured_prices",
    "plan_for_ratio",
    "plan_for_threshold",
    "reachable",
]
