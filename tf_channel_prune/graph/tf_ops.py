"""Calls of `tf.*` functions, said as the Keras 3 operations that they are.

A functional tf_keras model holds a layer for every call of a `tf.*` function;
layers of Keras 3 may call them too (`tf_recording`).
Where Keras 3 has the same operation, the call is read as that operation, with
its arguments and configuration, so that one rule serves both Kerases; `restore`
turns an operation's arguments into the function's again.
"""

from __future__ import annotations

import dataclasses
import inspect
from typing import Any

import numpy as np
import tensorflow as tf

from tf_channel_prune.graph.structure import leaves
from tf_channel_prune.graph.tf_table import TABLE
from tf_channel_prune.graph.tf_table import UNKNOWN


@dataclasses.dataclass(frozen=True)
class Normal:
    """A call as an operation of Keras 3 would hold it."""

    kind: str
    args: tuple
    config: dict[str, Any]


def normalise(symbol, function, args, kwargs, shapes) -> Normal | None:
    """A call of `tf.<symbol>` as an operation; None where there is none.

    Args:
        symbol: The function's public name, without `tf.`.
        function: The function.
        args, kwargs: The call's arguments, through `plain`.
        shapes: The shapes of what the call makes.
    """
    if symbol == "einsum":
        return _einsum(args, kwargs)
    row = TABLE.get(symbol)
    if row is None:
        return None
    parameters = inspect.signature(function)
    bound = parameters.bind(*args, **kwargs)
    given = dict(bound.arguments)
    bound.apply_defaults()
    values = {**bound.arguments, "shapes": shapes}
    if symbol == "linalg.matmul" and any(map(given.get, _FLAGS)):
        return _transposed_matmul(values)
    settings = [*row.call_settings(), *row.config_settings().values()]
    known = {"name", *(setting.parameter for setting in settings)}
    for name in given.keys() - known:
        default = parameters.parameters[name].default
        if not _is_one_of(
            given[name], (default, None, *row.also.get(name, ()))
        ):
            return None

    def read(setting):
        return setting.read(values.get(setting.parameter), values)

    arguments = tuple(read(setting) for setting in row.call_settings())
    config = {k: read(v) for k, v in row.config_settings().items()}
    if any(value is UNKNOWN for value in (*arguments, *config.values())):
        return None
    if any(_is_symbolic(leaf) for leaf in leaves(config)):
        return None  # an axis or a size that is only known when it runs
    return Normal(row.kind, arguments, config)


def restore(symbol: str, args, config):
    """The arguments of `tf.<symbol>` from an operation's.

    Args:
        symbol: The function's public name, without `tf.`.
        args: The operation's call arguments, tensors filled in.
        config: The operation's configuration.

    Returns:
        `(args, kwargs)`.
    """
    if symbol == "einsum":
        return (config["subscripts"], *args), {}
    if symbol == "linalg.matmul":
        flags = {flag: config[flag] for flag in _FLAGS if config.get(flag)}
        return args, flags
    row = TABLE[symbol]
    everything = {**config, "tensors": args}
    named = {}
    for value, setting in zip(args, row.call_settings()):
        named[setting.parameter] = setting.write(value, everything)
    first = row.call_settings()[0].parameter
    for name, setting in row.config_settings().items():
        if setting.parameter:
            named[setting.parameter] = setting.write(config[name], everything)
    return (named.pop(first),), named


def _is_symbolic(value) -> bool:
    """Whether a plain value is a tensor of a model."""
    return hasattr(value, "shape") and not isinstance(
        value, (np.ndarray, np.generic)
    )


def _is_one_of(value, allowed) -> bool:
    return any(
        value is one or (type(value) is type(one) and value == one)
        for one in allowed
    )


def plain(value):
    """Constant tensors as NumPy arrays, dtypes by their names."""
    if isinstance(value, tf.Tensor) and hasattr(value, "numpy"):
        return value.numpy()
    if isinstance(value, tf.DType):
        return value.name
    if isinstance(value, tf.TensorShape):
        return tuple(value.as_list())
    return value


def _einsum(args, kwargs):
    options = {k: v for k, v in kwargs.items() if k != "name"}
    if options or not isinstance(args[0], str):
        return None
    return Normal("ops.Einsum", tuple(args[1:]), {"subscripts": args[0]})


_FLAGS = ("transpose_a", "transpose_b", "adjoint_a", "adjoint_b")


def _transposed_matmul(values):
    """`matmul(a, b, transpose_b=True)` as the contraction that it is."""
    a, b = values["a"], values["b"]
    rank = len(a.shape)
    if rank != len(b.shape):
        return None
    batch = "abcdefgh"[: rank - 2]
    first = "yx" if values["transpose_a"] or values["adjoint_a"] else "xy"
    second = "zy" if values["transpose_b"] or values["adjoint_b"] else "yz"
    subscripts = f"{batch}{first},{batch}{second}->{batch}xz"
    flags = {flag: bool(values[flag]) for flag in _FLAGS}
    return Normal("ops.Einsum", (a, b), {"subscripts": subscripts, **flags})
