"""Names of layers that were found inside opened composites."""

from __future__ import annotations


def joined(*parts: str) -> str:
    """The name of a layer, its path in front.

    Keras takes no "/" in a layer's name, and on PyTorch no "." either, where
    parameters are attributes.
    """
    import keras

    return ("-" if keras.backend.backend() == "torch" else ".").join(parts)
