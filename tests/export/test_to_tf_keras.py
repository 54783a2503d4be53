"""Keras 3 models become tf_keras models with the same outputs."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from keras import layers
from keras import ops

import tf_channel_prune as tcp
from tf_channel_prune.graph.inputs import random_inputs
from tf_channel_prune.transform import compare


def mixed():
    image = keras.Input((8, 8, 3), name="image")
    x = layers.Rescaling(1 / 3, name="scale")(image)
    x = layers.Conv2D(8, 3, activation="relu", kernel_regularizer="l2")(x)
    x = layers.BatchNormalization()(x)
    x = layers.DepthwiseConv2D(3, depth_multiplier=2)(x)
    x = layers.LeakyReLU(0.3)(x)
    x = layers.SeparableConv2D(8, 3, activation="silu")(x)
    x = layers.Conv2DTranspose(6, 2)(x)
    x = layers.LayerNormalization()(x)
    x = layers.Activation("hard_silu")(x)
    x = layers.PReLU(shared_axes=[1, 2], alpha_initializer="normal")(x)
    x = layers.UpSampling2D()(x)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, layers.Dense(3, activation="softmax")(x))


def operators():
    image = keras.Input((8, 8, 4))
    x = layers.Conv2D(8, 3, padding="same")(image)
    x = ops.relu(x) * 0.5 + np.arange(8, dtype="float32")
    a, b = ops.split(x, [3], axis=-1)
    x = ops.concatenate([b, ops.hard_sigmoid(a)], axis=-1)[:, ::2, 1:]
    x = ops.reshape(x, (-1, 4 * 7, 2, 4))
    x = ops.transpose(x, (0, 1, 3, 2))
    x = ops.pad(x, [[0, 0], [1, 1], [0, 0], [0, 0]])
    x = ops.mean(x, axis=[1, 2])
    x = ops.einsum("bc,bd->bcd", x, x)
    return keras.Model(image, layers.Flatten()(x))


def nested():
    inner = keras.Sequential(
        [layers.Input((8, 8, 4)), layers.Conv2D(5, 3), layers.ReLU()],
        name="inner",
    )
    one, two = keras.Input((8, 8, 4)), keras.Input((8, 8, 4))
    x = layers.Add()([inner(one), inner(two)])
    return keras.Model([one, two], [layers.Flatten()(x), x])


def recurrent():
    words = keras.Input((7,), dtype="int32")
    x = layers.Embedding(11, 6)(words)
    x = layers.Bidirectional(layers.LSTM(5, return_sequences=True))(x)
    x = layers.MultiHeadAttention(2, 3)(x, x)
    x = layers.GRU(4)(x)
    return keras.Model(words, layers.Dense(2)(x))


@keras.saving.register_keras_serializable("tests")
class Scaled(layers.Layer):
    """A composite with a variable of its own."""

    def __init__(self, **options):
        super().__init__(**options)
        self.inner = layers.Dense(6, name="inner")

    def build(self, shape):
        self.factor = self.add_weight(
            shape=(6,), initializer="normal", name="factor"
        )
        self.inner.build(shape)

    def call(self, x):
        return self.inner(x) * self.factor


def composite():
    image = keras.Input((5,))
    x = Scaled(name="scaled")(layers.Dense(6)(image))
    return keras.Model(image, layers.Dense(2)(x))


@pytest.mark.parametrize(
    "make", [mixed, operators, nested, recurrent, composite]
)
@pytest.mark.parametrize("flat", [False, True])
def test_equal(make, flat):
    keras.utils.set_random_seed(0)
    model = make()
    rng = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(rng.uniform(0.1, 1, weight.shape))
    converted = tcp.export.to_tf_keras(model, flat)
    assert isinstance(converted, tf_keras.Model)
    assert converted.count_params() == model.count_params()
    assert compare(model, converted, random_inputs(model)).relative < 1e-5
    has_models = any(isinstance(v, tf_keras.Model) for v in converted.layers)
    assert has_models == (make is nested and not flat)


def test_pruned_there_as_here():
    """The conversion is a tf_keras model like any other."""
    keras.utils.set_random_seed(0)
    converted = tcp.export.to_tf_keras(mixed())
    assert [g.size for g in tcp.channel_groups(converted)] == [
        g.size for g in tcp.channel_groups(mixed())
    ]
    tcp.transform(tcp.prune(converted, 0.5))


def functions(kind):
    """A residual block of functions that layers compute too."""
    ops = keras.ops if kind is keras else tf
    layers = kind.layers
    image = layers.Input((4, 6, 8))
    x = layers.Conv2D(8, 3, padding="same")(image)
    x = ops.nn.relu(x) + image
    x = ops.nn.relu6(x)
    if kind is keras:
        x = ops.concatenate([x, ops.leaky_relu(x, 0.3)], axis=-1)
        y = ops.mean(x, axis=[1, 2])
    else:
        x = tf.concat([x, tf.nn.leaky_relu(x, 0.3)], axis=-1)
        y = tf.reduce_mean(x, axis=[1, 2])
    x = ops.transpose(x, (0, 3, 1, 2))
    x = ops.reshape(x, (-1, 16 * 24))
    return kind.Model(image, [x, ops.nn.softmax(y)])


@pytest.mark.parametrize("kind", [keras, tf_keras])
def test_functions_become_layers(kind):
    """tfmot leaves functions in float, and what they feed."""
    model = functions(kind)
    flat = tcp.export.to_tf_keras(model, flat=True)
    assert compare(model, flat, random_inputs(model)).relative < 1e-5
    assert sorted(type(layer).__name__ for layer in flat.layers) == sorted(
        "InputLayer Conv2D ReLU Add ReLU LeakyReLU Concatenate "
        "GlobalAveragePooling2D Permute Reshape Softmax".split()
    )


def test_functions_that_no_layer_computes_stay():
    layers = tf_keras.layers
    image = layers.Input((4, 4, 8))
    x = image + np.arange(8, dtype="float32")  # a constant
    x = x + layers.GlobalMaxPooling2D(keepdims=True)(x)  # it broadcasts
    y = tf.reduce_mean(x, axis=[2, 3])  # not over places alone
    x = tf.reshape(x, (-1, 8))  # samples meet
    x = tf.reshape(tf.transpose(x), (-1, 4, 4, 8))
    model = tf_keras.Model(image, [layers.Flatten()(x), y])
    flat = tcp.export.to_tf_keras(model, flat=True)
    assert compare(model, flat, random_inputs(model)).relative < 1e-5
    kinds = [type(layer).__name__ for layer in flat.layers]
    assert kinds.count("TFOpLambda") == 6


def test_subclassed():
    class Net(tf_keras.Model):
        def __init__(self):
            super().__init__()
            self.inner = tf_keras.layers.Dense(3)

        def call(self, x):
            return tf.nn.relu(self.inner(x))

    model = Net()
    x = np.ones((2, 4), "float32")
    model(x)
    converted = tcp.export.to_tf_keras(model)
    assert compare(model, converted, x).relative < 1e-6


def test_no_counterpart_is_said():
    image = keras.Input((4,))
    model = keras.Model(image, layers.RMSNormalization()(image))
    # It opens into what it is made of, or is refused with its name.
    try:
        converted = tcp.export.to_tf_keras(model)
    except tcp.PruningError as error:
        assert "rms_normalization" in str(error)
    else:
        assert compare(model, converted, np.ones((2, 4))).relative < 1e-5
    odd = keras.Model(image, layers.Lambda(lambda x: x[..., 0], (1,))(image))
    with pytest.raises(tcp.PruningError):
        tcp.export.to_tf_keras(odd)
