"""Getting the accuracy back: recipes, distillation, iterations, resuming."""

from tf_channel_prune.finetune.distillation import Distill
from tf_channel_prune.finetune.driver import Outcome
from tf_channel_prune.finetune.driver import Trial
from tf_channel_prune.finetune.driver import finetune
from tf_channel_prune.finetune.recipes import Recipe

__all__ = ["Distill", "Outcome", "Recipe", "Trial", "finetune"]
