"""Opens composite layers and subclassed models.

Calling a layer's own `call` on symbolic tensors records the calls that it is
made of. That record replaces the layer only where it says everything the
layer does; otherwise the layer stays whole, with the reason:

- `call` must run on symbolic tensors and return tensors;
- every variable that the layer itself owns must appear in the record, since a
  variable that was folded into a constant would no longer train;
- the record must be the same with `training=True`, since a Python branch on
  `training` is decided while recording.
"""

from __future__ import annotations

import dataclasses
import inspect

import keras
from keras import tree

from tf_channel_prune.errors import UnsupportedModelError
from tf_channel_prune.graph import keras_internals


@dataclasses.dataclass
class Opened:
    """The calls inside a layer, or the reason why they cannot be had."""

    inputs: list = dataclasses.field(default_factory=list)
    outputs: list = dataclasses.field(default_factory=list)
    nodes: list | None = None
    reason: str | None = None


@dataclasses.dataclass
class OpenedModel:
    """A subclassed model after opening: as much as a reader needs."""

    inputs: list
    outputs: list
    _nodes_by_depth: dict
    input_structure: object
    output_structure: object


def open_call(operation, keras_node) -> Opened:
    """Opens one call of a layer inside a graph."""
    if not isinstance(operation, keras.layers.Layer):
        return Opened(reason=f"no rule for {type(operation).__name__}")
    if not operation.built:
        return Opened(reason="it is not built")
    return _record(operation, keras_node.arguments)


def open_model(model):
    """Opens a subclassed model from the shapes that it was built with.

    Raises:
        UnsupportedModelError: If it was never called, or does not open.
    """
    from keras.src.ops.symbolic_arguments import SymbolicArguments

    arguments = SymbolicArguments(_input_specs(model))
    opened = _record(model, arguments)
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
    )


def _input_specs(model):
    """Symbolic inputs like those that the model was built with."""
    shapes = getattr(model, "_build_shapes_dict", None)
    if not model.built or not shapes:
        raise UnsupportedModelError(
            f"Model {model.name!r} has never been called, so its input shapes "
            "are unknown: call it once on a batch of data."
        )
    shape = next(iter(shapes.values())) if len(shapes) == 1 else shapes
    return tree.map_shape_structure(
        lambda s: keras.KerasTensor(
            (None, *s[1:]), dtype=keras.config.floatx()
        ),
        shape,
    )


def _record(layer, arguments) -> Opened:
    """Records `layer.call` on fresh symbolic tensors."""
    given: list = []

    def fresh(value):
        if isinstance(value, keras.KerasTensor):
            given.append(keras.KerasTensor(value.shape, dtype=value.dtype))
            return given[-1]
        return value

    args, kwargs = arguments.convert(fresh)
    try:
        result, nodes = _trace(layer, args, kwargs, given)
        problem = _problem(layer, result, nodes)
        if problem is None and _takes_training(layer, kwargs):
            for mode in (False, True):
                again = _trace(layer, args, {**kwargs, "training": mode}, given)
                if _signature(again[1]) != _signature(nodes):
                    problem = "its call takes another path while training"
    except Exception as error:  # any user code may run here
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        return Opened(reason=f"its call does not run symbolically ({first})")
    if problem is not None:
        return Opened(reason=problem)
    opened = Opened(given, tree.flatten(result), nodes)
    opened.input_structure = args[0] if len(args) == 1 else (args, kwargs)
    opened.output_structure = result
    return opened


def _trace(layer, args, kwargs, given):
    """Runs `layer.call`; gives the result and the recorded nodes.

    The record is taken off the layer's sub-layers again, so that the user's
    model keeps no trace of it.
    """
    sublayers = [
        operation
        for operation in layer._flatten_layers()
        if operation is not layer
    ]
    counts = [
        (op, len(op._inbound_nodes), len(op._outbound_nodes))
        for op in sublayers
    ]
    try:
        result = layer.call(*args, **kwargs)
        nodes = _collect(tree.flatten(result), given)
    finally:
        for op, inbound, outbound in counts:
            del op._inbound_nodes[inbound:]
            del op._outbound_nodes[outbound:]
    return result, nodes


def _collect(outputs, given):
    """The nodes between `given` and `outputs`, each after what it needs."""
    done: set[int] = set()
    order: list = []
    stack = [(keras_internals.node_of(t), False) for t in reversed(outputs)]
    while stack:
        node, expanded = stack.pop()
        if node is None or (id(node) in done and not expanded):
            continue
        if expanded:
            order.append(node)
            continue
        done.add(id(node))
        stack.append((node, True))
        for tensor in reversed(node.input_tensors):
            stack.append((keras_internals.node_of(tensor), False))
    return order


def _problem(layer, result, nodes):
    """Why the record does not say everything, or None if it does."""
    outputs = tree.flatten(result)
    if not outputs or not all(
        isinstance(t, keras.KerasTensor) for t in outputs
    ):
        return "its call returns something other than tensors"
    used = {
        id(value)
        for node in nodes
        for value in tree.flatten((node.arguments.args, node.arguments.kwargs))
        if isinstance(value, keras.Variable)
    }
    for variable in layer._trainable_variables + layer._non_trainable_variables:
        if id(variable) not in used:
            return f"its weight {variable.name!r} is used outside operations"
    return None


def _takes_training(layer, kwargs):
    return "training" in inspect.signature(layer.call).parameters


def _signature(nodes):
    return [
        (type(node.operation).__name__, tuple(t.shape for t in node.outputs))
        for node in nodes
    ]
