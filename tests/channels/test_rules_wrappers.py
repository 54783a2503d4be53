"""Wrappers: the rule of the layer inside, seen from outside."""

import keras
import pytest
from keras import layers
from rule_checks import prune_and_compare
from rule_checks import randomise
from rule_checks import reasons
from rule_checks import sizes

IMAGES = (3, 6, 6, 3)

STEPS = {
    "dense": ((3, 5), lambda: layers.Dense(6), {"a": 4, "m": 6}),
    "convolution": (
        IMAGES,
        lambda: layers.Conv2D(6, 3, activation="relu"),
        {"a": 4, "m": 6},
    ),
    "depthwise": (IMAGES, lambda: layers.DepthwiseConv2D(3), {"a": 4}),
    "batch norm": (IMAGES, lambda: layers.BatchNormalization(), {"a": 4}),
    "dropout": (IMAGES, lambda: layers.Dropout(0.5), {"a": 4}),
    "pooling": (IMAGES, lambda: layers.MaxPooling2D(), {"a": 4}),
    "global pooling": (
        IMAGES,
        lambda: layers.GlobalAveragePooling2D(),
        {"a": 4},
    ),
    "flatten": ((3, 2, 2, 3), lambda: layers.Flatten(), {"a": 4}),
    "reshape": ((3, 4, 3), lambda: layers.Reshape((8, 2)), {"a": 2}),
    "layer norm": (IMAGES, lambda: layers.LayerNormalization(), {"a": 4}),
    "layer norm, two axes": (
        IMAGES,
        lambda: layers.LayerNormalization(axis=[2, 3]),
        {"a": 4},
    ),
    "rms norm": (IMAGES, lambda: layers.RMSNormalization(), {"a": 4}),
    "group norm": (IMAGES, lambda: layers.GroupNormalization(2), {"a": 2}),
    "layer norm in steps of steps": (
        (2, 3, 5, 3),
        lambda: layers.TimeDistributed(layers.LayerNormalization()),
        {"a": 4},
    ),
    "lstm": ((3, 5, 3), lambda: layers.LSTM(6), {"a": 4, "m": 6}),
    "separable": (
        IMAGES,
        lambda: layers.SeparableConv2D(6, 3),
        {"a": 4, "m": 6},
    ),
}


def wrapped(wrapper, shape):
    inputs = keras.Input(shape)
    x = layers.Dense(4, name="a")(inputs)
    x = wrapper(x)
    x = layers.Dense(2, name="z")(x)
    return randomise(keras.Model(inputs, x))


@pytest.mark.parametrize("row", STEPS)
def test_time_distributed(row):
    shape, make, expected = STEPS[row]
    layer = layers.TimeDistributed(make(), name="m")
    channels, _, _ = prune_and_compare(wrapped(layer, shape))
    assert sizes(channels) == expected


def test_time_distributed_over_unknown_steps():
    layer = layers.TimeDistributed(layers.Dense(6), name="m")
    channels, _, _ = prune_and_compare(wrapped(layer, (None, 3)))
    assert sizes(channels) == {"a": 4, "m": 6}


def test_statistics_at_unknown_steps():
    layer = layers.TimeDistributed(layers.LayerNormalization(), name="m")
    channels, _, _ = prune_and_compare(wrapped(layer, (None, 3, 3)))
    assert sizes(channels) == {"a": 4}


def test_steps_that_are_channels_are_frozen():
    inputs = keras.Input((5, 3))
    x = layers.Dense(4, name="a")(inputs)
    x = layers.Permute((2, 1))(x)
    x = layers.TimeDistributed(layers.Dense(6), name="m")(x)
    x = layers.Dense(2, name="z")(x)
    channels, _, _ = prune_and_compare(randomise(keras.Model(inputs, x)))
    assert sizes(channels) == {"m": 6}
    assert reasons(channels)["a"] == "m steps along it"


def test_shared_time_distributed():
    one = keras.Input((5, 3))
    layer = layers.TimeDistributed(layers.Dense(3), name="m")
    x = layer(layer(one))
    x = layers.Dense(2, name="z")(x)
    prune_and_compare(randomise(keras.Model(one, x)))


def test_a_wrapped_model_is_left_whole():
    inner = keras.Sequential([keras.Input((3,)), layers.Dense(6)])
    layer = layers.TimeDistributed(inner, name="m")
    inputs = keras.Input((5, 3))
    x = layers.Dense(3, name="a")(inputs)
    x = layers.Dense(2, name="z")(layer(x))
    channels, _, _ = prune_and_compare(randomise(keras.Model(inputs, x)))
    assert sizes(channels) == {}
    assert reasons(channels)["a"] == "m wraps a Sequential, which has no rule"


SPECTRAL = {
    "dense": ((5,), lambda: layers.Dense(6), {"a": 4, "m": 6}),
    "convolution": ((6, 6, 3), lambda: layers.Conv2D(6, 3), {"a": 4, "m": 6}),
    "transpose": (
        (6, 6, 3),
        lambda: layers.Conv2DTranspose(6, 3),
        {"a": 4, "m": 6},
    ),
}


@pytest.mark.parametrize("row", SPECTRAL)
def test_spectral_normalization(row):
    shape, make, expected = SPECTRAL[row]
    layer = layers.SpectralNormalization(make(), name="m")
    channels, _, slim = prune_and_compare(wrapped(layer, shape))
    assert sizes(channels) == expected
    slim(keras.ops.ones((1, *shape)), training=True)


def test_spectral_normalization_of_an_embedding():
    inputs = keras.Input((5,), dtype="int32")
    layer = layers.SpectralNormalization(layers.Embedding(2, 6), name="m")
    x = layers.Dense(2, name="z")(layer(inputs))
    channels, _, _ = prune_and_compare(randomise(keras.Model(inputs, x)))
    assert sizes(channels) == {"m": 6}
