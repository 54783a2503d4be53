"""Layers of tf_keras that compute what functions do.

tensorflow-model-optimization quantizes layers, and leaves functions in float
with what they feed. So where a call of a function is what a layer does, a
model that is made for it has the layer.
"""

from __future__ import annotations

import math

import tf_keras

from tf_channel_prune.graph import tf_keras_internals

layers = tf_keras.layers


def preferring_layers(kind: str, config: dict, name: str, call):
    """A function like `call` that calls a layer where one does the same.

    Args:
        kind: Of the operation, as rules know it.
        config: Its configuration in Keras 3.
        name: For the layer.
        call: Calls the function; its arguments are those of Keras 3.
    """
    as_layer = _LAYERS.get(kind)
    if as_layer is None:
        return call

    def run(*args, **kwargs):
        made = None if kwargs else as_layer(config, name, *args)
        return call(*args, **kwargs) if made is None else made

    return run


def _relu(config, name, x):
    return layers.ReLU(name=name)(x)


def _relu6(config, name, x):
    return layers.ReLU(6.0, name=name)(x)


def _leaky_relu(config, name, x):
    return layers.LeakyReLU(config["negative_slope"], name=name)(x)


def _softmax(config, name, x):
    return layers.Softmax(config["axis"], name=name)(x)


def _add(config, name, x, y):
    if _all_tensors([x, y]) and x.shape[1:] == y.shape[1:]:
        return layers.Add(name=name)([x, y])
    return None


def _concatenate(config, name, parts):
    if _all_tensors(parts):
        return layers.Concatenate(config["axis"], name=name)(parts)
    return None


def _mean(config, name, x):
    """The mean over all places of a sequence or an image."""
    kind = _POOLING.get(len(x.shape))
    axes = config["axis"]
    if kind is None or axes is None:
        return None
    axes = [axes] if isinstance(axes, int) else axes
    rank = len(x.shape)
    if sorted(axis % rank for axis in axes) != list(range(1, rank - 1)):
        return None
    pooling = kind("channels_last", config["keepdims"], name=name)
    return pooling(x)


def _reshape(config, name, x):
    """One that leaves samples apart."""
    first, *shape = config["newshape"]
    old = x.shape[1:]
    if first != -1 or not all(isinstance(s, int) for s in (*shape, *old)):
        return None
    if min(shape, default=1) < 0 or math.prod(shape) != math.prod(old):
        return None
    return layers.Reshape(shape, name=name)(x)


def _transpose(config, name, x):
    axes = config["axes"]
    if not axes or axes[0] != 0:
        return None
    dims = [axis % len(x.shape) for axis in axes[1:]]
    return layers.Permute(dims, name=name)(x)


def _all_tensors(values) -> bool:
    return all(map(tf_keras_internals.is_tensor, values))


_POOLING = {
    3: layers.GlobalAveragePooling1D,
    4: layers.GlobalAveragePooling2D,
}

_LAYERS = {
    "ops.Relu": _relu,
    "ops.Relu6": _relu6,
    "ops.LeakyRelu": _leaky_relu,
    "ops.Softmax": _softmax,
    "ops.Add": _add,
    "ops.Concatenate": _concatenate,
    "ops.Mean": _mean,
    "ops.Reshape": _reshape,
    "ops.Transpose": _transpose,
}
