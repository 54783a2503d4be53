"""How a rebuilt model holds variables and constants that operations use.

Keras saves and trains the weights of layers only, so a `keras.Variable` that
an operation uses becomes the kernel of an `EinsumDense` layer without bias,
called on a one:

    one = ops.ones_like(ops.take(x, [0]))   # x: any input; shape (1,)
    variable = ops.squeeze(EinsumDense("a,bc->abc", ...)(one), 0)

The reader knows this pattern and gives the variable back.
"""

from __future__ import annotations

import re
import string

import keras
import numpy as np
from keras import ops

from tf_channel_prune.graph import keras_internals
from tf_channel_prune.graph.kinds import kinds_of

_EQUATION = re.compile(r"a,(\w+)->a\1")


def is_held(variable) -> bool:
    """Whether a variable can be a kernel (else it is a constant)."""
    return np.issubdtype(_numpy_dtype(variable.dtype), np.floating)


def _numpy_dtype(dtype):
    return np.float32 if str(dtype) == "bfloat16" else np.dtype(str(dtype))


def is_array(value) -> bool:
    """Whether a call argument is a constant with axes of its own."""
    if isinstance(value, (keras.KerasTensor, keras.Variable)):
        return False
    if isinstance(value, np.ndarray) or keras.ops.is_tensor(value):
        return len(value.shape) > 0
    return False


def config_of(variable, dtype: str) -> dict:
    """The config of the layer that holds a variable.

    Args:
        variable: A `keras.Variable`.
        dtype: The dtype that operations see, which is another one inside a
            layer of mixed precision.
    """
    own = str(variable.dtype)
    policy = own
    if own == "float32" and dtype in ("float16", "bfloat16"):
        policy = f"mixed_{dtype}"
    shape = tuple(variable.shape) or (1,)
    letters = string.ascii_letters[1 : len(shape) + 1]
    layer = keras.layers.EinsumDense(
        f"a,{letters}->a{letters}",
        shape,
        kernel_initializer="zeros",
        kernel_regularizer=variable.regularizer,
        kernel_constraint=variable.constraint,
        dtype=policy,
        trainable=bool(variable.trainable),
        name=variable.name,
    )
    return layer.get_config()


def made(config: dict):
    """A built layer that holds a variable."""
    layer = keras.layers.EinsumDense.from_config(config)
    layer.build((1,))
    return layer


def value_of(layer, anchor, rank: int):
    """The held variable as a symbolic tensor.

    Args:
        layer: The layer that holds it.
        anchor: A symbolic tensor of the model that is being built.
        rank: The rank of the variable.
    """
    # Named, since Keras numbers unnamed operations over the whole process.
    make = keras_internals.operation
    take = make("Take", {"name": f"{layer.name}.take"})
    ones = {"dtype": layer.compute_dtype, "name": f"{layer.name}.one"}
    one = make("OnesLike", ones)(take(anchor, [0]))
    axis = 0 if rank else (0, 1)
    squeeze = {"axis": axis, "name": f"{layer.name}.value"}
    return make("Squeeze", squeeze)(layer(one))


def anchored(array, anchor):
    """A constant as a symbolic tensor, so that a layer can be called on it."""
    array = np.asarray(array)
    nothing = ops.zeros_like(ops.take(anchor, [0]), dtype=str(array.dtype))
    join = ops.logical_or if array.dtype == bool else ops.add
    return join(nothing, array)


def held(nodes) -> tuple[dict[int, object], set[int]]:
    """Finds the pattern above among the calls of a model.

    Args:
        nodes: The Keras nodes of one model.

    Returns:
        By the id of the node that ends a pattern, the layer's node; and the
        ids of the nodes that only belong to a pattern.
    """
    ends, inside = {}, set()
    for end in nodes:
        if not _is(end, "Squeeze"):
            continue
        layer_node = keras_internals.node_of(end.input_tensors[0])
        if layer_node is None or not _holds(layer_node.operation):
            continue
        ones = keras_internals.node_of(layer_node.input_tensors[0])
        if ones is None or not _is(ones, "OnesLike"):
            continue
        take = keras_internals.node_of(ones.input_tensors[0])
        if take is None or not _is(take, "Take"):
            continue
        ends[id(end)] = layer_node
        inside |= {id(layer_node), id(ones), id(take)}
    return ends, inside


def _is(keras_node, name) -> bool:
    return kinds_of(type(keras_node.operation))[0] == f"ops.{name}"


def _holds(operation) -> bool:
    layer = keras_internals.unwrapped(operation)
    return (
        type(layer) is keras.layers.EinsumDense
        and layer.bias is None
        and _EQUATION.fullmatch(layer.equation) is not None
    )
