"""Arrays that are made from numbers alone: a range, zeros.

`ops.arange(length)` runs at once on a number. Where numbers stand for unknown
sizes, what it makes must be recorded too: a causal mask of the recorded length
would be wrong for every other one. Checked on Keras 3.15.1.
"""

from __future__ import annotations

import contextlib
import dataclasses
import inspect

import keras
from keras import tree

from tf_channel_prune.graph import keras_internals
from tf_channel_prune.graph import sizes

_FUNCTIONS = ("arange", "zeros", "ones", "full")


@dataclasses.dataclass(frozen=True)
class Made:
    """An array that one of `keras.ops` made.

    Attributes:
        name: The function.
        arguments: What it was given, by name.
        array: What it made of that.
    """

    name: str
    arguments: dict
    array: object = dataclasses.field(repr=False)


@contextlib.contextmanager
def recorded(primes, stand_for):
    """While open, arrays made from unknown sizes become symbolic tensors.

    Args:
        primes: What is in place of unknown sizes.
        stand_for: Function of `(Made, shape, dtype)` that gives the tensor.
    """
    # Keras' own layers import from the second.
    rooms = (keras.ops, keras.src.ops)
    saved = [(room, n, getattr(room, n)) for room in rooms for n in _FUNCTIONS]
    try:
        for room, name, function in saved:
            setattr(room, name, _recording(name, function, primes, stand_for))
        yield
    finally:
        for room, name, function in saved:
            setattr(room, name, function)


def _recording(name, function, primes, stand_for):
    signature = inspect.signature(function)

    def wrapped(*args, **kwargs):
        array = function(*args, **kwargs)
        given = tree.flatten((args, kwargs))
        if keras_internals.in_symbolic_scope() or not any(
            sizes.may_depend(value, primes) for value in given
        ):
            return array
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        made = Made(name, dict(bound.arguments), array)
        dtype = keras.backend.standardize_dtype(array.dtype)
        return stand_for(made, tuple(array.shape), dtype)

    return wrapped
