"""Recurrent layers: units are columns of every gate and rows of the state."""

import keras
import numpy as np
import pytest
from keras import layers
from rule_checks import prune_and_compare
from rule_checks import randomise
from rule_checks import reasons
from rule_checks import sizes

from tf_channel_prune.api import channels_of


def sequence(layer, shape=(5, 3), width=4):
    """Dense, the layer, Dense."""
    inputs = keras.Input(shape)
    x = layers.Dense(width, name="a")(inputs)
    x = layer(x)
    parts = list(x) if isinstance(x, (list, tuple)) else [x]
    outputs = [
        layers.Dense(2, name=f"z{i}")(part) for i, part in enumerate(parts)
    ]
    return randomise(keras.Model(inputs, outputs))


OPTIONS = {
    "plain": {},
    "sequences": {"return_sequences": True},
    "states": {"return_sequences": True, "return_state": True},
    "no bias": {"use_bias": False},
    "backwards": {"go_backwards": True},
    "unrolled": {"unroll": True},
    "relu": {"activation": "relu"},
    "sigmoid": {"activation": "sigmoid", "return_sequences": True},
    "dropout": {"dropout": 0.2, "recurrent_dropout": 0.2},
}


@pytest.mark.parametrize("cls", [layers.LSTM, layers.GRU, layers.SimpleRNN])
@pytest.mark.parametrize("row", OPTIONS)
def test_slim_equals_sparse(cls, row):
    layer = cls(6, name="m", **OPTIONS[row])
    channels, _, slim = prune_and_compare(sequence(layer))
    assert sizes(channels) == {"a": 4, "m": 6}
    assert slim.get_layer("m").units < 6


MORE = {
    "gru, reset before": lambda: layers.GRU(6, reset_after=False, name="m"),
    "lstm cell": lambda: layers.RNN(layers.LSTMCell(6), name="m"),
    "gru cell": lambda: layers.RNN(layers.GRUCell(6), name="m"),
    "simple cell": lambda: layers.RNN(layers.SimpleRNNCell(6), name="m"),
}


@pytest.mark.parametrize("row", MORE)
def test_other_forms(row):
    channels, _, _ = prune_and_compare(sequence(MORE[row]()))
    assert sizes(channels) == {"a": 4, "m": 6}


def test_zero_of_a_dead_unit():
    for activation, expected in (("tanh", True), ("sigmoid", False)):
        layer = layers.LSTM(6, activation=activation, name="m")
        channels = channels_of(sequence(layer))
        node = channels.graph.nodes[1]
        assert channels.scope.tensors[node.outputs[0]].zero == expected


def test_an_activation_over_the_units():
    layer = layers.SimpleRNN(6, activation="softmax", name="m")
    channels, _, _ = prune_and_compare(sequence(layer))
    assert sizes(channels) == {"a": 4}
    assert reasons(channels)["m"] == "m applies 'softmax' over its units"


def test_stacked_layers():
    inputs = keras.Input((None, 3))
    x = layers.LSTM(4, return_sequences=True, name="a")(inputs)
    x = layers.GRU(6, return_sequences=True, name="b")(x)
    x = layers.SimpleRNN(5, name="c")(x)
    x = layers.Dense(2, name="z")(x)
    channels, _, _ = prune_and_compare(randomise(keras.Model(inputs, x)))
    assert sizes(channels) == {"a": 4, "b": 6, "c": 5}


def test_an_encoder_hands_its_state_to_a_decoder():
    source, target = keras.Input((5, 3)), keras.Input((4, 3))
    _, h, c = layers.LSTM(6, return_state=True, name="a")(source)
    x = layers.LSTM(6, return_sequences=True, name="b")(
        target, initial_state=[h, c]
    )
    x = layers.Dense(2, name="z")(x)
    model = randomise(keras.Model([source, target], x))
    channels, _, _ = prune_and_compare(model)
    assert sizes(channels) == {"a": 6}
    assert channels.prunable[0].layers == ("a", "b")


def test_a_state_that_is_not_zero_where_it_is_dead():
    inputs = keras.Input((5, 3))
    state = layers.Dense(6, activation="sigmoid", name="s")(
        layers.Flatten()(inputs)
    )
    x = layers.GRU(6, name="m")(inputs, initial_state=state)
    x = layers.Dense(2, name="z")(x)
    channels, _, _ = prune_and_compare(randomise(keras.Model(inputs, x)))
    assert channels.prunable[0].layers == ("s", "m")
    node = next(n for n in channels.graph.nodes if n.name == "m")
    assert not channels.scope.tensors[node.outputs[0]].zero


def test_a_state_from_the_model_input_freezes():
    inputs, state = keras.Input((5, 3)), keras.Input((6,), name="state")
    x = layers.GRU(6, name="m")(inputs, initial_state=state)
    x = layers.Dense(2, name="z")(x)
    channels, _, _ = prune_and_compare(
        randomise(keras.Model([inputs, state], x))
    )
    assert sizes(channels) == {}
    assert reasons(channels)["m"] == (
        "m starts from it, beside the model input 'state'"
    )


def test_stateful():
    inputs = keras.Input(batch_shape=(2, 5, 3))
    x = layers.LSTM(6, stateful=True, name="m")(inputs)
    x = layers.Dense(2, name="z")(x)
    channels, _, _ = prune_and_compare(randomise(keras.Model(inputs, x)))
    assert sizes(channels) == {"m": 6}


def test_masked_steps():
    inputs = keras.Input((5, 3))
    x = layers.Masking()(inputs)
    x = layers.LSTM(6, return_sequences=True, name="a")(x)
    x = layers.Bidirectional(layers.GRU(4), name="m")(x)
    x = layers.Dense(2, name="z")(x)
    given = np.random.default_rng(0).standard_normal((2, 5, 3))
    given[:, 3:] = 0
    channels, _, _ = prune_and_compare(
        randomise(keras.Model(inputs, x)), inputs=given.astype("float32")
    )
    assert sizes(channels)["a"] == 6


def test_masking_of_prunable_channels():
    """A step is masked when all channels are 0, dead ones included."""
    for activation in ("relu", "sigmoid"):
        inputs = keras.Input((5, 3))
        x = layers.Dense(4, activation=activation, name="a")(inputs)
        x = layers.Masking(name="mask")(x)
        x = layers.LSTM(6, name="m")(x)
        x = layers.Dense(2, name="z")(x)
        channels, _, _ = prune_and_compare(randomise(keras.Model(inputs, x)))
        assert sizes(channels)["m"] == 6
        assert activation == "relu" or "a" in reasons(channels)


MERGES = ["concat", "sum", "mul", "ave", None]


@pytest.mark.parametrize("mode", MERGES)
@pytest.mark.parametrize("cls", [layers.LSTM, layers.GRU, layers.SimpleRNN])
def test_bidirectional(cls, mode):
    layer = layers.Bidirectional(
        cls(6, return_sequences=True), merge_mode=mode, name="m"
    )
    channels, _, slim = prune_and_compare(sequence(layer))
    assert sizes(channels) == {"a": 4, "m": 6}
    assert slim.get_layer("m").forward_layer.units < 6


def test_bidirectional_with_states():
    inputs = keras.Input((5, 3))
    parts = layers.Bidirectional(layers.LSTM(6, return_state=True), name="m")(
        inputs
    )
    again = layers.Bidirectional(layers.LSTM(6), name="n")(
        inputs, initial_state=list(parts[1:])
    )
    x = layers.Dense(2, name="z")(layers.Concatenate()([parts[0], again]))
    channels, _, _ = prune_and_compare(randomise(keras.Model(inputs, x)))
    assert sizes(channels) == {"m": 6}
    assert channels.prunable[0].layers == ("m", "n")


def test_bidirectional_with_a_backward_layer():
    layer = layers.Bidirectional(
        layers.LSTM(6, activation="relu"),
        backward_layer=layers.LSTM(6, go_backwards=True),
        name="m",
    )
    channels, _, _ = prune_and_compare(sequence(layer))
    assert sizes(channels) == {"a": 4, "m": 6}


CONVOLUTIONS = {
    "1d": (layers.ConvLSTM1D, (4, 6, 3)),
    "2d": (layers.ConvLSTM2D, (3, 5, 6, 3)),
    "3d": (layers.ConvLSTM3D, (2, 4, 4, 4, 3)),
}


@pytest.mark.parametrize("row", CONVOLUTIONS)
@pytest.mark.parametrize("sequences", [False, True])
def test_convolutional(row, sequences):
    cls, shape = CONVOLUTIONS[row]
    layer = cls(6, 3, return_sequences=sequences, padding="same", name="m")
    channels, _, slim = prune_and_compare(sequence(layer, shape))
    assert sizes(channels) == {"a": 4, "m": 6}
    assert slim.get_layer("m").filters < 6


def test_convolutional_states_and_strides():
    layer = layers.ConvLSTM2D(
        6, 2, strides=2, return_state=True, use_bias=False, name="m"
    )
    channels, _, _ = prune_and_compare(sequence(layer, (3, 6, 6, 3)))
    assert sizes(channels) == {"a": 4, "m": 6}


def test_convolutional_channels_first_labels():
    inputs = keras.Input((3, 2, 6, 6))
    x = layers.ConvLSTM2D(
        4, 3, data_format="channels_first", return_sequences=True, name="a"
    )(inputs)
    x = layers.ConvLSTM2D(6, 3, data_format="channels_first", name="b")(x)
    x = layers.Conv2D(2, 1, data_format="channels_first", name="z")(x)
    channels = channels_of(keras.Model(inputs, x))
    assert sizes(channels) == {"a": 4, "b": 6}


FROZEN = {
    "stacked cells": (
        lambda: layers.RNN([layers.LSTMCell(4), layers.LSTMCell(4)], name="m"),
        "m runs a StackedRNNCells, which has no rule",
    ),
    "bidirectional over cells": (
        lambda: layers.Bidirectional(layers.RNN(layers.LSTMCell(4)), name="m"),
        "m wraps a RNN, which has no rule",
    ),
}


@pytest.mark.parametrize("row", FROZEN)
def test_left_whole_with_a_reason(row):
    make, why = FROZEN[row]
    channels, _, _ = prune_and_compare(sequence(make()))
    assert sizes(channels) == {}
    assert reasons(channels)["a"] == why


def test_half_precision():
    inputs = keras.Input((5, 3))
    x = layers.LSTM(6, name="a", dtype="mixed_bfloat16")(inputs)
    x = layers.Dense(2, name="z", dtype="mixed_bfloat16")(x)
    prune_and_compare(randomise(keras.Model(inputs, x)), tolerance=3e-2)
