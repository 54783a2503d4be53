"""Arrays in tf_keras models mean the same once a file made lists of them."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import tf_channel_prune as tcp
from tf_channel_prune.graph.inputs import random_inputs
from tf_channel_prune.transform import compare

layers = tf_keras.layers


def array(*shape):
    return np.random.default_rng(1).normal(size=shape).astype("float32")


# What is done to a tensor of shape (batch, 6, 6, 8).
CASES = {
    "second": lambda x: x * array(8),
    "first": lambda x: array(8) - x,
    "bias": lambda x: tf.nn.bias_add(x, array(8)),
    "where": lambda x: tf.where(array(8) > 0, x, array(8)),
    "matmul": lambda x: tf.matmul(x, array(8, 5)),
    "transposed": lambda x: tf.matmul(x, array(1, 6, 5, 8), transpose_b=True),
    "tensordot": lambda x: tf.tensordot(x, array(8, 5), 1),
    "among tensors": lambda x: tf.concat([x, array(8, 6, 6, 2)], -1),
    "filters": lambda x: tf.nn.conv2d(x, array(3, 3, 8, 5), 1, "SAME"),
    "bounds": lambda x: tf.clip_by_value(x, -(array(8) ** 2), 0.5),
    "whole numbers": lambda x: tf.cast(
        tf.cast(x, "int32") * np.arange(8, dtype="int32"), "float32"
    ),
    "table": lambda x: x * tf.gather(array(9, 8), tf.argmax(x, -1)),
    "sizes": lambda x: tf.tile(
        tf.reshape(x, np.array([-1, 36, 8])), np.array([1, 2, 1])
    ),
    "positions": lambda x: tf.gather(x, np.array([0, 5, 6]), axis=-1),
}


def model_of(function):
    tf_keras.utils.set_random_seed(3)
    image = layers.Input((6, 6, 3), batch_size=8)
    mean = np.array([123.7, 116.8, 103.9], "float32")
    x = layers.Conv2D(8, 3, padding="same", name="one")(image - mean)
    x = layers.Conv2D(8, 1, activation="relu", name="two")(x)
    x = layers.Dense(2, name="head")(function(x))
    return tf_keras.Model(image, x)


def through_file(model, path):
    model.save(path)
    return tf_keras.models.load_model(path)


def facts(model):
    return [(g.layers, g.size, g.reason) for g in tcp.channel_groups(model)]


@pytest.mark.parametrize("case", CASES)
def test_loaded_model_has_the_same_groups(case, tmp_path):
    model = model_of(CASES[case])
    loaded = through_file(model, tmp_path / "model.keras")
    assert facts(loaded) == facts(model)


@pytest.mark.parametrize("ending", ["keras", "h5"])
@pytest.mark.parametrize("case", ["second", "first", "where", "tensordot"])
def test_every_model_on_the_way_goes_through_a_file(case, ending, tmp_path):
    path = tmp_path / f"model.{ending}"
    loaded = through_file(model_of(CASES[case]), path)
    sparse = through_file(tcp.prune(loaded, ratio=0.4, divisor=1), path)
    slim = tcp.transform(sparse)
    assert slim.get_layer("one").filters < 8
    inputs = random_inputs(sparse)
    assert compare(sparse, slim, inputs).relative < 1e-5
    again = through_file(slim, path)
    assert compare(slim, again, inputs).largest == 0


def test_list_has_the_dtype_of_the_tensor_beside_it():
    image = layers.Input((4, 3), dtype="float64")
    x = layers.Dense(8, dtype="float64", name="one")(image * [1.0, 2.0, 3.0])
    model = tf_keras.Model(image, layers.Dense(2, dtype="float64")(x))
    slim = tcp.transform(tcp.prune(model, ratio=0.4, divisor=1))
    assert slim.get_layer("one").units < 8
