"""Small models of what runs on the TensorFlow backend alone."""

import keras
import pytest
import tensorflow as tf
from keras import layers
from model_checks import check

import tf_channel_prune as tcp


def words():
    """Strings go in: what the check runs on must be strings too."""
    inputs = keras.Input((3,), dtype="string")
    x = layers.StringLookup(vocabulary=["one", "two", "three"])(inputs)
    x = layers.Flatten()(layers.Embedding(4, 6, name="a")(x))
    return keras.Model(inputs, layers.Dense(2)(x))


def test_strings():
    channels = check(words())
    assert [group.name for group in channels.prunable] == ["a"]
    slim = tcp.transform(tcp.prune(words(), ratio=0.5))
    assert slim.get_layer("a").output_dim == 3


def scaled(factor):
    def scale(x):
        return tf.math.asinh(x) * factor

    return scale


LAMBDAS = {
    "lambda": lambda x: tf.math.asinh(x),
    "local function": scaled(2.0),
}


@pytest.mark.parametrize("row", LAMBDAS)
def test_lambdas_with_names_of_their_own(row):
    """A config has a function's code, not the names that it uses."""
    inputs = keras.Input((6, 6, 3))
    x = layers.Conv2D(8, 3, name="a")(inputs)
    x = layers.Lambda(LAMBDAS[row], output_shape=(4, 4, 8))(x)
    x = layers.Conv2D(5, 3, activation="relu", name="b")(x)
    x = layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, layers.Dense(2)(x))
    names = [group.name for group in check(model).prunable]
    assert names == ["b"]
