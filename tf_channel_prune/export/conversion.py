"""From Keras 3 to tf_keras, verified."""

from __future__ import annotations

from tf_channel_prune.errors import PruningError
from tf_channel_prune.errors import VerificationError


def to_tf_keras(model, flat: bool = False):
    """The same model for tf_keras (Keras 2): same weights, equal outputs.

    Layers become their counterparts of the same name; composite layers are
    opened into what they are made of. Both models' outputs are compared on
    random inputs.

    Args:
        model: A model of either Keras, without masks.
        flat: Whether the layers of nested models become the model's own, and
            functions such as `tf.nn.relu` become layers where one does the
            same, which tensorflow-model-optimization needs. Defaults to
            False.

    Returns:
        A `tf_keras` model with weights of its own, not compiled.

    Raises:
        PruningError: If a layer has no counterpart in tf_keras, or the model
            holds masks.
        VerificationError: If the outputs differ.
    """
    from tf_channel_prune.graph.inputs import random_inputs
    from tf_channel_prune.graph.to_tf_keras import to_tf_keras as convert
    from tf_channel_prune.transform import compare

    check_slim(model)
    converted = convert(model, flat)
    difference = compare(model, converted, random_inputs(converted))
    if not difference.equal:
        raise VerificationError(
            f"The tf_keras model's outputs differ: {difference}. Nothing was "
            "returned; please report the model."
        )
    return converted


def check_slim(model) -> None:
    """Raises if the model still holds channel masks."""
    layers = getattr(model, "_flatten_layers", list)()
    if any(getattr(v, "holds_channel_masks", False) for v in layers):
        raise PruningError(
            f"Model {model.name!r} is sparse: its masked channels are still "
            "there. Call transform(model) and export what it gives."
        )
