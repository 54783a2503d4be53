"""Inputs to try a model on."""

from __future__ import annotations

import numpy as np

from tf_channel_prune.errors import NoInputsError
from tf_channel_prune.errors import UnsupportedModelError

# What the unknown side of an image and the unknown length of a sequence become:
# a side survives several halvings; a text decoder may hold few positions. Where
# a model does not take those, the next ones may do.
SIZES = ((64, 16), (32, 4), (128, 64), (256, 256), (512, 4096))


def on_random_inputs(model, run, says_much, batch: int = 2):
    """What `run` gives for random inputs, of the first sizes that it takes.

    Args:
        model: The model that `run` runs.
        run: Function of inputs.
        says_much: Whether a result says much. A sequence that is too short for
            a convolution may become an empty one, without an error; then the
            next sizes are better, if there are any.
        batch: The number of samples.

    Raises:
        NoInputsError: If it takes none.
        UnsupportedModelError: As `random_inputs`.
    """
    found, failure = [], None
    for sizes in SIZES if _has_open_sizes(model) else SIZES[:1]:
        inputs = random_inputs(model, batch, sizes=sizes)
        try:
            found.append(run(inputs))
        except Exception as error:  # layers may raise anything
            failure = failure or error
            continue
        if says_much(found[-1]):
            return found[-1]
    if found:
        return found[0]
    said = " ".join(str(failure).split()) or type(failure).__name__
    raise NoInputsError(
        f"Model {model.name!r} does not run in inference mode on random inputs "
        f"({said[:200]}), so a slim model cannot be compared with it: mend the "
        "model, or give transform a batch of samples that it takes."
    ) from failure


def _has_open_sizes(model) -> bool:
    return any(None in tuple(tensor.shape)[1:] for tensor in model.inputs)


def random_inputs(model, batch: int = 2, seed: int = 0, sizes=SIZES[0]):
    """Random inputs in the structure that the model takes.

    Floats are standard normal; integers are below the smallest vocabulary
    that an Embedding of the model has. Strings are words that a layer of the
    model looks up.

    Args:
        model: A functional model.
        batch: The number of samples.
        seed: Of the random numbers.
        sizes: What the unknown side of an image and the unknown length of a
            sequence become. Defaults to 64 and 16.

    Raises:
        UnsupportedModelError: If the model is a subclass, whose inputs only
            its calls know.
    """
    rng = np.random.default_rng(seed)
    limit = _smallest_vocabulary(model)
    words = _words(model)

    def one(tensor):
        unknown = sizes[0] if len(tensor.shape) == 4 else sizes[1]
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
    if struct is None:
        raise UnsupportedModelError(
            f"Model {model.name!r} ({type(model).__name__}) does not say what "
            "it takes: give a functional model, such as prune and transform "
            "make of it."
        )
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
