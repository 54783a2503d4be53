"""Arrays among the arguments of `tf.*` functions that a file holds as lists.

A file of tf_keras has an array as a nested list of numbers, and as one the
loaded model gives it to the function, which makes a tensor of it. Here it
becomes the array again that it was; lists of sizes, axes or positions stay.
Checked on tf_keras 2.21.
"""

from __future__ import annotations

import inspect

import numpy as np
import tensorflow as tf

from tf_channel_prune.graph import tf_keras_internals
from tf_channel_prune.graph.structure import leaves

# Parameters that take tensors, all of the one dtype of the call.
_ALIKE = frozenset(
    "x y a b value bias values inputs input filter filters "
    "mean variance offset scale clip_value_min clip_value_max".split()
)
# Those that take a tensor of a dtype of its own.
_APART = frozenset(("condition", "params"))


def with_arrays(function, args, kwargs):
    """A call's arguments with arrays in place of lists of numbers.

    Args:
        function: The function of TensorFlow that is called.
        args, kwargs: The call's arguments, through `tf_ops.plain`.
    """
    bound = inspect.signature(function).bind(*args, **kwargs)
    given = bound.arguments
    dtype = _dtype([given[name] for name in sorted(_ALIKE & given.keys())])
    found = {
        name: _as_array(value, dtype if name in _ALIKE else None)
        for name, value in given.items()
        if name in _ALIKE | _APART
    }
    if all(given[name] is value for name, value in found.items()):
        return args, kwargs
    given.update(found)
    return bound.args, bound.kwargs


def _dtype(values):
    """The dtype of the symbolic tensors among operands; None without any."""
    for leaf in leaves(values):
        if tf_keras_internals.is_tensor(leaf):
            return leaf.dtype
    return None


def _as_array(value, dtype):
    """A list of numbers as an array; a list with tensors, part by part."""
    if not isinstance(value, (list, tuple)) or not value:
        return value
    if all(
        isinstance(leaf, (int, float, np.generic)) for leaf in leaves(value)
    ):
        return tf.convert_to_tensor(value, dtype).numpy()
    parts = [_as_array(part, dtype) for part in value]
    if all(new is old for new, old in zip(parts, value)):
        return value
    return parts if isinstance(value, list) else tuple(parts)
