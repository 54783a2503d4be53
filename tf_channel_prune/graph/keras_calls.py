"""How Keras 3 records calls: the private corners of its functional graphs."""

from __future__ import annotations

import contextlib

import keras
from keras import tree

from tf_channel_prune.errors import UnsupportedModelError


def is_tensor(value) -> bool:
    """Whether a call argument is a symbolic tensor."""
    return isinstance(value, keras.KerasTensor)


def symbol(shape, dtype):
    """A tensor that has a shape and nothing else."""
    return keras.KerasTensor(shape, dtype=dtype)


def outputs_of(operation, args, kwargs) -> list:
    """What an operation makes of symbols; it keeps no trace of the call."""
    return tree.flatten(operation.compute_output_spec(*args, **kwargs))


def specs_of(function, args, kwargs) -> list:
    """Symbolic tensors like those that a backend's function would give."""
    from keras.src.backend import compute_output_spec

    def dense(value):
        # Keras takes a product with an array for a sparse tensor.
        if is_tensor(value):
            return keras.KerasTensor(value.shape, dtype=value.dtype)
        return value

    args, kwargs = keras.tree.map_structure(dense, (args, kwargs))
    return keras.tree.flatten(compute_output_spec(function, *args, **kwargs))


def functional(operation):
    """The functional graph of a model, or None if it has none.

    Only graphs that `call` really runs count: a subclass of `keras.Model`
    that was given inputs and outputs is functional; one that overrides
    `call` is not.

    Raises:
        UnsupportedModelError: If a Sequential model is not built.
    """
    from keras.src.models.functional import Functional

    if isinstance(operation, keras.Sequential):
        if type(operation).call is not keras.Sequential.call:
            return None
        if operation._functional is None:
            raise UnsupportedModelError(
                f"Sequential model {operation.name!r} has no input shape yet: "
                "call it on a batch of data, or give it an Input."
            )
        return operation._functional
    if isinstance(operation, Functional):
        if type(operation).call is not Functional.call:
            return None
        return operation
    return None


def ordered_nodes(model):
    """The model's calls in the order in which Keras runs them."""
    by_depth = model._nodes_by_depth
    for depth in sorted(by_depth, reverse=True):
        for node in by_depth[depth]:
            if node.operation is not None and not node.is_input:
                yield node


def match_inputs(model, args, kwargs):
    """The values given to a nested model, in the order of its inputs.

    Mirrors what `Functional` does with dictionaries: by name where the model
    expects a list, else in the flattened order.
    """
    value = args[0] if args else kwargs["inputs"]
    expected = model._inputs_struct
    if isinstance(value, dict) and not isinstance(expected, dict):
        return [value[t.name] for t in tree.flatten(expected)]
    if isinstance(value, dict):
        value = {key: value[key] for key in expected}
    return tree.flatten(value)


def flat_inputs(model, x):
    """A batch as the list of tensors that a model's graph starts from."""
    inner = functional(model)
    if inner is None:
        return [keras.ops.convert_to_tensor(value) for value in tree.flatten(x)]
    return inner._standardize_inputs(x)


def structures(model):
    """The structures of a model's inputs and outputs."""
    if hasattr(model, "input_structure"):  # opened, not functional
        return model.input_structure, model.output_structure
    return model._inputs_struct, model._outputs_struct


def node_of(tensor):
    """The call that made a symbolic tensor; None for a graph's entry."""
    if not isinstance(tensor, keras.KerasTensor):
        return None
    history = getattr(tensor, "_keras_history", None)
    if history is None or history.operation is None:
        return None
    return history.operation._inbound_nodes[history.node_index]


def tensor_name(tensor) -> str:
    """A tensor's name; for an input its layer's.

    Keras numbers the tensors of unnamed inputs over the whole process.
    """
    history = getattr(tensor, "_keras_history", None)
    if history is not None and isinstance(
        history.operation, keras.layers.InputLayer
    ):
        return history.operation.name
    return tensor.name


def input_options(tensor) -> dict:
    """Options of an input beside shape, dtype and name."""
    layer = tensor._keras_history.operation
    options = {}
    if getattr(layer, "sparse", False):
        options["sparse"] = True
    if getattr(layer, "optional", False):
        options["optional"] = True
    return options


@contextlib.contextmanager
def layers_recorded_if(condition):
    """While open, Keras records some calls of layers only.

    Args:
        condition: Function of `(layer, outputs)` of a call.
    """
    from keras.src.layers import layer as room

    original = room.Node

    def node(operation, call_args, call_kwargs, outputs):
        if condition(operation, outputs):
            original(operation, call_args, call_kwargs, outputs)

    room.Node = node
    try:
        yield
    finally:
        room.Node = original


def in_symbolic_scope() -> bool:
    """Whether Keras asks for shapes, with the backend's own tensors."""
    from keras.src.backend.common import symbolic_scope

    return symbolic_scope.in_symbolic_scope()
