"""Losses that a layer adds beside its outputs, which its calls do not show."""

from __future__ import annotations


def problem(opened) -> str | None:
    """Why layers' calls alone would lose a loss; None if they would not.

    Args:
        opened: Layers, whose calls were recorded, and whose inside takes
            their place.
    """
    for layer in opened:
        if layer.activity_regularizer is not None:
            return "it has an activity regularizer"
        # tf_keras holds regularizers of a layer's own weights as functions.
        if layer._losses or getattr(layer, "_callable_losses", None):
            return "it adds losses, by add_loss or by its weights' regularizers"
    return None
