"""Inputs to try a model on."""

from __future__ import annotations

import itertools

import numpy as np

from tf_channel_prune.errors import NoInputsError
from tf_channel_prune.errors import PruningError
from tf_channel_prune.errors import UnsupportedModelError
from tf_channel_prune.errors import what_it_says
from tf_channel_prune.graph.concrete import concrete_shapes
from tf_channel_prune.graph.concrete import filled
from tf_channel_prune.graph.flavours import input_names
from tf_channel_prune.graph.structure import leaves

# What the unknown side of an image and the unknown length of a sequence become:
# a side survives several halvings; a text decoder may hold few positions. Where
# a model does not take those, the next ones may do.
SIZES = ((64, 16), (32, 4), (128, 64), (256, 256), (512, 4096))


def on_random_inputs(model, run, graph, batch: int = 2):
    """What `run` gives for random inputs, of the first sizes that it takes.

    Args:
        model: The model that `run` runs.
        run: Function of inputs.
        graph: The model's graph. What is too short for a convolution may
            become an empty sequence without an error, so its operations are
            asked for their shapes first.
        batch: The number of samples.

    Raises:
        NoInputsError: If it takes none.
        UnsupportedModelError: As `random_inputs`.
    """
    sizes = [SIZES[0]]
    if any(None in graph.tensors[n].shape[1:] for n in graph.inputs):
        fit = [pair for pair in SIZES if _fits(graph, *pair)]
        sizes = fit or SIZES
    known = _lookups(graph)
    kinds = (False, True) if known or _vocabularies(model) else (False,)
    failure = None
    for pair, whole in itertools.product(sizes, kinds):
        inputs = random_inputs(
            model, batch, 0, pair, whole, known if whole else {}
        )
        try:
            return run(inputs)
        except Exception as error:  # layers may raise anything
            failure = failure or error
    raise NoInputsError(
        f"Model {model.name!r} does not run in inference mode on random inputs "
        f"({what_it_says(failure)[:200]}), so a slim model cannot be compared "
        "with it: mend the model, or give transform a batch of samples that it "
        "takes."
    ) from failure


def _fits(graph, side, length) -> bool:
    """Whether all operations take inputs of such sizes."""
    shapes = {
        graph.tensors[number].name: filled(
            graph.tensors[number].shape[1:], side, length
        )
        for number in graph.inputs
    }
    try:
        found = concrete_shapes(graph, shapes)
    except PruningError:
        return False
    return all(
        size is None or size > 0
        for shape in found.by_tensor.values()
        for size in shape
    )


def random_inputs(
    model,
    batch: int = 2,
    seed: int = 0,
    sizes=SIZES[0],
    whole: bool = False,
    known=None,
):
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
        whole: Whether floats are whole numbers like integers: a model may look
            up its floats. Defaults to False.
        known: By an input's name, the words or numbers that it is drawn from.
            Defaults to whatever the model's layers know, and something else.

    Raises:
        UnsupportedModelError: If the model is a subclass, whose inputs only
            its calls know.
    """
    rng = np.random.default_rng(seed)
    limit = min(_vocabularies(model), default=2)
    words = _words(model)

    def one(tensor):
        first, *rest = tuple(tensor.shape)
        shape = (batch if first is None else first, *filled(rest, *sizes))
        dtype = str(tensor.dtype).replace("<dtype: '", "").rstrip("'>")
        if tensor.name in (known or {}):
            drawn = rng.choice(known[tensor.name], shape)
            return drawn.astype(object if dtype == "string" else dtype)
        if dtype == "string":
            return rng.choice(words, shape).astype(object)
        if dtype == "bool":
            return rng.random(shape) < 0.5
        if whole or dtype.startswith(("int", "uint")):
            return rng.integers(0, limit, shape).astype(dtype)
        return rng.standard_normal(shape).astype("float32")

    values = _map(one, input_structure(model))
    if isinstance(values, (list, tuple)) and len(values) == 1:
        return values[0]
    return values


def input_structure(model):
    """The model's symbolic inputs, in the structure that it takes.

    Raises:
        UnsupportedModelError: If the model is a subclass, whose inputs only
            its calls know.
    """
    struct = getattr(model, "_inputs_struct", None)  # Keras 3
    if struct is None:
        struct = getattr(model, "_nested_inputs", None)  # tf_keras
    if struct is None:
        struct = getattr(model, "inputs", None)
    if struct is None:
        raise UnsupportedModelError(
            f"Model {model.name!r} ({type(model).__name__}) does not say what "
            "it takes: give a functional model, such as prune and transform "
            "make of it."
        )
    return struct


def inputs_by_name(model) -> dict:
    """The model's symbolic inputs by the names of its `Input`s, in order.

    Raises:
        UnsupportedModelError: As `input_structure`.
    """
    input_structure(model)
    return dict(zip(input_names(model), model.inputs))


def by_input_name(model, x) -> dict[str, np.ndarray]:
    """What a model takes, by the names of its `Input`s, in their order.

    Args:
        model: A functional model.
        x: Arrays in the structure that the model takes, in the order of its
            `inputs`, or in a dictionary by the names of its `Input`s.

    Raises:
        PruningError: If it has no array for an input, or too many.
    """
    tensors = inputs_by_name(model)
    names = [*tensors]
    if isinstance(x, dict):
        struct = input_structure(model)
        own = isinstance(struct, dict) and struct.keys() <= x.keys()
        found = _by_key(tensors, struct, x) if own else x
    else:
        arrays = leaves(x)
        found = dict(zip(names, arrays)) if len(arrays) == len(names) else {}
    missing = [name for name in names if name not in found]
    if missing:
        raise PruningError(
            f"Model {model.name!r} takes arrays for "
            f"{', '.join(map(repr, names))}; none is given for "
            f"{', '.join(map(repr, missing))}: give a dictionary by name."
        )
    return {name: np.asarray(found[name]) for name in names}


def _by_key(tensors, struct, x) -> dict:
    """Arrays by the names of `Input`s, from those by the model's own keys."""
    names = {id(tensor): name for name, tensor in tensors.items()}
    return {
        names[id(tensor)]: array
        for key, part in struct.items()
        for tensor, array in zip(leaves(part), leaves(x[key]))
    }


def _map(function, struct):
    if isinstance(struct, dict):
        return {k: _map(function, v) for k, v in struct.items()}
    if isinstance(struct, (list, tuple)):
        return type(struct)(_map(function, v) for v in struct)
    return function(struct)


def _vocabularies(model) -> list[int]:
    """The sizes of the vocabularies that Embeddings of the model have."""
    return [
        layer.input_dim
        for layer in model._flatten_layers()
        if type(layer).__name__.endswith("Embedding")
        and hasattr(layer, "input_dim")
    ]


def _lookups(graph) -> dict[str, list]:
    """What the lookups know that take inputs of the model, by input."""
    inputs = {number: graph.tensors[number].name for number in graph.inputs}
    found = {
        inputs[node.inputs[0]]: node.operation.get_vocabulary(False)
        for node in graph.nodes
        if hasattr(node.operation, "get_vocabulary")
        and node.inputs
        and node.inputs[0] in inputs
    }
    return {name: words for name, words in found.items() if len(words)}


def _words(model) -> list[str]:
    """Words that the model's lookups know, and one that they may not."""
    known = [
        str(word)
        for layer in model._flatten_layers()
        if hasattr(layer, "get_vocabulary")
        for word in layer.get_vocabulary()
    ]
    return [*dict.fromkeys(known), "word"]
