"""The private corners of Keras 3 that the package needs, each in one function.

Those of recorded calls are in `keras_calls`, names of variables in
`keras_names`; they are imported here too, where code for both Kerases finds all
that is Keras 3's by the names that it has in `tf_keras_internals`.

Checked on Keras 3.12.0 and 3.15.1; `make test-oldest` runs the test suite on
the oldest versions that setup.cfg allows. Nothing outside this room touches
them.
"""

# ruff: noqa: F401

from __future__ import annotations

import contextlib
import inspect
import sys
import tempfile

import keras
import numpy as np
from keras import tree

from tf_channel_prune.errors import PruningError
from tf_channel_prune.graph.keras_calls import flat_inputs
from tf_channel_prune.graph.keras_calls import functional
from tf_channel_prune.graph.keras_calls import in_symbolic_scope
from tf_channel_prune.graph.keras_calls import input_options
from tf_channel_prune.graph.keras_calls import is_tensor
from tf_channel_prune.graph.keras_calls import layers_recorded_if
from tf_channel_prune.graph.keras_calls import match_inputs
from tf_channel_prune.graph.keras_calls import node_of
from tf_channel_prune.graph.keras_calls import ordered_nodes
from tf_channel_prune.graph.keras_calls import outputs_of
from tf_channel_prune.graph.keras_calls import specs_of
from tf_channel_prune.graph.keras_calls import structures
from tf_channel_prune.graph.keras_calls import symbol
from tf_channel_prune.graph.keras_calls import tensor_name
from tf_channel_prune.graph.keras_names import variable_names
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
