"""Embeddings, tied and untied."""

import keras
import numpy as np
from keras import layers
from rule_checks import prune_and_compare
from rule_checks import randomise
from rule_checks import reasons
from rule_checks import sizes


def tokens(high=7, steps=5):
    return np.random.default_rng(0).integers(0, high, (3, steps))


def test_embedding():
    inputs = keras.Input((5,), dtype="int32")
    x = layers.Embedding(7, 4, name="a")(inputs)
    x = layers.Dense(2, name="z")(x)
    model = randomise(keras.Model(inputs, x))
    channels, _, slim = prune_and_compare(model, inputs=tokens())
    assert sizes(channels) == {"a": 4}
    assert slim.get_layer("a").input_dim == 7


def test_embedding_of_floats_and_with_a_mask():
    inputs = keras.Input((5,))
    x = layers.Embedding(7, 4, mask_zero=True, name="a")(inputs)
    x = layers.LSTM(3, name="m")(x)
    x = layers.Dense(2, name="z")(x)
    model = randomise(keras.Model(inputs, x))
    given = tokens().astype("float32")
    given[:, 3:] = 0
    channels, _, _ = prune_and_compare(model, inputs=given)
    assert sizes(channels)["a"] == 4


def test_shared_embedding():
    one = keras.Input((5,), dtype="int32", name="one")
    two = keras.Input((5,), dtype="int32", name="two")
    table = layers.Embedding(7, 4, name="a")
    x = layers.Concatenate()([table(one), table(two)])
    x = layers.Dense(2, name="z")(x)
    model = randomise(keras.Model([one, two], x))
    channels, _, _ = prune_and_compare(model, inputs=[tokens(), tokens()])
    assert sizes(channels) == {"a": 4}


def tied(tie_weights, soft_cap=None):
    inputs = keras.Input((5,), dtype="int32")
    table = layers.ReversibleEmbedding(
        7, 4, tie_weights=tie_weights, logit_soft_cap=soft_cap, name="a"
    )
    x = table(inputs)
    y = layers.Dense(4, activation="gelu", name="b")(x)
    x = layers.Add()([x, y])
    x = table(x, reverse=True)
    return randomise(keras.Model(inputs, x))


def test_reversible_embedding():
    for tie_weights, cap in ((True, None), (False, None), (True, 3.0)):
        model = tied(tie_weights, cap)
        channels, _, slim = prune_and_compare(model, inputs=tokens())
        assert sizes(channels) == {"a": 4}
        assert channels.prunable[0].layers == ("a", "b")
        assert slim.output.shape == (None, 5, 7)


def test_reversible_embedding_of_something_fixed():
    inputs = keras.Input((5,), dtype="int32")
    given = keras.Input((5, 4))
    table = layers.ReversibleEmbedding(7, 4, name="a")
    x = layers.Dense(2, name="z")(table(inputs))
    y = table(given, reverse=True)
    model = randomise(keras.Model([inputs, given], [x, y]))
    values = [tokens(), np.ones((3, 5, 4), "float32")]
    channels, _, _ = prune_and_compare(model, inputs=values)
    assert sizes(channels) == {}
    assert reasons(channels)["a"] == "a shares its embeddings"
