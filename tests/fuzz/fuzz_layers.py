"""Composite layers that random models are made of."""

from __future__ import annotations

import keras
import tensorflow as tf
from keras import layers
from keras import ops


class Residual(layers.Layer):
    """Convolutions around which the input is added."""

    def __init__(self, hidden, **kwargs):
        super().__init__(**kwargs)
        self.hidden = hidden

    def build(self, shape):
        self.first = layers.Conv2D(self.hidden, 3, padding="same", name="first")
        self.norm = layers.BatchNormalization(name="norm")
        self.second = layers.Conv2D(shape[-1], 1, name="second")
        self.first.build(shape)
        self.norm.build((*shape[:-1], self.hidden))
        self.second.build((*shape[:-1], self.hidden))

    def call(self, x, training=False):
        y = ops.relu(self.norm(self.first(x), training=training))
        return x + self.second(y)


class OwnDense(layers.Layer):
    """A dense layer with weights of its own."""

    def __init__(self, units, transposed=False, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.transposed = transposed

    def build(self, shape):
        sizes = (shape[-1], self.units)
        if self.transposed:
            sizes = sizes[::-1]
        self.kernel = self.add_weight(shape=sizes, name="kernel")
        self.bias = self.add_weight(shape=(self.units,), name="bias")

    def call(self, x):
        kernel = ops.transpose(self.kernel) if self.transposed else self.kernel
        return ops.matmul(x, kernel) + self.bias


class Scaled(layers.Layer):
    """One number per channel, and one for all."""

    def build(self, shape):
        self.gain = self.add_weight(shape=(shape[-1],), name="gain")
        self.all = self.add_weight(shape=(), name="all")

    def call(self, x):
        return x * (1 + self.gain) * ops.exp(0.1 * self.all)


class Gated(layers.Layer):
    """Two halves of a wider layer; a composite in a composite."""

    def __init__(self, width, **kwargs):
        super().__init__(**kwargs)
        self.width = width

    def build(self, shape):
        self.wide = OwnDense(2 * self.width, name="wide")
        self.wide.build(shape)

    def call(self, x):
        one, two = ops.split(self.wide(x), 2, axis=-1)
        return one * ops.sigmoid(two)


class Windowed(layers.Layer):
    """Halves of the height as samples of their own."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units

    def build(self, shape):
        self.mix = layers.Dense(self.units, name="mix")
        self.mix.build(shape)

    def call(self, x):
        batch, height, width, channels = ops.shape(x)
        x = ops.reshape(x, (batch * 2, height // 2, width, channels))
        return ops.reshape(self.mix(x), (batch, height, width, self.units))


class WithToken(layers.Layer):
    """One position more, the same for every sample."""

    def build(self, shape):
        self.token = self.add_weight(shape=(1, 1, shape[-1]), name="token")

    def call(self, x):
        token = ops.tile(self.token, (ops.shape(x)[0], 1, 1))
        return ops.concatenate([token, x], axis=1)


class Attention(layers.Layer):
    """Attention of one head, by hand."""

    def __init__(self, width, **kwargs):
        super().__init__(**kwargs)
        self.width = width

    def build(self, shape):
        for name in ("query", "key", "value"):
            layer = layers.Dense(self.width, name=name)
            layer.build(shape)
            setattr(self, name, layer)

    def call(self, x):
        query, key, value = self.query(x), self.key(x), self.value(x)
        scores = ops.matmul(query, ops.swapaxes(key, 1, 2)) / self.width**0.5
        return ops.matmul(ops.softmax(scores), value)


class WithModel(layers.Layer):
    """A model inside a composite."""

    def __init__(self, width, **kwargs):
        super().__init__(**kwargs)
        self.width = width

    def build(self, shape):
        inputs = keras.Input(shape[1:])
        x = layers.Dense(self.width, activation="relu", name="in")(inputs)
        x = layers.Dense(shape[-1], name="out")(x)
        self.inside = keras.Model(inputs, x, name="inside")

    def call(self, x):
        return ops.tanh(self.inside(x)) + x


class SometimesOdd(layers.Layer):
    """Takes another path while training: it cannot be opened."""

    def call(self, x, training=False):
        return x * 0.9 if training else x


class Unseen(layers.Layer):
    """Keras cannot see into it: what channels do there can only be tried."""

    WAYS = {
        "each": tf.math.asinh,
        "lifted": tf.math.cosh,
        "moved": lambda x: tf.reverse(x, [-1]),
        "elsewhere": lambda x: tf.roll(x, 1, 1),
        "some": lambda x: x[..., ::2],
        "twice": lambda x: tf.concat([x, tf.math.asinh(x)], -1),
        "mixed": lambda x: x - tf.reduce_mean(x, -1, keepdims=True),
        "sorted": tf.sort,
    }

    def __init__(self, way, **kwargs):
        super().__init__(**kwargs)
        self.way = way

    def compute_output_shape(self, shape):
        factor = {"some": 0.5, "twice": 2}.get(self.way, 1)
        return (*shape[:-1], int(shape[-1] * factor + 0.5))

    def call(self, x):
        return self.WAYS[self.way](tf.convert_to_tensor(x))
