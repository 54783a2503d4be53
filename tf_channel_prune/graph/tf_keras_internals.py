"""The private corners of tf_keras (Keras 2) that the package needs.

The same functions as in `keras_internals`, so that one reader and one builder
serve both. Checked on tf_keras 2.21. Nothing outside this room touches them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import inspect
import sys
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras
from tf_keras.src.engine.keras_tensor import KerasTensor
from tf_keras.src.mixed_precision.autocast_variable import AutoCastVariable

from tf_channel_prune.errors import UnsupportedModelError
from tf_channel_prune.graph import tf_untouched
from tf_channel_prune.graph.kinds import kinds_of
from tf_channel_prune.graph.opening import OpenedModel
from tf_channel_prune.graph.own_objects import made_by
from tf_channel_prune.graph.structure import map_arguments

kind = tf_keras
flatten = tf.nest.flatten

# The modules of tf_keras' own layers.
_OWN = "tf_keras."


@dataclasses.dataclass(frozen=True)
class Arguments:
    """A call's arguments, as Keras 3 holds them."""

    args: tuple
    kwargs: dict[str, Any]

    def convert(self, function):
        return (
            map_arguments(function, self.args),
            map_arguments(function, self.kwargs),
        )


@dataclasses.dataclass(frozen=True, eq=False)
class Call:
    """A node of tf_keras with the fields that a node of Keras 3 has."""

    operation: Any
    arguments: Arguments
    input_tensors: list
    outputs: list


def call_of(node) -> Call:
    return Call(
        node.layer,
        Arguments(tuple(node.call_args), dict(node.call_kwargs)),
        list(node.keras_inputs),
        flatten(node.outputs),
    )


def node_of(tensor):
    """The node that made a symbolic tensor; None for an input."""
    history = getattr(tensor, "_keras_history", None)
    if history is None:
        return None
    node = history.layer._inbound_nodes[history.node_index]
    return None if node.is_input else node


def backend() -> str:
    """Whose tensors the models compute with."""
    return "tensorflow"


def is_tensor(value) -> bool:
    """Whether a call argument is a symbolic tensor."""
    return isinstance(value, KerasTensor)


def is_variable(value) -> bool:
    return isinstance(value, tf.Variable)


def to_array(value) -> np.ndarray:
    return np.asarray(tf.convert_to_tensor(value))


def to_tensor(array):
    """An array as a tensor."""
    return tf.convert_to_tensor(array)


def is_layer(operation) -> bool:
    return isinstance(operation, tf_keras.layers.Layer)


def is_added(operation) -> bool:
    """Whether a call is that of a functional model's add_loss or add_metric."""
    from tf_keras.src.engine.base_layer import AddLoss
    from tf_keras.src.engine.base_layer import AddMetric

    return isinstance(operation, (AddLoss, AddMetric))


def config(operation) -> dict:
    """The constructor arguments of a layer or an operation."""
    return operation.get_config()


def is_from_keras(function) -> bool:
    """Whether an activation is none or one of Keras' own.

    So is `tf.nn.relu`: a config names it like that of Keras.
    """
    room = getattr(function, "__module__", type(function).__module__)
    room = room.split(".")[0]
    known = hasattr(tf_keras.activations, getattr(function, "__name__", ""))
    return (
        function is None
        or room in ("keras", "tf_keras")
        or (room == "tensorflow" and known)
    )


def tensor_facts(tensor):
    """Shape, dtype and name of a symbolic tensor.

    Raises:
        UnsupportedModelError: If not even the number of axes is known.
    """
    if tensor.shape.rank is None:
        raise UnsupportedModelError(
            f"Nothing is known of the shape of tensor {tensor.name!r}: give "
            "the operation that makes it a shape of known length."
        )
    return tuple(tensor.shape.as_list()), tensor.dtype.name, tensor.name


def variable_facts(variable):
    """Shape, dtype, path and name of a variable."""
    path = variable.name.split(":")[0]
    return (
        tuple(variable.shape.as_list()),
        variable.dtype.name,
        path,
        path.rsplit("/", 1)[-1],
    )


def symbolic():
    """Where symbolic tensors live: a graph that is thrown away."""
    return tf.__internal__.FuncGraph("shapes").as_default()


@contextlib.contextmanager
def training_phase(layer, training: bool):
    """Inside, Keras says that a layer is called while a model trains, or not.

    `K.in_train_phase` asks how the layer is called, `K.learning_phase` does
    not.
    """
    from tf_keras.src import backend
    from tf_keras.src.engine import base_layer_utils

    context = base_layer_utils.call_context()
    told = {"training": training}
    if "training" in inspect.signature(context.enter).parameters:
        told = training  # tf_keras 2.16
    called = context.enter(layer, None, False, told)
    with backend.eager_learning_phase_scope(int(training)), called:
        yield


def symbol(shape, dtype):
    """A tensor that has a shape and nothing else."""
    return tf.compat.v1.placeholder(dtype, shape)


def outputs_of(operation, args, kwargs) -> list:
    """What an operation makes of symbols; it keeps no trace of the call."""
    if not is_layer(operation):
        return flatten(operation(*args, **kwargs))
    with tf_untouched.attributes(operation):
        return flatten(operation(*args, **kwargs))


def functional(operation):
    """The functional graph of a model, or None if it has none.

    Raises:
        UnsupportedModelError: If a Sequential model is not built.
    """
    from tf_keras.src.engine.functional import Functional

    if isinstance(operation, tf_keras.Sequential):
        if type(operation).call is not tf_keras.Sequential.call:
            return None
        if not operation._graph_initialized:
            raise UnsupportedModelError(
                f"Sequential model {operation.name!r} has no input shape yet: "
                "call it on a batch of data, or give it an Input."
            )
        _with_open_batch(operation)
        return operation
    if isinstance(operation, Functional):
        if type(operation).call is not Functional.call:
            return None
        return operation
    return None


def _with_open_batch(model) -> None:
    """Lets a Sequential model that was built by data take any batch size.

    It does so by itself at the first batch of another size.
    """
    shape = model.inputs[0].shape
    if not model._has_explicit_input_shape and shape[0] is not None:
        model._build_graph_network_for_inferred_shape(
            (None, *shape[1:]), model.inputs[0].dtype
        )


def ordered_nodes(model):
    """The model's calls in the order in which Keras runs them."""
    by_depth = model._nodes_by_depth
    for depth in sorted(by_depth, reverse=True):
        for node in by_depth[depth]:
            if isinstance(node, Call):
                yield node
            elif not node.is_input:
                yield call_of(node)


def match_inputs(model, args, kwargs):
    """The values given to a nested model, in the order of its inputs."""
    value = args[0] if args else kwargs["inputs"]
    return model._flatten_to_reference_inputs(value)


def structures(model):
    """The structures of a model's inputs and outputs."""
    if isinstance(model, OpenedModel):
        return model.input_structure, model.output_structure
    return model._nested_inputs, model._nested_outputs


def variable_names(layer):
    """`(variable, name)` pairs; a name is the path inside the layer.

    The path goes by the names of sub-layers: a variable's own name still has
    the layer's old name where the layer was renamed or loaded.
    """
    names: dict[int, str] = {}
    _name_variables(layer, "", names)
    return [(v, names[id(v)]) for v in layer.weights]


def _name_variables(layer, prefix, names):
    taken = set(names.values())
    same = next(filter(None, map(_SAME_NAMES.get, kinds_of(type(layer)))), {})
    for variable in layer._trainable_weights + layer._non_trainable_weights:
        last = variable.name.rsplit("/", 1)[-1].split(":")[0]
        text = prefix + same.get(last, last)
        while text in taken:
            text += "_"
        taken.add(text)
        names.setdefault(id(variable), text)
    for inner in layer._flatten_layers(recursive=False, include_self=False):
        _name_variables(inner, f"{prefix}{inner.name}/", names)


# Weights that Keras 3 gives another name, by the kind of their layer.
_SAME_NAMES = {
    "DepthwiseConv1D": {"depthwise_kernel": "kernel"},
    "DepthwiseConv2D": {"depthwise_kernel": "kernel"},
}


def input_options(tensor) -> dict:
    """Options of an input beside shape, dtype and name."""
    layer = tensor._keras_history.layer
    return {
        option: True
        for option in ("sparse", "ragged")
        if getattr(layer, option, False)
    }


def sequential(input_tensor, layers, name):
    """A Sequential model of layers that were already called in a chain.

    Those calls are forgotten, so that each layer has one output.
    """
    before = input_tensor._keras_history.layer
    for layer in layers:
        node = layer._inbound_nodes.pop()
        before._outbound_nodes.remove(node)
        before = layer
    return tf_keras.Sequential(
        [input_tensor._keras_history.layer, *layers], name=name
    )


def take(tensor, indices, axis):
    return tf.gather(tensor, indices, axis=axis)


def copy_trainable(old, new, weights) -> None:
    """Layers say which of their weights train; see `copy_state`."""


def copy_state(old, new) -> None:
    """Gives a layer what another knows beside its config and weights."""
    if isinstance(old, tf_keras.layers.Layer):
        pairs = zip(old._flatten_layers(), new._flatten_layers())
        for theirs, ours in pairs:
            ours._trainable = theirs._trainable
    if hasattr(new, "finalize_state"):
        new.finalize_state()


def made_like(operation, config):
    """A layer like another, from its changed config.

    A config holds the code of a Lambda's functions without the names that
    they use; they are given as they are.
    """
    if type(operation) is not tf_keras.layers.Lambda:
        make = functools.partial(from_config, type(operation))
        return made_by(make, sys.modules[__name__], operation, config)
    return tf_keras.layers.Lambda(
        operation.function,
        operation._output_shape,
        operation.mask,
        operation.arguments,
        name=config["name"],
        trainable=config["trainable"],
        dtype=config["dtype"],
    )


def rename(layer, name) -> None:
    """Names a layer that is not built yet."""
    layer._name = name


def from_config(cls, config):
    """A layer from its config.

    A MultiHeadAttention layer would be built for the shapes in its config,
    which a slim model does not have; it finds its own when it is called.
    """
    if issubclass(cls, tf_keras.layers.MultiHeadAttention):
        stale = ("query_shape", "key_shape", "value_shape")
        return cls(**{k: v for k, v in config.items() if k not in stale})
    return cls.from_config(config)


def freeze_alone(model) -> None:
    """Makes a model untrainable and leaves its layers' own settings."""
    model._trainable = False


@contextlib.contextmanager
def without_initialization(layer):
    """Weights made inside start at zero: they are about to be given values.

    The layer keeps its own initializers.
    """
    zeros = tf_keras.initializers.Zeros()
    saved = []
    for part in layer._flatten_layers():
        for name, value in list(vars(part).items()):
            if isinstance(value, tf_keras.initializers.Initializer):
                saved.append((part, name, value))
    try:
        for part, name, _ in saved:
            vars(part)[name] = zeros
        yield
    finally:
        for part, name, value in saved:
            vars(part)[name] = value


def build_for(layer, args, kwargs) -> None:
    """Builds a layer for symbolic arguments without joining their graph."""
    if layer.built:
        return
    own = type(layer).__module__.startswith(_OWN)
    alone = len(list(layer._flatten_layers())) == 1
    if args and own and alone and not hasattr(layer.build, "_is_default"):
        # All its weights are made here; a call would trace it for nothing.
        with tf_keras.backend.name_scope(layer._name_scope()):
            layer._maybe_build(args[0])
        return

    def fresh(value):
        if is_tensor(value):
            return tf_keras.Input(type_spec=value.type_spec)
        return value

    layer(*map_arguments(fresh, args), **map_arguments(fresh, kwargs))
    layer._inbound_nodes.clear()


def unwrapped(operation):
    """The layer inside one of this package's mask holders, else itself."""
    if getattr(operation, "holds_channel_masks", False):
        return operation.layer
    return operation


def call_like(holder, layer) -> None:
    """Makes a wrapper's call take the arguments that the layer's takes."""
    from tf_keras.src.utils.layer_utils import CallFunctionSpec

    holder._call_spec = CallFunctionSpec(layer._call_spec.full_argspec)


def constrain(variable, constraint) -> None:
    """Sets the constraint of a variable that is made already."""
    inner = variable
    if isinstance(variable, AutoCastVariable):
        inner = variable._variable
    for value in getattr(inner, "values", None) or [inner]:
        value._constraint = constraint


@contextlib.contextmanager
def reading(layer, values):
    """Lets a layer's call read other values for some of its variables.

    Args:
        layer: A built layer.
        values: A tensor per variable, by the variable's id.
    """
    saved = []
    for part in layer._flatten_layers():
        for name, variable in list(vars(part).items()):
            if id(variable) in values and is_variable(variable):
                saved.append((part, name, variable))
    try:
        for part, name, variable in saved:
            tensor = values[id(variable)]
            if isinstance(variable, AutoCastVariable):
                tensor = tf.cast(tensor, part.compute_dtype)
            # Setting it as an attribute would have Keras track the tensor.
            vars(part)[name] = tensor
        yield
    finally:
        for part, name, variable in saved:
            vars(part)[name] = variable
