"""Sizes for axes that a model leaves open.

A fully convolutional model takes images of any size, a text model sequences of
any length; what they cost depends on it. This module gives the inputs a size
and asks every operation of the graph what comes out. The batch stays open.
"""

from __future__ import annotations

import dataclasses

from tf_channel_prune.errors import PruningError
from tf_channel_prune.graph import flavours
from tf_channel_prune.graph.structure import Graph
from tf_channel_prune.graph.structure import TensorRef
from tf_channel_prune.graph.structure import map_arguments

# What an open axis of an input is taken to be: the side of an image, the
# length of a sequence (or the side of a volume).
IMAGE_SIDE = 224
LENGTH = 128


@dataclasses.dataclass(frozen=True)
class Shapes:
    """Shapes of a graph's tensors where the graph's own do not say enough.

    Attributes:
        by_tensor: The batch axis (axis 0) included and left `None`. Empty
            where the graph's own shapes are complete.
        assumed: For every input with open sizes that nobody gave: its shape
            as it was taken, without the batch axis, by the input's name.
        unresolved: Operations that gave no shape for these inputs; their open
            sizes stay unknown.
    """

    by_tensor: dict[int, tuple] = dataclasses.field(default_factory=dict)
    assumed: dict[str, tuple] = dataclasses.field(default_factory=dict)
    unresolved: tuple[str, ...] = ()


def concrete_shapes(graph: Graph, input_shape=None) -> Shapes:
    """Shapes of all tensors, open sizes filled in.

    Args:
        graph: A graph.
        input_shape: The inputs' shapes without the batch axis: one shape, a
            list of them in the order of the inputs, or a dictionary by name.
            Open axes that it leaves out are taken as 224 for an image (rank
            4 with the batch) and 128 for any other.

    Raises:
        PruningError: If the model does not take `input_shape`.
    """
    open_sizes = any(None in tensor.shape[1:] for tensor in graph.tensors)
    if input_shape is None and not open_sizes:
        return Shapes()
    given = _given(graph, input_shape)
    assumed = {}
    taken = {}
    for number in graph.inputs:
        tensor = graph.tensors[number]
        shape = given.get(tensor.name)
        if shape is None:
            shape = filled(tensor.shape[1:])
            if shape != tensor.shape[1:]:
                assumed[tensor.name] = shape
        taken[number] = (None, *shape)
    found, refused = _walk(graph, taken)
    if refused and input_shape is not None:
        name, why = next(iter(refused.items()))
        raise PruningError(
            f"input_shape={input_shape!r} does not go through {name!r}: {why}"
        )
    unknown = [
        node.name
        for node in graph.nodes
        if node.name in refused
        and any(None in found[number][1:] for number in node.outputs)
    ]
    return Shapes(found, assumed, tuple(unknown))


def _walk(graph, taken):
    """Shapes by tensor number, and why operations refused to give theirs."""
    internals = flavours.internals(graph)
    refused: dict[str, str] = {}
    values = {}

    def symbol(number, shape):
        values[number] = internals.symbol(shape, graph.tensors[number].dtype)

    def fill(value):
        return values[value.index] if isinstance(value, TensorRef) else value

    with internals.symbolic():
        for number, shape in taken.items():
            symbol(number, shape)
        for node in graph.nodes:
            # What takes nothing in has its own shape, whatever the inputs.
            if node.inputs:
                args, kwargs = map_arguments(fill, (node.args, node.kwargs))
                try:
                    made = internals.outputs_of(node.operation, args, kwargs)
                    values.update(zip(node.outputs, made))
                    continue
                except Exception as error:  # any user code may run here
                    lines = str(error).strip().splitlines()
                    refused[node.name] = (lines or [type(error).__name__])[0]
            for number in node.outputs:
                symbol(number, graph.tensors[number].shape)
        shapes = {
            number: _known(internals, value, graph.tensors[number].shape)
            for number, value in values.items()
        }
    return shapes, refused


def _known(internals, value, before) -> tuple:
    """A symbol's shape, with what the graph knew where it says nothing."""
    shape = internals.tensor_facts(value)[0]
    return tuple(b if s is None else s for s, b in zip(shape, before))


def filled(sizes, side=IMAGE_SIDE, length=LENGTH) -> tuple:
    """An input's sizes without the batch, the open ones filled in."""
    unknown = side if len(sizes) == 3 else length
    return tuple(unknown if size is None else size for size in sizes)


def _given(graph, input_shape) -> dict[str, tuple]:
    """The given shapes by input name, each checked against the model's."""
    if input_shape is None:
        return {}
    own = {
        graph.tensors[number].name: graph.tensors[number].shape[1:]
        for number in graph.inputs
    }
    given = {}
    for name, shape in _by_name(own, input_shape).items():
        if name not in own:
            raise PruningError(
                f"input_shape names {name!r}, but the model's inputs are "
                + ", ".join(map(repr, own))
                + "."
            )
        given[name] = _sizes(shape, input_shape)
        if not _fits(given[name], own[name]):
            raise PruningError(
                f"input_shape for {name!r} is {given[name]}, but the model "
                f"takes {own[name]} (without the batch axis, None is open)."
            )
    return given


def _by_name(names, input_shape) -> dict[str, tuple]:
    """One shape, a list of shapes or a dictionary, as a dictionary."""
    if isinstance(input_shape, dict):
        return input_shape
    input_shape = _sizes(input_shape, input_shape)
    if all(isinstance(size, int) for size in input_shape):
        input_shape = [input_shape]
    if len(input_shape) != len(names):
        raise PruningError(
            f"input_shape has {len(input_shape)} shapes for the model's "
            f"{len(names)} inputs; a dictionary by name may leave some out."
        )
    return dict(zip(names, input_shape))


def _sizes(shape, input_shape) -> tuple:
    if not isinstance(shape, (list, tuple)):
        raise PruningError(
            "input_shape is a shape without the batch axis, a list of shapes "
            f"or a dictionary of them by input name; got {input_shape!r}."
        )
    return tuple(shape)


def _fits(shape, own) -> bool:
    return len(shape) == len(own) and all(
        isinstance(size, int) and size > 0 and fixed in (None, size)
        for size, fixed in zip(shape, own)
    )
