"""Getting the accuracy back: recipes, distillation, iterations, resuming."""

from tf_channel_prune.finetune.distillation import Distill
from tf_channel_prune.finetune.distillation import described
from tf_channel_prune.finetune.driver import Outcome
from tf_channel_prune.finetune.driver import Trial
from tf_channel_prune.finetune.driver import finetune
from tf_channel_prune.finetune.recipes import Recipe
from tf_channel_prune.finetune.recipes import as_recipes
from tf_channel_prune.finetune.run import Round
from tf_channel_prune.finetune.run import Run
from tf_channel_prune.finetune.run import Target
from tf_channel_prune.finetune.run import run

__all__ = [
    "Distill",
    "Outcome",
    "Recipe",
    "Round",
    "Run",
    "Target",
    "Trial",
    "as_recipes",
    "described",
    "finetune",
    "run",
]
