"""The private corners of Keras 3 that the package needs, each in one function.

Checked on Keras 3.12.0 and 3.15.1; `make test-oldest` runs the test suite on
the oldest versions that setup.cfg allows. Nothing outside this room touches
them.
"""

from __future__ import annotations

import contextlib
import inspect
import re
import sys
import tempfile

import keras
import numpy as np
from keras import tree

from tf_channel_prune.errors import PruningError
from tf_channel_prune.errors import UnsupportedModelError
from tf_channel_prune.graph.own_objects import made_by

OLDEST = (3, 12)  # as in setup.cfg

kind = keras
flatten = tree.flatten


def check_version(version: str) -> None:
    """Raises unless a version of Keras is one that the package works with."""
    if tuple(int(number) for number in version.split(".")[:2]) < OLDEST:
        raise PruningError(
            f"Keras {version} is too old: tf_channel_prune needs Keras "
            f"{OLDEST[0]}.{OLDEST[1]} or newer (pip install --upgrade keras)."
        )


check_version(keras.__version__)


def backend() -> str:
    """Whose tensors the models compute with."""
    return keras.backend.backend()


def is_tensor(value) -> bool:
    """Whether a call argument is a symbolic tensor."""
    return isinstance(value, keras.KerasTensor)


def is_variable(value) -> bool:
    return isinstance(value, keras.Variable)


def is_unseen(value) -> bool:
    """Whether it is a variable of the backend's own, no layer's weight."""
    return (
        hasattr(value, "assign")
        and not is_variable(value)
        and keras.ops.is_tensor(value)
    )


def to_array(value) -> np.ndarray:
    return keras.ops.convert_to_numpy(value)


def to_tensor(array):
    """An array as a tensor of the backend."""
    return keras.ops.convert_to_tensor(array)


def is_layer(operation) -> bool:
    return isinstance(operation, keras.layers.Layer)


def tensor_facts(tensor):
    """Shape, dtype and name of a symbolic tensor."""
    return tuple(tensor.shape), str(tensor.dtype), tensor_name(tensor)


def variable_facts(variable):
    """Shape, dtype, path and name of a variable."""
    dtype = str(variable.dtype)
    return tuple(variable.shape), dtype, variable.path, variable.name


def symbolic():
    """Where symbolic tensors live: anywhere."""
    return contextlib.nullcontext()


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


def config(operation) -> dict:
    """The constructor arguments of a layer or an operation.

    `Operation.get_config` refuses NumPy values, which code that computes
    sizes passes; every operation has its arguments as attributes too.
    """
    if isinstance(operation, keras.layers.Layer):
        return operation.get_config()
    try:
        found = operation.get_config()
    except NotImplementedError:
        parameters = inspect.signature(type(operation).__init__).parameters
        found = {
            name: _plain(getattr(operation, name))
            for name in parameters
            if name != "self" and hasattr(operation, name)
        }
    if "data_format" in found and found["data_format"] is None:
        found["data_format"] = keras.config.image_data_format()
    return found


def operation(name: str, config: dict):
    """An operation of `keras.ops` by the name of its class."""
    return operation_class(name)(**config)


def operation_class(name: str) -> type:
    """The class of an operation of `keras.ops` by its name."""
    from keras.src import ops

    rooms = (ops.numpy, ops.core, ops.nn, ops.math, ops.image, ops.linalg)
    return next(getattr(room, name) for room in rooms if hasattr(room, name))


def _plain(value):
    """Python numbers and lists in place of NumPy's."""
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    if isinstance(value, (list, tuple)):
        return type(value)(_plain(v) for v in value)
    return value


def is_from_keras(function) -> bool:
    """Whether an activation is none or one of Keras' own.

    `keras.ops.relu` is, `keras.ops.sin` is not: no config can name it.
    """
    if function is None:
        return True
    module = getattr(function, "__module__", type(function).__module__)
    if module.split(".")[0] != "keras":
        return False
    if not inspect.isfunction(function):
        return True
    return hasattr(keras.activations, function.__name__)


def unwrapped(operation):
    """The layer inside one of this package's mask holders, else itself."""
    if getattr(operation, "holds_channel_masks", False):
        return operation.layer
    return operation


def is_lent(variable) -> bool:
    """Whether JAX's `fit` holds the variable's value at the moment."""
    return getattr(variable, "_value", variable) is None


def taken_losses(layer, scope) -> list:
    """What a layer added to its losses in a scope; it then knows of none.

    It knows them by number, and would take others for them later.
    """
    losses = list(scope.losses)
    layer._clear_losses()
    return losses


def variable_names(layer):
    """`(variable, name)` pairs; a name is the path inside the layer.

    The path goes by the names of sub-layers. `variable.path` goes by where the
    variable was made: a layer inside a wrapper is built by the wrapper at
    first, but by itself where the wrapper is loaded or cloned.
    """
    names: dict[int, str] = {}
    _name_variables(layer, "", names)
    return [(v, names[id(v)]) for v in layer.weights]


def _name_variables(layer, prefix, names):
    taken = set(names.values())
    own = layer._trainable_variables + layer._non_trainable_variables
    # What a layer borrows from a sub-layer goes by the name it has there.
    borrowed = {id(v) for inner in layer._layers for v in inner.weights}
    for variable in own:
        if id(variable) in names or id(variable) in borrowed:
            continue
        # Keras numbers variables without a name over the whole process.
        text = re.sub(r"^variable_\d+$", "variable", variable.name)
        text = prefix + text
        while text in taken:
            text += "_"
        taken.add(text)
        names[id(variable)] = text
    for inner, name in zip(layer._layers, _names_inside(layer)):
        _name_variables(inner, f"{prefix}{name}/", names)


def _names_inside(layer) -> list[str]:
    """The names of sub-layers, numbered from the first one.

    Keras numbers layers without a name over the whole process.
    """
    from keras.src.utils.naming import to_snake_case

    found: list[str] = []
    for inner in layer._layers:
        stem = to_snake_case(type(inner).__name__)
        automatic = re.fullmatch(rf"{re.escape(stem)}(_\d+)?", inner.name)
        start = name = stem if automatic else inner.name
        number = 0
        while name in found:
            number += 1
            name = f"{start}_{number}"
        found.append(name)
    return found


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
def without_initialization(layer):
    """Weights made inside start at zero: they are about to be given values.

    Drawing random numbers took a third of the time and twice a layer's
    memory. The layer keeps its own initializers.
    """
    zeros = keras.initializers.Zeros()
    saved = []
    for part in layer._flatten_layers():
        for name, value in list(vars(part).items()):
            if isinstance(value, keras.initializers.Initializer):
                saved.append((part, name, value))
    try:
        for part, name, _ in saved:
            object.__setattr__(part, name, zeros)
        yield
    finally:
        for part, name, value in saved:
            object.__setattr__(part, name, value)


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


def sequential(input_tensor, layers, name):
    """A Sequential model of layers that were already called in a chain."""
    first = input_tensor._keras_history.operation
    return keras.Sequential([first, *layers], name=name)


def take(tensor, indices, axis):
    return keras.ops.take(tensor, indices, axis=axis)


def copy_trainable(old, new, weights) -> None:
    """Sets what of a layer trains, as in the layer that it copies.

    Args:
        old: The layer, or the variable that `new` holds.
        new: Its copy.
        weights: Pairs of their weights.
    """
    if is_layer(old):  # a variable is held by a layer that is no copy
        # The public setter would set everything further inside as well.
        for theirs, ours in zip(old._flatten_layers(), new._flatten_layers()):
            ours._trainable = theirs._trainable
    for theirs, ours in weights:
        if ours.variable.trainable != theirs.trainable:
            ours.variable.trainable = theirs.trainable


def build_for(layer, args, kwargs) -> None:
    """Builds a layer for symbolic arguments without joining their graph."""
    if layer.built:
        return

    def fresh(value):
        if isinstance(value, keras.KerasTensor):
            return keras.KerasTensor(value.shape, dtype=value.dtype)
        return value

    args, kwargs = tree.map_structure(fresh, (args, kwargs))
    layer(*args, **kwargs)
    layer._inbound_nodes.clear()


def call_like(holder, layer) -> None:
    """Has Keras treat calls of a wrapper as calls of the layer inside.

    `call(*args, **kwargs)` hides which argument is the first, takes a mask or
    `training`, and may not mix tensors with flags.
    """
    for name in (
        "_call_signature",
        "call_signature_parameters",
        "_call_has_training_arg",
        "_call_has_mask_arg",
        "_call_context_args",
        "_call_has_context_arg",
    ):
        if hasattr(layer, name):
            setattr(holder, name, getattr(layer, name))


def copy_state(old, new) -> None:
    """Gives a layer what another knows beside its config and weights.

    Lookup layers keep their vocabulary in files beside the weights;
    Normalization and Discretization derive tensors from their weights; a
    layer may hold variables of TensorFlow that Keras does not see.
    """
    if is_layer(old):
        _copy_unseen(old, new)
    if hasattr(old, "save_assets"):
        with tempfile.TemporaryDirectory() as folder:
            old.save_assets(folder)
            new.load_assets(folder)
    if hasattr(new, "finalize_state"):
        new.finalize_state()


def _copy_unseen(old, new) -> None:
    for a, b in zip(old._flatten_layers(), new._flatten_layers()):
        for name, value in vars(a).items():
            if is_unseen(value):
                vars(b)[name].assign(value)


def made_like(operation, config):
    """A layer or operation like another, from its changed config.

    A config holds the code of a Lambda's functions without the names that
    they use; they are given as they are.
    """
    from keras.src.saving.serialization_lib import SafeModeScope

    cls = _class_for(operation, config)
    if cls is keras.layers.Lambda:
        functions = {
            "function": operation.function,
            "output_shape": operation._output_shape,
            "mask": operation.mask,
            "arguments": operation.arguments,
        }
        return cls(**{**config, **functions})
    late = _not_taken(cls, config) if is_layer(operation) else {}
    config = {key: v for key, v in config.items() if key not in late}
    # What it holds ran in this process before.
    with SafeModeScope(False):
        made = made_by(
            cls.from_config, sys.modules[__name__], operation, config
        )
    if "dtype" in late:
        made.dtype_policy = operation.dtype_policy
    if "name" in late:
        rename(made, late["name"])
    return made


def _class_for(operation, config):
    """The operation's class, or one that does the same by this config.

    `ArraySplit` of a symbolic tensor takes a number of parts only.
    """
    from keras.src.ops import numpy as operations

    cls = type(operation)
    array_split = getattr(operations, "ArraySplit", None)  # not in Keras 3.12
    if cls is array_split and not isinstance(
        config["indices_or_sections"], int
    ):
        return operations.Split
    return cls


def rename(layer, name) -> None:
    """Names a layer that is not built yet."""
    layer.name = name


def _takes_anything(cls) -> bool:
    parameters = inspect.signature(cls.__init__).parameters.values()
    return any(p.kind is p.VAR_KEYWORD for p in parameters)


def _not_taken(cls, config) -> dict:
    """What Keras adds to a layer's config, but its constructor does not take.

    `def __init__(self, units)` runs; only Keras' own copy of it does not.
    """
    if _takes_anything(cls):
        return {}
    taken = inspect.signature(cls.__init__).parameters
    return {
        key: config[key]
        for key in ("name", "trainable", "dtype")
        if key in config and key not in taken
    }


def freeze_alone(model) -> None:
    """Makes a model untrainable and leaves its layers' own settings.

    The public setter would set every layer inside it too.
    """
    model._trainable = False


def load(path, custom_objects, compiled, safe_mode):
    """`keras.models.load_model`, equally safe for every format."""
    from keras.src.saving.serialization_lib import SafeModeScope

    with SafeModeScope(safe_mode):
        return keras.models.load_model(
            path, custom_objects, compile=compiled, safe_mode=safe_mode
        )
