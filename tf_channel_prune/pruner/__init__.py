"""`Pruner`: the verbs over a workspace.

`subject` holds the model and what belongs to it; `analysing`, `choosing` and
`running` do the work of one verb each; `pruner` is the class that users see.
"""

from tf_channel_prune.pruner.pruner import Pruner

__all__ = ["Pruner"]
