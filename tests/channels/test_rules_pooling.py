"""Pooling, padding, cropping, resizing, dropout: channels pass."""

import keras
import pytest
from keras import layers
from rule_checks import between
from rule_checks import prune_and_compare
from rule_checks import random_alive
from rule_checks import randomise
from rule_checks import reasons
from rule_checks import sizes

from tf_channel_prune.api import channels_of
from tf_channel_prune.transform import make_slim

SHAPES = {1: (8, 3), 2: (8, 8, 3), 3: (6, 6, 6, 3)}

PLAIN = {
    f"{kind}{rank}D": (options, rank)
    for kind, options in {
        "MaxPooling": {},
        "AveragePooling": {"pool_size": 2, "padding": "same"},
        "GlobalMaxPooling": {},
        "GlobalAveragePooling": {"keepdims": True},
        "UpSampling": {},
        "ZeroPadding": {},
        "Cropping": {},
        "AdaptiveAveragePooling": {"output_size": 2},
        "AdaptiveMaxPooling": {"output_size": 2},
    }.items()
    for rank in (1, 2, 3)
}


@pytest.mark.parametrize("row", PLAIN)
def test_every_rank(row):
    options, rank = PLAIN[row]
    layer = getattr(layers, row)(name="m", **options)
    model = between(layer, SHAPES[rank])
    channels, _, _ = prune_and_compare(model)
    assert sizes(channels) == {"a": 4}


OTHERS = {
    "pool strided": lambda: layers.MaxPooling2D(3, 2, "same", name="m"),
    "global average, vector": lambda: layers.GlobalAveragePooling2D(name="m"),
    "global max, keepdims": lambda: layers.GlobalMaxPooling2D(
        keepdims=True, name="m"
    ),
    "uneven padding": lambda: layers.ZeroPadding2D(((1, 0), (2, 3)), name="m"),
    "uneven cropping": lambda: layers.Cropping2D(((1, 0), (2, 1)), name="m"),
    "bilinear": lambda: layers.UpSampling2D(
        (2, 3), interpolation="bilinear", name="m"
    ),
    "resizing": lambda: layers.Resizing(5, 7, name="m"),
    "dropout": lambda: layers.Dropout(0.5, name="m"),
    "spatial dropout": lambda: layers.SpatialDropout2D(0.5, name="m"),
    "alpha dropout": lambda: layers.AlphaDropout(0.5, name="m"),
    "gaussian dropout": lambda: layers.GaussianDropout(0.5, name="m"),
    "gaussian noise": lambda: layers.GaussianNoise(0.5, name="m"),
    "activity regularization": lambda: layers.ActivityRegularization(
        l2=0.1, name="m"
    ),
    "identity": lambda: layers.Identity(name="m"),
    "rescaling": lambda: layers.Rescaling(0.5, name="m"),
    "rescaling with offset": lambda: layers.Rescaling(0.5, 1.0, name="m"),
}


@pytest.mark.parametrize("row", OTHERS)
def test_channels_pass(row):
    channels, _, _ = prune_and_compare(between(OTHERS[row](), SHAPES[2]))
    assert sizes(channels) == {"a": 4}


def test_dropout_noise_shape_follows():
    layer = layers.Dropout(0.5, noise_shape=(None, 1, 1, 4), name="m")
    channels, alive, slim = prune_and_compare(between(layer, SHAPES[2]))
    assert sizes(channels) == {"a": 4}
    kept = int(alive[channels.prunable[0].units].sum())
    assert slim.get_layer("m").noise_shape == (None, 1, 1, kept)
    slim(keras.ops.ones((2, 8, 8, 3)), training=True)


def test_padding_keeps_what_a_dead_channel_is():
    channels = channels_of(between(layers.ZeroPadding2D(name="m"), SHAPES[2]))
    assert channels.scope.tensors[channels.graph.nodes[1].outputs[0]].zero


def test_resizing_with_a_fill_lifts_zero():
    layer = layers.Resizing(
        5, 7, pad_to_aspect_ratio=True, fill_value=1.0, name="m"
    )
    channels, _, _ = prune_and_compare(between(layer, SHAPES[2]))
    tensor = channels.scope.tensors[channels.graph.nodes[1].outputs[0]]
    assert not tensor.zero


@pytest.mark.parametrize(
    "name",
    [
        "MaxPooling2D",
        "GlobalAveragePooling2D",
        "UpSampling2D",
        "ZeroPadding2D",
        "Cropping2D",
        "AdaptiveAveragePooling2D",
    ],
)
def test_channels_first(name):
    options = {"output_size": 2} if "Adaptive" in name else {}
    x = inputs = keras.Input((3, 8, 8))
    x = layers.Conv2D(4, 3, data_format="channels_first", name="a")(x)
    layer = getattr(layers, name)
    x = layer(data_format="channels_first", name="m", **options)(x)
    if len(x.shape) == 4:
        x = layers.Conv2D(2, 1, data_format="channels_first", name="z")(x)
    else:
        x = layers.Dense(2, name="z")(x)
    channels = channels_of(randomise(keras.Model(inputs, x)))
    assert sizes(channels) == {"a": 4}
    slim = make_slim(channels, random_alive(channels))
    assert slim.output.shape == x.shape


def test_pooling_along_labels_freezes_them():
    x = inputs = keras.Input((8, 3))
    x = layers.Dense(4, name="a")(x)
    x = layers.Permute((2, 1))(x)
    x = layers.MaxPooling1D(2, name="m")(x)
    x = layers.Dense(2, name="z")(x)
    channels, _, _ = prune_and_compare(randomise(keras.Model(inputs, x)))
    assert reasons(channels)["a"] == "m moves or mixes positions along it"


def test_masked_global_average():
    """The average over the unmasked steps of a sequence."""
    x = inputs = keras.Input((6, 3))
    x = layers.Masking(name="mask")(x)
    x = layers.Dense(4, name="a")(x)
    x = layers.GlobalAveragePooling1D(name="m")(x)
    x = layers.Dense(2, name="z")(x)
    channels, _, _ = prune_and_compare(randomise(keras.Model(inputs, x)))
    assert sizes(channels) == {"a": 4}
