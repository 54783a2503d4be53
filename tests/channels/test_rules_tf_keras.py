"""The rules that are told by weights' names or configs, in tf_keras."""

import numpy as np
import pytest
import tensorflow as tf
from rule_checks import prune_and_compare
from rule_checks import randomise
from rule_checks import sizes

tf_keras = pytest.importorskip("tf_keras")
layers = tf_keras.layers

SEQUENCE, VIDEO = (5, 3), (3, 6, 6, 3)

ROWS = {
    "lstm": (SEQUENCE, lambda: layers.LSTM(6, name="m"), [4, 6]),
    "gru": (SEQUENCE, lambda: layers.GRU(6, name="m"), [4, 6]),
    "gru, reset before": (
        SEQUENCE,
        lambda: layers.GRU(6, reset_after=False, name="m"),
        [4, 6],
    ),
    "simple rnn": (SEQUENCE, lambda: layers.SimpleRNN(6, name="m"), [4, 6]),
    "rnn of a cell": (
        SEQUENCE,
        lambda: layers.RNN(layers.LSTMCell(6), name="m"),
        [4, 6],
    ),
    "bidirectional": (
        SEQUENCE,
        lambda: layers.Bidirectional(layers.LSTM(6), name="m"),
        [4, 6],
    ),
    "conv lstm": (
        VIDEO,
        lambda: layers.ConvLSTM2D(6, 3, name="m"),
        [4, 6],
    ),
    "time distributed": (
        VIDEO,
        lambda: layers.TimeDistributed(layers.Conv2D(6, 3), name="m"),
        [4, 6],
    ),
    "einsum": (
        SEQUENCE,
        lambda: layers.EinsumDense(
            "abc,cd->abd", (None, 6), bias_axes="d", name="m"
        ),
        [4, 6],
    ),
    "self attention": (
        SEQUENCE,
        lambda: lambda x: layers.MultiHeadAttention(3, 5, name="m")(x, x),
        [3, 4, 4, 5, 5],
    ),
    "attention": (
        SEQUENCE,
        lambda: lambda x: layers.Attention(name="m")([x, x]),
        [4],
    ),
    "additive attention": (
        SEQUENCE,
        lambda: lambda x: layers.AdditiveAttention(name="m")([x, x]),
        [4],
    ),
    "dot": (
        SEQUENCE,
        lambda: lambda x: layers.Dot(-1, normalize=True, name="m")([x, x]),
        [4],
    ),
    "batch normalization along another axis": (
        SEQUENCE,
        lambda: layers.BatchNormalization(axis=1, name="m"),
        [],
    ),
    "repeat": ((5,), lambda: layers.RepeatVector(3, name="m"), [4]),
}


@pytest.mark.parametrize("row", ROWS)
def test_slim_equals_sparse(row):
    shape, make, expected = ROWS[row]
    inputs = tf_keras.Input(shape)
    x = layers.Dense(4, name="a")(inputs)
    x = layers.Dense(2, name="z")(make()(x))
    model = randomise(tf_keras.Model(inputs, x))
    channels, _, _ = prune_and_compare(model)
    assert sorted(sizes(channels).values()) == expected


def test_embedding():
    inputs = tf_keras.Input((5,), dtype="int32")
    x = layers.Embedding(7, 4, mask_zero=True, name="a")(inputs)
    x = layers.LSTM(6, name="m")(x)
    x = layers.Dense(2, name="z")(x)
    given = np.array([[1, 2, 0, 0, 0], [3, 4, 5, 6, 0]])
    channels, _, _ = prune_and_compare(
        randomise(tf_keras.Model(inputs, x)), inputs=given
    )
    assert sizes(channels) == {"a": 4, "m": 6}


def hard_swish(x):
    return x * tf.nn.relu6(x + 3) / 6


def swish(x):
    """Like Keras' own by its name only."""
    return x * tf.sigmoid(x) + 0.5


def centred(x):
    return x - tf.reduce_mean(x, axis=-1, keepdims=True)


ACTIVATED = {
    "convolution": lambda f: layers.Conv1D(6, 2, activation=f, name="m"),
    "separable": lambda f: layers.SeparableConv1D(6, 2, activation=f, name="m"),
    "dense": lambda f: layers.Dense(6, activation=f, name="m"),
    "activation": lambda f: layers.Activation(f, name="m"),
}


def activated(make, function):
    inputs = tf_keras.Input(SEQUENCE)
    x = layers.Dense(6, name="a")(inputs)
    x = layers.Dense(2, name="z")(make(function)(x))
    return randomise(tf_keras.Model(inputs, x))


@pytest.mark.parametrize("row", ACTIVATED)
@pytest.mark.parametrize("function", [hard_swish, swish, tf.sin, tf.nn.relu])
def test_an_activation_of_the_users_own(row, function):
    model = activated(ACTIVATED[row], function)
    channels, _, slim = prune_and_compare(model)
    assert set(sizes(channels).values()) == {6}
    assert len(channels.prunable) == (1 if row == "activation" else 2)
    assert model.get_layer("m").activation is function
    kept = tf_keras.activations.serialize(slim.get_layer("m").activation)
    assert kept == ("relu" if function is tf.nn.relu else "linear")


@pytest.mark.parametrize("row", ACTIVATED)
def test_an_activation_over_channels_mixes_them(row):
    channels, _, _ = prune_and_compare(activated(ACTIVATED[row], centred))
    frozen = {g.name: g.reason for g in channels.groups if g.frozen}
    mixed = "a" if row == "activation" else "m"
    assert "mixes it" in frozen[mixed]


def test_an_activation_stays_where_a_keras_mask_passes_it():
    words = tf_keras.Input((5,), dtype="int32")
    x = layers.Embedding(7, 4, mask_zero=True, name="a")(words)
    x = layers.Dense(6, activation=hard_swish, name="m")(x)
    x = layers.LSTM(3, name="z")(x)
    given = np.array([[1, 2, 0, 0, 0], [3, 4, 5, 6, 0]])
    model = randomise(tf_keras.Model(words, x))
    channels, _, _ = prune_and_compare(model, inputs=given)
    assert sizes(channels) == {"a": 4}
    frozen = {g.name: g.reason for g in channels.groups if g.frozen}
    assert "'own hard_swish', which has no rule" in frozen["m"]


def test_a_lambda_is_tried():
    inputs = tf_keras.Input((5, 3))
    x = layers.Dense(4, name="a")(inputs)
    x = layers.Lambda(lambda x: tf.math.asinh(x), name="m")(x)
    x = layers.Dense(2, name="z")(x)
    channels, _, _ = prune_and_compare(randomise(tf_keras.Model(inputs, x)))
    assert sizes(channels) == {"a": 4}
    ((_, pattern),) = channels.probed
    assert pattern == "each channel by itself"


def test_an_encoder_hands_its_state_to_a_decoder():
    source, target = tf_keras.Input((5, 3)), tf_keras.Input((4, 3))
    _, h, c = layers.LSTM(6, return_state=True, name="a")(source)
    x = layers.LSTM(6, return_sequences=True, name="b")(
        target, initial_state=[h, c]
    )
    x = layers.Dense(2, name="z")(x)
    model = randomise(tf_keras.Model([source, target], x))
    channels, _, _ = prune_and_compare(model)
    assert sizes(channels) == {"a": 6}
    assert channels.prunable[0].layers == ("a", "b")


def test_resizing():
    image = tf_keras.Input((6, 6, 3))
    x = layers.Conv2D(6, 3, name="a")(image)
    x = layers.Resizing(9, 5)(x)
    x = layers.Conv2D(2, 3, name="z")(x)
    channels, _, _ = prune_and_compare(randomise(tf_keras.Model(image, x)))
    assert sizes(channels) == {"a": 6}
