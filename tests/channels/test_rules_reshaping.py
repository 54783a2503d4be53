"""Flatten, Reshape, Permute, RepeatVector: labels move with positions."""

import keras
import pytest
from keras import layers
from rule_checks import prune_and_compare
from rule_checks import randomise
from rule_checks import reasons
from rule_checks import sizes

from tf_channel_prune.api import channels_of


def chain(shape, *parts):
    x = inputs = keras.Input(shape)
    for part in parts:
        x = part(x)
    return randomise(keras.Model(inputs, x))


def dense(units, name):
    return layers.Dense(units, name=name)


ROWS = {
    "flatten": (
        (5, 3),
        [dense(4, "a"), layers.Flatten(), dense(2, "z")],
        {"a": 4},
    ),
    "split the channels into heads": (
        (5, 3),
        [dense(6, "a"), layers.Reshape((5, 2, 3)), dense(2, "z")],
        {"a": 3},
    ),
    "split the steps": (
        (6, 3),
        [dense(4, "a"), layers.Reshape((2, 3, 4)), dense(2, "z")],
        {"a": 4},
    ),
    "target of -1 for the channels": (
        (6, 3),
        [dense(4, "a"), layers.Reshape((6, -1)), dense(2, "z")],
        {"a": 4},
    ),
    "target of -1 for the steps": (
        (2, 3, 3),
        [dense(4, "a"), layers.Reshape((-1, 4)), dense(2, "z")],
        {"a": 4},
    ),
    "vector to map": (
        (5,),
        [dense(12, "a"), layers.Reshape((2, 2, 3)), dense(2, "z")],
        {"a": 3},
    ),
    "permute": (
        (5, 3),
        [
            dense(4, "a"),
            layers.Permute((2, 1)),
            layers.Flatten(),
            dense(2, "z"),
        ],
        {"a": 4},
    ),
    "repeat vector": (
        (5,),
        [dense(4, "a"), layers.RepeatVector(3), dense(2, "z")],
        {"a": 4},
    ),
    "channel shuffle": (
        (4, 3),
        [
            dense(6, "a"),
            layers.Reshape((4, 2, 3)),
            layers.Permute((1, 3, 2)),
            layers.Reshape((4, 6)),
            dense(2, "z"),
        ],
        {"a": 3},
    ),
}


@pytest.mark.parametrize("row", ROWS)
def test_slim_equals_sparse(row):
    shape, parts, expected = ROWS[row]
    fresh = [type(p).from_config(p.get_config()) for p in parts]
    channels, _, _ = prune_and_compare(chain(shape, *fresh))
    assert sizes(channels) == expected


def test_unknown_steps():
    x = inputs = keras.Input((None, 3))
    x = layers.Dense(6, name="a")(x)
    x = layers.Reshape((-1, 2, 3))(x)
    x = layers.Dense(2, name="z")(x)
    channels, _, _ = prune_and_compare(randomise(keras.Model(inputs, x)))
    assert sizes(channels) == {"a": 3}


def test_flatten_of_unknown_steps_is_frozen():
    x = inputs = keras.Input((None, 3))
    x = layers.Dense(6, name="a")(x)
    x = layers.Flatten(name="m")(x)
    channels = channels_of(randomise(keras.Model(inputs, x)))
    assert reasons(channels)["a"] == "m flattens it: an unknown size"


def test_flatten_channels_first_moves_channels_last():
    x = inputs = keras.Input((3, 4, 4))
    x = layers.Conv2D(4, 3, data_format="channels_first", name="a")(x)
    x = layers.Flatten(data_format="channels_first")(x)
    x = layers.Dense(2, name="z")(x)
    channels = channels_of(randomise(keras.Model(inputs, x)))
    assert sizes(channels) == {"a": 4}
    node = channels.graph.nodes[1]
    vector = channels.units(channels.scope.tensors[node.outputs[0]].axis(1))
    assert vector[:5].tolist() == [0, 1, 2, 3, 0]


def test_shared_reshape_has_one_target():
    inputs = keras.Input((4, 3))
    reshape = layers.Reshape((2, 2, 6))
    a = reshape(layers.Dense(6, name="a")(inputs))
    b = reshape(layers.Dense(6, name="b")(inputs))
    x = layers.Dense(2, name="z")(layers.Concatenate()([a, b]))
    channels, _, _ = prune_and_compare(randomise(keras.Model(inputs, x)))
    assert sorted(channels.prunable[0].layers) == ["a", "b"]
    assert channels.prunable[0].size == 6
