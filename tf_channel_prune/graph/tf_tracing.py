"""Runs a tf_keras layer's `call` to record it, and leaves no trace in it.

Checked on tf_keras 2.21.
"""

from __future__ import annotations

import contextlib
import dataclasses

import numpy as np
import tensorflow as tf

from tf_channel_prune.graph import own_losses
from tf_channel_prune.graph import tf_keras_internals
from tf_channel_prune.graph import tf_ops
from tf_channel_prune.graph import tf_untouched
from tf_channel_prune.graph.ordering import before
from tf_channel_prune.graph.structure import leaves


@dataclasses.dataclass(frozen=True)
class Trace:
    """One run of a layer's `call` on symbolic tensors.

    Attributes:
        result: What `call` returned.
        calls: The recorded calls, each after what it needs.
        losses: Why the calls alone would lose a loss, if so.
    """

    result: object
    calls: list
    losses: str | None


def trace(layer, args, kwargs, training=None) -> Trace:
    """Runs `layer.call`.

    Args:
        layer: A built layer.
        args, kwargs: Its call arguments, with fresh symbolic tensors.
        training: What Keras is to say to those who ask whether a model
            trains; None for nothing, as in a call without `training`.
    """
    logger = tf.get_logger()
    level = logger.level
    phase = contextlib.nullcontext()
    if training is not None:
        phase = tf_keras_internals.training_phase(layer, training)
    try:
        # TensorFlow warns that functions use variables here; the reader
        # looks after those.
        logger.setLevel("ERROR")
        with tf_untouched.attributes(layer), tf_untouched.values(layer), phase:
            result = layer.call(*args, **kwargs)
            calls = [
                tf_keras_internals.call_of(node)
                for node in before(
                    tf.nest.flatten(result),
                    tf_keras_internals.node_of,
                    lambda node: node.keras_inputs,
                )
            ]
            return Trace(result, calls, own_losses.problem([layer]))
    finally:
        logger.setLevel(level)


def same(first: Trace, second: Trace) -> bool:
    """Whether two runs on the same tensors recorded the same calls."""
    return _written(first) == _written(second)


def _written(found: Trace) -> list:
    """A record as plain values that can be compared."""
    numbers: dict[int, tuple] = {}

    def tensors(values):
        # Those that no call made are the same in both runs.
        return [
            numbers.get(id(leaf), id(leaf))
            for leaf in leaves(values)
            if tf_keras_internals.is_tensor(leaf)
        ]

    lines: list = []
    for i, call in enumerate(found.calls):
        given = (call.arguments.args, call.arguments.kwargs)
        symbol = getattr(call.operation, "symbol", None)
        lines.append((symbol or type(call.operation).__name__, tensors(given)))
        if symbol:  # a layer's may say whether it trains
            lines.append([_plain(leaf) for leaf in leaves(given)])
        for j, tensor in enumerate(call.outputs):
            lines.append(tuple(tensor.shape))
            numbers[id(tensor)] = (i, j)
    lines.append(tensors(found.result))
    return lines


def _plain(value):
    value = tf_ops.plain(value)
    if isinstance(value, (np.ndarray, np.generic)):
        return (value.shape, str(value.dtype), value.tobytes())
    if isinstance(value, (str, int, float, bool, type(None))):
        return value
    # Functions and the like may be made anew by every run.
    return type(value).__name__
