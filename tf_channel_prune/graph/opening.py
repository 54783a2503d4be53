"""Opens composite layers and subclassed models.

Calling a layer's own `call` on symbolic tensors records the calls that it is
made of. That record replaces the layer only where it says everything the
layer does; otherwise the layer stays whole, with the reason:

- `call` must run on symbolic tensors and return tensors; functions of
  TensorFlow count as the operations that they are (`tf_recording`);
- every variable that the layer itself owns must appear in the record, and no
  variable may be read outside of it, since a variable that was folded into a
  constant would no longer train;
- the record must be the same with `training=True`, since a Python branch on
  `training` is decided while recording;
- it must be the same for every batch size and length;
- Keras masks must take the same way.
"""

from __future__ import annotations

import dataclasses
import inspect

import keras
from keras import tree

from tf_channel_prune.errors import UnsupportedModelError
from tf_channel_prune.graph import implicit_masks
from tf_channel_prune.graph import keras_internals
from tf_channel_prune.graph import records
from tf_channel_prune.graph.records import Opened


@dataclasses.dataclass
class OpenedModel:
    """A subclassed model after opening: as much as a reader needs.

    Attributes:
        losses: What is said of losses that models made from it will not
            have, if so.
    """

    inputs: list
    outputs: list
    _nodes_by_depth: dict
    input_structure: object
    output_structure: object
    opened: Opened | None = None
    losses: str | None = None


def open_call(operation, keras_node, known=None) -> Opened:
    """Opens one call of a layer inside a graph.

    Args:
        operation: The layer.
        keras_node: The call.
        known: By the id of a symbolic tensor, its shape with a `Size` where
            more than nothing is known of a size.
    """
    if not isinstance(operation, keras.layers.Layer):
        return Opened(reason=f"no rule for {type(operation).__name__}")
    if not operation.built:
        return Opened(reason="it is not built")
    known = known or {}
    tensors = {id(t): t for t in keras_node.input_tensors}
    places = {key: place for place, key in enumerate(tensors)}

    def arguments(shapes):
        def fresh(value):
            if not isinstance(value, keras.KerasTensor):
                return value
            shape = shapes[places[id(value)]]
            made = keras.KerasTensor(shape, dtype=value.dtype)
            implicit_masks.lend(made, value, shape)
            return made

        return keras_node.arguments.convert(fresh)

    def problem(found):
        return implicit_masks.problem(operation, keras_node, found)

    shapes = [known.get(key, t.shape) for key, t in tensors.items()]
    return records.best(operation, records.Call(shapes, arguments, problem))


# Layers that give `activation(...)` of something else.
_ACTIVATED = (
    "Activation Dense EinsumDense Conv1D Conv2D Conv3D Conv1DTranspose "
    "Conv2DTranspose Conv3DTranspose DepthwiseConv1D DepthwiseConv2D "
    "SeparableConv1D SeparableConv2D"
).split()


def own_activation(layer, internals):
    """The function of the user's own that a layer applies to its outputs.

    Args:
        layer: A layer that a rule knows.
        internals: Of its Keras.

    Returns:
        The function; None if there is none, or it stays in the layer.
    """
    room = internals.kind.layers
    function = getattr(layer, "activation", None)
    if (
        not isinstance(layer, tuple(getattr(room, n) for n in _ACTIVATED))
        or internals.is_from_keras(function)
        or isinstance(function, room.Layer)
        or layer.activity_regularizer is not None
    ):
        return None
    return function


def open_activation(layer, keras_node) -> Opened | None:
    """Opens an activation that is a function of the user's own.

    Args:
        layer: A layer that a rule knows.
        keras_node: Its call.

    Returns:
        The calls inside; None if there is no such function, or it stays in
        the layer.
    """
    function = own_activation(layer, keras_internals)
    output = keras_node.outputs[0]
    # Operations would lose a mask.
    if function is None or implicit_masks.of(output) is not None:
        return None

    def arguments(shapes):
        return (keras.KerasTensor(shapes[0], dtype=output.dtype),), {}

    alone = keras.layers.Activation(function, dtype=output.dtype)
    opened = records.best(alone, records.Call([output.shape], arguments))
    return None if opened.nodes is None else opened


def open_model(model):
    """Opens a subclassed model from the shapes that it was built with.

    Raises:
        UnsupportedModelError: If it was never called, or does not open.
    """
    specs = _input_specs(model)
    opened = _open_with(model, specs)
    if opened.nodes is not None and _looks_up(specs, opened):
        opened = _open_with(model, specs)
    if opened.nodes is None:
        raise UnsupportedModelError(
            f"Model {model.name!r} ({type(model).__name__}) cannot be read as "
            f"a graph: {opened.reason}. Write its call with layers and "
            "keras.ops, or build it with the functional API."
        )
    return OpenedModel(
        opened.inputs,
        opened.outputs,
        {0: opened.nodes},
        opened.input_structure,
        opened.output_structure,
        opened,
    )


def _open_with(model, specs) -> Opened:
    def arguments(shapes):
        left = iter(shapes)
        given = tree.map_structure(lambda s: s.tensor(next(left)), specs)
        if len(given) == 1:
            return tuple(given.values()), {}
        return (), given

    shapes = [(None, *spec.shape[1:]) for spec in tree.flatten(specs)]
    return records.best(model, records.Call(shapes, arguments))


@dataclasses.dataclass
class _Spec:
    """An input of a subclassed model."""

    shape: tuple
    name: str
    dtype: str

    def tensor(self, shape):
        return keras.KerasTensor(shape, dtype=self.dtype, name=self.name)


def _input_specs(model) -> dict:
    """By argument of `call`, inputs like those that it was built with."""
    shapes = getattr(model, "_build_shapes_dict", None)
    if not model.built or not shapes:
        raise UnsupportedModelError(
            f"Model {model.name!r} has never been called, so its input shapes "
            "are unknown: call it once on a batch of data."
        )
    first = next(iter(inspect.signature(model.call).parameters))
    names = [first]
    if len(shapes) > 1:
        names = [key.removesuffix("_shape") for key in shapes]

    def spec(shape, name):
        if isinstance(shape, dict):
            return {key: spec(value, key) for key, value in shape.items()}
        if shape and isinstance(shape[0], (list, tuple, dict)):
            return [spec(value, f"{name}_{i}") for i, value in enumerate(shape)]
        return _Spec(tuple(shape), name, keras.config.floatx())

    return {
        name: spec(shape, name) for name, shape in zip(names, shapes.values())
    }


def _looks_up(specs, opened) -> bool:
    """Makes inputs that an Embedding looks up whole numbers, if any are."""
    used = {
        id(node.input_tensors[0])
        for node in opened.nodes
        if node.input_tensors and _starts_with_lookup(node)
    }
    found = False
    # As they are called: `tree` sorts a dictionary inside another on some
    # backends only.
    given = tuple(specs.values()) if len(specs) == 1 else specs
    for spec, tensor in zip(tree.flatten(given), opened.inputs):
        if id(tensor) in used:
            spec.dtype, found = "int32", True
    return found


def _starts_with_lookup(keras_node) -> bool:
    operation = keras_node.operation
    if isinstance(operation, keras.layers.Embedding):
        return True
    if not isinstance(operation, keras.layers.Layer):
        return False
    if not any(
        isinstance(part, keras.layers.Embedding)
        for part in operation._flatten_layers(include_self=False)
    ):
        return False
    inside = open_call(operation, keras_node)
    return inside.nodes is not None and any(
        inside.inputs[0] is node.input_tensors[0] and _starts_with_lookup(node)
        for node in inside.nodes
        if node.input_tensors
    )
