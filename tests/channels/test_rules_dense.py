"""Dense layers and what stands around them."""

import keras
import pytest
from keras import layers
from rule_checks import between
from rule_checks import prune_and_compare
from rule_checks import randomise
from rule_checks import reasons
from rule_checks import sizes

ROWS = {
    "vector": (lambda: layers.Dense(6, name="m"), (5,), {"a": 4, "m": 6}),
    "no bias": (
        lambda: layers.Dense(6, use_bias=False, name="m"),
        (5,),
        {"a": 4, "m": 6},
    ),
    "sigmoid": (
        lambda: layers.Dense(6, activation="sigmoid", name="m"),
        (5,),
        {"a": 4, "m": 6},
    ),
    "softmax": (
        lambda: layers.Dense(6, activation="softmax", name="m"),
        (5,),
        {"a": 4},
    ),
    "on a sequence": (
        lambda: layers.Dense(6, name="m"),
        (5, 3),
        {"a": 4, "m": 6},
    ),
    "on an image": (
        lambda: layers.Dense(6, activation="gelu", name="m"),
        (5, 5, 3),
        {"a": 4, "m": 6},
    ),
    "one unit": (lambda: layers.Dense(1, name="m"), (5,), {"a": 4}),
}


@pytest.mark.parametrize("row", ROWS)
def test_slim_equals_sparse(row):
    make, shape, expected = ROWS[row]
    channels, _, _ = prune_and_compare(between(make(), shape))
    assert sizes(channels) == expected


def test_labels_on_rows_pass_through():
    """An MLP-Mixer's token mixing: two axes of one tensor are prunable."""
    x = inputs = keras.Input((5, 3))
    x = layers.Dense(4, name="a")(x)
    x = layers.Permute((2, 1))(x)
    x = layers.Dense(6, name="tokens")(x)
    x = layers.Dense(7, name="out")(x)
    x = layers.Permute((2, 1))(x)
    x = layers.Dense(2, name="z")(x)
    channels, _, _ = prune_and_compare(randomise(keras.Model(inputs, x)))
    assert sizes(channels) == {"a": 4, "tokens": 6}
    # The seven positions of `out` are the rows of the model's output.
    assert reasons(channels)["out"] == "it reaches a model output"


def test_flatten_then_dense():
    x = inputs = keras.Input((4, 4, 3))
    x = layers.Conv2D(4, 3, name="a")(x)
    x = layers.Flatten()(x)
    x = layers.Dense(6, name="b")(x)
    x = layers.Dense(2, name="z")(x)
    channels, _, _ = prune_and_compare(randomise(keras.Model(inputs, x)))
    assert sizes(channels) == {"a": 4, "b": 6}
