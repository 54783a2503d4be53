"""Layers that hold others or weights of their own, and models of them."""

import keras
import numpy as np
from keras import layers
from keras import ops

from tf_channel_prune.graph.names import joined

IMAGE = (6, 6, 3)


class Block(layers.Layer):
    """A residual block of ordinary layers."""

    def __init__(self, width, hidden, **kwargs):
        super().__init__(**kwargs)
        self.first = layers.Conv2D(hidden, 3, padding="same", name="first")
        self.norm = layers.BatchNormalization(name="norm")
        self.second = layers.Conv2D(width, 1, name="second")
        self.drop = layers.Dropout(0.2, name="drop")

    def call(self, x, training=False):
        y = ops.relu(self.norm(self.first(x), training=training))
        return x + self.drop(self.second(y), training=training)


class OwnWeights(layers.Layer):
    """A dense layer, a scale and a shift written by hand."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units

    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1], self.units), name="w")
        self.scale = self.add_weight(shape=(self.units,), name="scale")
        self.shift = self.add_weight(
            shape=(1, 1, self.units), name="shift", initializer="ones"
        )

    def call(self, x):
        x = ops.matmul(x, self.kernel)
        return self.scale * x + ops.reshape(self.shift, (1, 1, 1, -1))


class TransposedWeight(layers.Layer):
    """What is computed from a weight alone is recorded as well."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units

    def build(self, shape):
        self.table = self.add_weight(shape=(self.units, shape[-1]), name="t")

    def call(self, x):
        return ops.relu(ops.matmul(x, ops.transpose(self.table * 2.0)))


class ListOfWeights(layers.Layer):
    def build(self, shape):
        self.gains = [
            self.add_weight(shape=(shape[-1],), name=f"gain{i}")
            for i in range(3)
        ]

    def call(self, x):
        for gain in self.gains:
            x = ops.tanh(x * (1 + gain))
        return x


class OwnConvolution(layers.Conv2D):
    """A subclass that overrides `call`."""

    def call(self, x):
        return ops.relu(super().call(x)) + 0.1


class Nested(layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.blocks = [Block(4, 5, name=f"block{i}") for i in range(2)]
        self.own = OwnWeights(6, name="own")

    def call(self, x):
        for block in self.blocks:
            x = block(x)
        return self.own(x)


class HoldsModel(layers.Layer):
    """A functional and a Sequential model inside a composite."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        inputs = keras.Input((6, 6, 4))
        x = layers.Conv2D(5, 1, activation="relu", name="in")(inputs)
        self.model = keras.Model(inputs, x, name="model")
        self.chain = keras.Sequential(
            [layers.Conv2D(3, 1, name="c1"), layers.Conv2D(4, 1, name="c2")],
            name="chain",
        )

    def build(self, shape):
        self.chain.build((None, 6, 6, 5))

    def call(self, x):
        return self.chain(self.model(x))


class TwoTensors(layers.Layer):
    """Several tensors in and out, in structures."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.one = layers.Conv2D(4, 1, name="one")
        self.two = layers.Conv2D(5, 1, name="two")

    def call(self, x):
        return {"a": self.one(x["a"]), "b": [self.two(x["b"])]}


class Windows(layers.Layer):
    """Arithmetic on the batch size, as in Swin."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.mix = layers.Dense(4, name="mix")

    def call(self, x):
        batch, height, width, channels = ops.shape(x)
        x = ops.reshape(x, (batch, height // 2, 2, width // 2, 2, channels))
        x = ops.transpose(x, (0, 1, 3, 2, 4, 5))
        x = self.mix(ops.reshape(x, (batch * height * width // 4, 4, channels)))
        x = ops.reshape(x, (batch, height // 2, width // 2, 2, 2, -1))
        x = ops.transpose(x, (0, 1, 3, 2, 4, 5))
        return ops.reshape(x, (-1, height, width, 4))


class ClassToken(layers.Layer):
    """A row that is put in front of every sample's positions."""

    def __init__(self, how, **kwargs):
        super().__init__(**kwargs)
        self.how = how

    def build(self, shape):
        self.token = self.add_weight(shape=(1, 1, shape[-1]), name="token")

    def call(self, x):
        batch = ops.shape(x)[0]
        if self.how == "tile":
            token = ops.tile(self.token, (batch, 1, 1))
        else:
            token = ops.broadcast_to(self.token, (batch, 1, x.shape[-1]))
        return ops.concatenate([token, x], axis=1)


class Positions(layers.Layer):
    """A sub-layer that is called on numbers alone."""

    def __init__(self, length, width, **kwargs):
        super().__init__(**kwargs)
        self.length = length
        self.table = layers.Embedding(length, width, name="table")

    def build(self, shape):
        self.table.build()

    def call(self, x):
        return x + self.table(ops.arange(self.length))


class Branches(layers.Layer):
    """Computes something else while training."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.one = layers.Conv2D(4, 1, name="one")

    def call(self, x, training=False):
        return self.one(x) * 2 if training else self.one(x)


class Counts(layers.Layer):
    """Changes a weight of its own."""

    def build(self, shape):
        self.calls = self.add_weight(shape=(), name="calls", trainable=False)

    def call(self, x):
        self.calls.assign(self.calls + 1)
        return x * 1.0


class Borrows(layers.Layer):
    """Uses another layer's weight by itself."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = layers.Dense(4, name="dense")

    def call(self, x):
        x = self.dense(x)
        return x + ops.sum(self.dense.kernel)


class Regularized(layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = layers.Dense(4, name="dense")

    def call(self, x):
        x = self.dense(x)
        self.add_loss(ops.sum(x))
        return x


class ActivityRegularized(layers.Layer):
    """Keras adds a loss of its outputs, which no call shows."""

    def __init__(self, activity_regularizer="l2", **kwargs):
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        self.dense = layers.Dense(4, name="dense")

    def call(self, x):
        return self.dense(x)


class Noisy(layers.Layer):
    """Another constant at every call."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = layers.Dense(4, name="dense")
        self.rng = np.random.default_rng(0)

    def call(self, x):
        return self.dense(x) + self.rng.standard_normal(4).astype("float32")


class Remembers(layers.Layer):
    """Keeps a tensor of its call."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = layers.Dense(4, name="dense")

    def call(self, x):
        self.last = self.dense(x)
        return ops.relu(self.last)


def around(*parts, channels=4):
    """Layers between a convolution `a` and a head."""
    inputs = keras.Input(IMAGE)
    x = layers.Conv2D(channels, 3, padding="same", name="a")(inputs)
    for part in parts:
        x = part(x)
    if len(x.shape) == 4:
        x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(2, name="head")(x))


def tokens(*parts):
    """Layers between an embedding of 5 positions and a head."""
    inputs = keras.Input((5, 3))
    x = layers.Dense(6, name="embed")(inputs)
    for part in parts:
        x = part(x)
    x = layers.Conv1D(2, 2, name="head")(x)
    return keras.Model(inputs, x)


def sizes(channels):
    """Sizes by name; a path is written with dots, whatever the backend."""
    dash = joined("", "")
    return {g.name.replace(dash, "."): g.size for g in channels.prunable}


def state(model):
    """What opening may leave behind: calls, attributes."""
    return [
        (len(op._inbound_nodes), len(op._outbound_nodes), sorted(vars(op)))
        for op in model._flatten_layers()
    ]


def inputs_of(model):
    from tf_channel_prune.graph.inputs import random_inputs

    return random_inputs(model)
