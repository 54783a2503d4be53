"""The flags of the command line, with their help."""

from __future__ import annotations

from absl import flags

from tf_channel_prune.cost import METRICS
from tf_channel_prune.finetune import STEPS
from tf_channel_prune.planning.allocation import NAMES as ALLOCATIONS

USAGE = """Prunes the channels of a trained Keras model.

  tf-channel-prune --action=flops --model=m.keras
  tf-channel-prune --action=groups --model=m.keras
  tf-channel-prune --action=ana --model=m.keras --workspace=runs/m \\
      --evaluate=mine.py:evaluate
  tf-channel-prune --action=ana --model=m.keras --workspace=runs/m \\
      --data=mine.py:data --metric=loss
  tf-channel-prune --action=prune --model=m.keras --workspace=runs/m \\
      --ratio=0.5 --output=sparse.keras
  tf-channel-prune --action=explain --model=m.keras --workspace=runs/m \\
      --plan=flops-0.5-1a2b3c4d
  tf-channel-prune --action=latency --model=m.keras --workspace=runs/m
  tf-channel-prune --action=prune --model=m.keras --workspace=runs/m \\
      --of=latency --ratio=0.5 --output=sparse.keras
  tf-channel-prune --action=search --model=m.keras --workspace=runs/m \\
      --ratio=0.5 --evaluate=mine.py:evaluate --data=mine.py:data
  tf-channel-prune --action=finetune --model=sparse.keras \\
      --train=mine.py:train --output=tuned.keras
  tf-channel-prune --action=transform --model=tuned.keras --output=slim.keras
  tf-channel-prune --action=run --model=m.keras --workspace=runs/m \\
      --ratio=0.5 --iterations=3 --evaluate=mine.py:evaluate \\
      --train=mine.py:train --output=slim.keras
  tf-channel-prune --action=report --workspace=runs/m
  tf-channel-prune --action=export --model=slim.keras --format=litert \\
      --output=slim.tflite

Functions are path/to/file.py:name. `evaluate(model)` returns a score, larger
for a better model; `train(model)` compiles and trains the model in place;
`data()` returns samples to look at or to train on: arrays (x, y), or batches.
"""


def define_flags(actions: list[str]) -> flags.FlagValues:
    """All flags, on values of their own."""
    values = flags.FlagValues()
    own = {"flag_values": values}
    flags.DEFINE_boolean("help", False, "Shows this text.", **own)
    flags.DEFINE_enum("action", None, actions, "What to do.", **own)
    flags.DEFINE_string(
        "model",
        None,
        "The model: a .keras or .h5 file, or a SavedModel folder that Keras "
        "can load. A sparse model for finetune and transform.",
        **own,
    )
    flags.DEFINE_string(
        "sparse",
        None,
        "prune: a sparse model, made from --model, to go on from.",
        **own,
    )
    flags.DEFINE_string(
        "workspace", None, "The folder for analyses, plans and models.", **own
    )
    flags.DEFINE_string(
        "output",
        None,
        "The .keras or .h5 file to write (export: the folder or file). "
        "Defaults to a name in the workspace, which is printed.",
        **own,
    )
    flags.DEFINE_float(
        "ratio",
        None,
        "prune, search, run: the share of the dense model's cost to remove.",
        **own,
    )
    flags.DEFINE_enum(
        "of",
        "flops",
        list(METRICS),
        "What cost --ratio is a share of.",
        **own,
    )
    flags.DEFINE_float(
        "threshold",
        None,
        "prune: the loss of score that each group alone may cause, by the "
        "analysis.",
        **own,
    )
    flags.DEFINE_string(
        "plan",
        None,
        "prune, explain: a plan file, or its name in --workspace.",
        **own,
    )
    _define_latency(own)
    flags.DEFINE_integer(
        "candidates", 50, "search: how many plans to score.", **own
    )
    flags.DEFINE_list(
        "exclude",
        [],
        "Names of layers, or patterns of them, that keep their channels.",
        **own,
    )
    flags.DEFINE_string(
        "criterion",
        None,
        "How channels of a group are ranked. Defaults to the package's.",
        **own,
    )
    flags.DEFINE_integer(
        "min_channels", 1, "The least that every group keeps.", **own
    )
    flags.DEFINE_float(
        "max_ratio", 1.0, "The largest share of a group that may go.", **own
    )
    flags.DEFINE_enum(
        "allocation",
        None,
        ALLOCATIONS,
        "prune: how the cut is shared out among the groups. Defaults to "
        "sensitivity with an analysis.",
        **own,
    )
    flags.DEFINE_string(
        "divisor",
        "auto",
        "What kept counts are multiples of: a number, or auto.",
        **own,
    )
    flags.DEFINE_string(
        "evaluate",
        None,
        "ana, search, finetune, run: the function that scores a model.",
        **own,
    )
    flags.DEFINE_enum(
        "metric",
        "accuracy",
        ["accuracy", "loss"],
        "ana with --data: what groups are scored by.",
        **own,
    )
    flags.DEFINE_string(
        "train",
        None,
        "finetune, run: the function that trains a model in place.",
        **own,
    )
    _define_training(own)
    flags.DEFINE_integer(
        "iterations",
        3,
        "run: into how many rounds of prune and finetune --ratio is divided.",
        **own,
    )
    flags.DEFINE_float(
        "max_drop",
        None,
        "run, instead of --ratio: the smallest model that loses at most this "
        "much of the score (0.005 is half a point of an accuracy).",
        **own,
    )
    flags.DEFINE_float(
        "tolerance",
        None,
        "run: the loss of score that a round may end with; one that loses "
        "more is tried again with half of its step. Defaults to --max_drop, "
        "or to 0.02 with --ratio.",
        **own,
    )
    flags.DEFINE_enum(
        "steps",
        "geometric",
        list(STEPS),
        "run: whether each iteration removes the same share of what is left, "
        "or the same share of the whole.",
        **own,
    )
    flags.DEFINE_boolean(
        "unsafe_load",
        False,
        "Loads models that hold Python code (Lambda layers), which then runs.",
        **own,
    )
    flags.DEFINE_enum(
        "format",
        "savedmodel",
        ["savedmodel", "litert", "onnx"],
        "export: a SavedModel folder, a LiteRT or an ONNX file.",
        **own,
    )
    flags.DEFINE_enum(
        "quantize",
        None,
        ["float16", "dynamic", "int8"],
        "export: how a LiteRT file holds numbers, if not as float32; int8 "
        "needs --data, a function that returns some hundred typical inputs.",
        **own,
    )
    flags.DEFINE_string(
        "code",
        None,
        "A Python file to run first: it defines and registers the layers and "
        "rules of your own that the model needs.",
        **own,
    )
    return values


def _define_latency(own) -> None:
    """The flags of --action=latency and --of=latency."""
    flags.DEFINE_string(
        "latency",
        None,
        "The file of a table of latencies: latency writes it; prune, search "
        "and run plan with it. Defaults to the workspace's latency.json.",
        **own,
    )
    flags.DEFINE_string(
        "target",
        "litert",
        "latency: where to measure: litert, tensorflow, or a function of the "
        "path of a LiteRT file that returns microseconds.",
        **own,
    )
    flags.DEFINE_integer(
        "threads", None, "latency: of the target. Defaults to its own.", **own
    )
    flags.DEFINE_string(
        "device", None, "latency: a name for the machine.", **own
    )


def _define_training(own) -> None:
    """The flags that say how finetune and run train."""
    flags.DEFINE_string(
        "data",
        None,
        "The function that returns data. finetune, run, instead of --train: "
        "what recipes train on; run: what a fast analysis scores groups on, "
        "too, if they are arrays (x, y). ana, instead of --evaluate: the "
        "same. prune: what a criterion looks at. search: inputs to measure "
        "running statistics on.",
        **own,
    )
    flags.DEFINE_list(
        "learning_rate",
        [],
        "With --data: initial learning rates, one recipe each; the best by "
        "--evaluate is kept. Defaults to the package's recipes.",
        **own,
    )
    flags.DEFINE_string(
        "loss",
        None,
        "With --data: the loss, by Keras' name for it. Defaults to the one "
        "that the model is compiled with.",
        **own,
    )
    flags.DEFINE_integer("epochs", None, "With --data: of a recipe.", **own)
    flags.DEFINE_integer("batch_size", None, "With --data: samples.", **own)
    flags.DEFINE_string(
        "optimizer",
        None,
        "With --data: of a recipe: sgd, adam or adamw.",
        **own,
    )
    flags.DEFINE_string(
        "teacher",
        None,
        "With --data: a model to distill from, the unpruned one as a rule.",
        **own,
    )
    flags.DEFINE_integer(
        "seed",
        0,
        "finetune, run: of all training; search: of the plans that it tries.",
        **own,
    )
