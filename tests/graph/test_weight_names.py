"""A weight has one name, however its layer came about."""

import keras
import numpy as np
import pytest

import tf_channel_prune as tcp
from tf_channel_prune.graph.read_keras import weights_of

tf_keras = pytest.importorskip("tf_keras")

SEQUENCE = (6, 5)
LAYERS = {
    "bidirectional": lambda L: L.Bidirectional(L.LSTM(8)),
    "two directions": lambda L: L.Bidirectional(
        L.GRU(8), backward_layer=L.GRU(8, go_backwards=True)
    ),
    "each step": lambda L: L.TimeDistributed(L.Dense(8, activation="tanh")),
    "cell": lambda L: L.RNN(L.GRUCell(8)),
}
KERAS = {
    **LAYERS,
    "spectral": lambda L: L.SpectralNormalization(L.Conv1D(8, 2)),
}
# They stay whole.
NESTED = {
    "cells": ((6, 5), lambda L: L.RNN([L.LSTMCell(4), L.LSTMCell(4)])),
    "each step both ways": (
        (2, 6, 5),
        lambda L: L.TimeDistributed(L.Bidirectional(L.LSTM(4))),
    ),
}
CASES = [
    *((kind, keras, SEQUENCE, make) for kind, make in KERAS.items()),
    *((kind, tf_keras, SEQUENCE, make) for kind, make in LAYERS.items()),
]
EVERY = pytest.mark.parametrize(
    ("flavour", "shape", "make"),
    [case[1:] for case in CASES],
    ids=[f"{case[1].__name__} {case[0]}" for case in CASES],
)


def network(flavour, shape, make):
    flavour.utils.set_random_seed(0)
    layers = flavour.layers
    inputs = flavour.Input(shape)
    before = layers.Dense(6, activation="relu")(inputs)
    after = layers.Flatten()(make(layers)(before))
    return flavour.Model(inputs, layers.Dense(3)(after))


def reloaded(flavour, model, folder):
    path = str(folder / "model.keras")
    model.save(path)
    return flavour.models.load_model(path)


def cloned(flavour, model):
    clone = flavour.models.clone_model(model)
    clone.set_weights(model.get_weights())
    return clone


def assert_same(one, two):
    x = np.random.default_rng(0).normal(size=(4, *one.input_shape[1:]))
    x = x.astype("float32")
    np.testing.assert_allclose(one(x), two(x), atol=1e-5)


@EVERY
def test_a_loaded_or_cloned_model_is_pruned_like_its_original(
    tmp_path, flavour, shape, make
):
    model = network(flavour, shape, make)
    loaded = reloaded(flavour, model, tmp_path)
    slim = tcp.transform(tcp.prune(model, 0.4))
    copies = (loaded, cloned(flavour, model), cloned(flavour, loaded))
    for copy in copies:
        sparse = tcp.prune(copy, 0.4)
        assert_same(sparse, slim)
        assert_same(tcp.transform(sparse), slim)


@EVERY
def test_a_sparse_file_holds_its_masks(tmp_path, flavour, shape, make):
    sparse = tcp.prune(network(flavour, shape, make), 0.4)
    loaded = reloaded(flavour, sparse, tmp_path)
    assert_same(sparse, loaded)
    for one, two in zip(sparse.get_weights(), loaded.get_weights()):
        np.testing.assert_array_equal(one, two)
    assert_same(tcp.transform(loaded), sparse)


@EVERY
def test_a_slim_file_is_pruned_again(tmp_path, flavour, shape, make):
    slim = tcp.transform(tcp.prune(network(flavour, shape, make), 0.4))
    loaded = reloaded(flavour, slim, tmp_path)
    again = tcp.transform(tcp.prune(loaded, 0.2))
    assert again.count_params() < loaded.count_params()


def names(layer):
    return [weight.name for weight in weights_of(layer)]


SHAPES = {
    **{kind: (SEQUENCE, make) for kind, make in KERAS.items()},
    **NESTED,
}


@pytest.mark.parametrize("kind", SHAPES)
def test_names_are_those_of_a_loaded_layer(tmp_path, kind):
    model = network(keras, *SHAPES[kind])
    loaded = reloaded(keras, model, tmp_path)
    for copy in (loaded, keras.models.clone_model(loaded)):
        for one, two in zip(model.layers, copy.layers):
            assert names(one) == names(two)


class Two(keras.layers.Layer):
    """Two sub-layers without names of their own."""

    def build(self, shape):
        self.first = keras.layers.Dense(3)
        self.second = keras.layers.Dense(3)
        self.first.build(shape)
        self.second.build(shape)
        self.borrowed = self.first.kernel


def test_names_of_sub_layers_are_not_numbered_over_the_process():
    expected = ["dense/kernel", "dense/bias", "dense_1/kernel", "dense_1/bias"]
    for _ in range(2):
        layer = Two()
        layer.build((None, 4))
        assert names(layer) == expected


def test_names_of_what_keras_names_itself():
    both = keras.layers.Bidirectional(keras.layers.LSTM(4, name="lstm"))
    both.build((None, 6, 5))
    assert "forward_lstm/lstm_cell/kernel" in names(both)
    attention = keras.layers.MultiHeadAttention(2, 4)
    attention.build((None, 6, 5), (None, 6, 5))
    assert "query/kernel" in names(attention)
