"""The flags of the command line, with their help."""

from __future__ import annotations

from absl import flags

from tf_channel_prune.cost import METRICS

USAGE = """Prunes the channels of a trained Keras model.

  tf-channel-prune --action=flops --model=m.keras
  tf-channel-prune --action=groups --model=m.keras
  tf-channel-prune --action=ana --model=m.keras --workspace=runs/m \\
      --evaluate=mine.py:evaluate
  tf-channel-prune --action=prune --model=m.keras --workspace=runs/m \\
      --ratio=0.5 --output=sparse.keras
  tf-channel-prune --action=finetune --model=sparse.keras \\
      --train=mine.py:train --output=tuned.keras
  tf-channel-prune --action=transform --model=tuned.keras --output=slim.keras
  tf-channel-prune --action=run --model=m.keras --workspace=runs/m \\
      --ratio=0.5 --iterations=3 --evaluate=mine.py:evaluate \\
      --train=mine.py:train --output=slim.keras

Functions are path/to/file.py:name. `evaluate(model)` returns a score, larger
for a better model; `train(model)` compiles and trains the model in place.
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
        "The .keras or .h5 file to write. Defaults to a name in the "
        "workspace's folder models, which is printed.",
        **own,
    )
    flags.DEFINE_float(
        "ratio",
        None,
        "prune, run: the share of the dense model's cost to remove.",
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
        "plan", None, "prune: a plan file, or its name in --workspace.", **own
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
    flags.DEFINE_string(
        "divisor",
        "auto",
        "What kept counts are multiples of: a number, or auto.",
        **own,
    )
    flags.DEFINE_string(
        "evaluate", None, "ana, run: the function that scores a model.", **own
    )
    flags.DEFINE_string(
        "train",
        None,
        "finetune, run: the function that trains a model in place.",
        **own,
    )
    flags.DEFINE_integer(
        "iterations", 3, "run: how many times to prune and finetune.", **own
    )
    flags.DEFINE_enum(
        "steps",
        "geometric",
        ["geometric", "linear"],
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
    return values
