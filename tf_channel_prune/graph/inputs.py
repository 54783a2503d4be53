"""Inputs to try a model on."""

from __future__ import annotations

import numpy as np

# What an unknown size becomes: the side of an image survives several
# halvings; a text decoder may hold few positions.
IMAGE_SIDE = 64
LENGTH = 16


def random_inputs(model, batch: int = 2, seed: int = 0):
    """Random inputs in the structure that the model takes.

    Floats are standard normal; integers are below the smallest vocabulary
    that an Embedding of the model has; the unknown side of an image becomes
    64, the unknown length of a sequence 16. Strings are words that a layer of
    the model looks up.
    """
    rng = np.random.default_rng(seed)
    limit = _smallest_vocabulary(model)
    words = _words(model)

    def one(tensor):
        unknown = IMAGE_SIDE if len(tensor.shape) == 4 else LENGTH
        shape = [
            batch if i == 0 and d is None else d or unknown
            for i, d in enumerate(tensor.shape)
        ]
        dtype = str(tensor.dtype).replace("<dtype: '", "").rstrip("'>")
        if dtype.startswith(("int", "uint")):
            return rng.integers(0, limit, shape).astype(dtype)
        if dtype == "string":
            return rng.choice(words, shape).astype(object)
        if dtype == "bool":
            return rng.random(shape) < 0.5
        return rng.standard_normal(shape).astype("float32")

    struct = getattr(model, "_inputs_struct", None)  # Keras 3
    if struct is None:
        struct = getattr(model, "_nested_inputs", None)  # tf_keras
    if struct is None:
        struct = model.inputs
    values = _map(one, struct)
    if isinstance(values, (list, tuple)) and len(values) == 1:
        return values[0]
    return values


def _map(function, struct):
    if isinstance(struct, dict):
        return {k: _map(function, v) for k, v in struct.items()}
    if isinstance(struct, (list, tuple)):
        return type(struct)(_map(function, v) for v in struct)
    return function(struct)


def _smallest_vocabulary(model) -> int:
    sizes = [
        layer.input_dim
        for layer in model._flatten_layers()
        if type(layer).__name__.endswith("Embedding")
        and hasattr(layer, "input_dim")
    ]
    return min(sizes, default=2)


def _words(model) -> list[str]:
    """Words that the model's lookups know, and one that they may not."""
    known = [
        str(word)
        for layer in model._flatten_layers()
        if hasattr(layer, "get_vocabulary")
        for word in layer.get_vocabulary()
    ]
    return [*dict.fromkeys(known), "word"]
