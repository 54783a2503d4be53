"""How a rebuilt tf_keras model holds variables that functions use.

As in `variables`, for tf_keras: the variable becomes the kernel of an
`EinsumDense` layer without bias, called on a one:

    one = tf.ones_like(tf.gather(tf.reshape(x, [-1]), [0]))   # x: any input
    variable = tf.squeeze(EinsumDense("a,bc->abc", ...)(one), 0)

The reader knows this pattern and gives the variable back.
"""

from __future__ import annotations

import re
import string

import numpy as np
import tensorflow as tf
import tf_keras

from tf_channel_prune.graph import tf_keras_internals

_EQUATION = re.compile(r"a,(\w+)->a\1")


def is_held(variable) -> bool:
    """Whether a variable can be a kernel (else it is a constant)."""
    return variable.dtype.is_floating


def is_array(value) -> bool:
    """Whether a call argument is a constant with axes of its own."""
    if tf_keras_internals.is_tensor(value) or isinstance(value, tf.Variable):
        return False
    return isinstance(value, (np.ndarray, tf.Tensor)) and len(value.shape) > 0


def config_of(variable, dtype: str) -> dict:
    """The config of the layer that holds a variable."""
    own = variable.dtype.name
    policy = own
    if own == "float32" and dtype in ("float16", "bfloat16"):
        policy = f"mixed_{dtype}"
    shape = tuple(variable.shape) or (1,)
    letters = string.ascii_letters[1 : len(shape) + 1]
    return {
        "name": tf_keras_internals.variable_facts(variable)[3],
        "equation": f"a,{letters}->a{letters}",
        "output_shape": shape,
        "kernel_initializer": "zeros",
        "kernel_constraint": variable.constraint,
        "dtype": policy,
        "trainable": bool(variable.trainable),
    }


def made(config: dict):
    """A built layer that holds a variable."""
    # A config of Keras 3 has more, and its policies in another form.
    known = ("name", "trainable", "equation", "output_shape", "dtype")
    config = {key: config[key] for key in known if key in config}
    if isinstance(config.get("dtype"), dict) and "config" in config["dtype"]:
        config["dtype"] = config["dtype"]["config"]["name"]
    layer = tf_keras.layers.EinsumDense.from_config(config)
    layer.build((1,))
    return layer


def value_of(layer, anchor, rank: int):
    """The held variable as a symbolic tensor.

    Args:
        layer: The layer that holds it.
        anchor: A symbolic tensor of the model that is being built.
        rank: The rank of the variable.
    """
    first = tf.gather(tf.reshape(anchor, [-1]), [0])
    one = tf.ones_like(first, dtype=layer.compute_dtype)
    return tf.squeeze(layer(one), 0 if rank else (0, 1))


def anchored(array, anchor):
    """A constant as a symbolic tensor, so that a layer can be called on it."""
    array = np.asarray(array)
    first = tf.gather(tf.reshape(anchor, [-1]), [0])
    nothing = tf.zeros_like(first, dtype=str(array.dtype))
    if array.dtype == bool:
        return tf.logical_or(nothing, array)
    return nothing + array


def held(calls) -> tuple[dict[int, object], set[int]]:
    """Finds the pattern above among the calls of a model.

    Returns:
        By the id of the call that ends a pattern, the layer's call; and the
        ids of the calls that only belong to a pattern.
    """
    ends, inside = {}, set()
    makers = {id(t): call for call in calls for t in call.outputs}
    for end in calls:
        chain = _before(end, makers)
        if (
            _symbol(end) in ("compat.v1.squeeze", "squeeze")
            and len(chain) == 4
            and _holds(chain[0].operation)
            and _symbol(chain[1]) == "ones_like"
            and _symbol(chain[2]) in ("compat.v1.gather", "gather")
            and _symbol(chain[3]) == "reshape"
        ):
            ends[id(end)] = chain[0]
            inside |= {id(call) for call in chain}
    return ends, inside


def _before(call, makers):
    """The four calls that lead to a call, last first."""
    chain = []
    while len(chain) < 4 and len(call.input_tensors) == 1:
        call = makers.get(id(call.input_tensors[0]))
        if call is None:
            break
        chain.append(call)
    return chain


def _symbol(call):
    return getattr(call.operation, "symbol", None)


def _holds(operation) -> bool:
    layer = tf_keras_internals.unwrapped(operation)
    return (
        type(layer) is tf_keras.layers.EinsumDense
        and layer.bias is None
        and _EQUATION.fullmatch(layer.equation) is not None
    )
