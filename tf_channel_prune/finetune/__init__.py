"""Getting the accuracy back: recipes, distillation, iterations, resuming."""

from tf_channel_prune.finetune.distillation import Distill
from tf_channel_prune.finetune.distillation import as_distill
from tf_channel_prune.finetune.distillation import check_teacher
from tf_channel_prune.finetune.driver import Outcome
from tf_channel_prune.finetune.driver import Trial
from tf_channel_prune.finetune.driver import check
from tf_channel_prune.finetune.driver import circumstances
from tf_channel_prune.finetune.driver import finetune
from tf_channel_prune.finetune.driver import origin
from tf_channel_prune.finetune.own_training import train_by
from tf_channel_prune.finetune.recipes import Recipe
from tf_channel_prune.finetune.recipes import as_recipes
from tf_channel_prune.finetune.rounds import Round
from tf_channel_prune.finetune.rounds import Run
from tf_channel_prune.finetune.rounds import read_run
from tf_channel_prune.finetune.run import run
from tf_channel_prune.finetune.targets import STEPS
from tf_channel_prune.finetune.targets import Target
from tf_channel_prune.finetune.trying import check_batch

__all__ = [
    "STEPS",
    "Distill",
    "Outcome",
    "Recipe",
    "Round",
    "Run",
    "Target",
    "Trial",
    "as_distill",
    "as_recipes",
    "check",
    "check_batch",
    "check_teacher",
    "circumstances",
    "finetune",
    "origin",
    "read_run",
    "run",
    "train_by",
]
