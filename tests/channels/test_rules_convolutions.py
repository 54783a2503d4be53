"""Convolutions: pruned at random, slim must equal sparse."""

import keras
import numpy as np
import pytest
from keras import layers
from rule_checks import between
from rule_checks import prune_and_compare
from rule_checks import random_alive
from rule_checks import randomise
from rule_checks import reasons
from rule_checks import sizes

import tf_channel_prune as tcp
from tf_channel_prune.api import channels_of
from tf_channel_prune.planning import Limits
from tf_channel_prune.transform import make_slim

D1, D2, D3 = (8, 3), (6, 6, 3), (4, 4, 4, 3)

# name: (layer between a and z, input shape, groups that can be pruned)
ROWS = {
    "conv1d": (layers.Conv1D(6, 3, name="m"), D1, {"a": 4, "m": 6}),
    "conv1d causal": (
        layers.Conv1D(6, 3, padding="causal", dilation_rate=2, name="m"),
        D1,
        {"a": 4, "m": 6},
    ),
    "conv2d": (layers.Conv2D(6, 3, name="m"), D2, {"a": 4, "m": 6}),
    "conv2d strided, no bias": (
        layers.Conv2D(6, 3, strides=2, use_bias=False, name="m"),
        D2,
        {"a": 4, "m": 6},
    ),
    "conv2d relu": (
        layers.Conv2D(6, 3, activation="relu", name="m"),
        D2,
        {"a": 4, "m": 6},
    ),
    "conv2d sigmoid": (
        layers.Conv2D(6, 3, activation="sigmoid", name="m"),
        D2,
        {"a": 4, "m": 6},
    ),
    "conv2d softmax": (
        layers.Conv2D(6, 3, activation="softmax", name="m"),
        D2,
        {"a": 4},
    ),
    "conv3d": (layers.Conv3D(6, 2, name="m"), D3, {"a": 4, "m": 6}),
    "transpose 1d": (
        layers.Conv1DTranspose(6, 3, strides=2, name="m"),
        D1,
        {"a": 4, "m": 6},
    ),
    "transpose 2d": (
        layers.Conv2DTranspose(6, 3, strides=2, padding="same", name="m"),
        D2,
        {"a": 4, "m": 6},
    ),
    "transpose 2d, no bias, gelu": (
        layers.Conv2DTranspose(
            6, 3, use_bias=False, activation="gelu", name="m"
        ),
        D2,
        {"a": 4, "m": 6},
    ),
    "transpose 3d": (
        layers.Conv3DTranspose(6, 2, name="m"),
        D3,
        {"a": 4, "m": 6},
    ),
    "depthwise 1d": (layers.DepthwiseConv1D(3, name="m"), D1, {"a": 4}),
    "depthwise 2d": (layers.DepthwiseConv2D(3, name="m"), D2, {"a": 4}),
    "depthwise multiplier": (
        layers.DepthwiseConv2D(
            3, depth_multiplier=3, activation="relu", name="m"
        ),
        D2,
        {"a": 4},
    ),
    "separable 1d": (
        layers.SeparableConv1D(6, 3, name="m"),
        D1,
        {"a": 4, "m": 6},
    ),
    "separable 2d": (
        layers.SeparableConv2D(
            6, 3, depth_multiplier=2, activation="silu", name="m"
        ),
        D2,
        {"a": 4, "m": 6},
    ),
    "groups": (
        layers.Conv2D(6, 3, groups=2, name="m"),
        D2,
        {"a": 2, "m": 3},
    ),
    "groups as depthwise": (
        layers.Conv2D(4, 3, groups=4, name="m"),
        D2,
        {"a": 4},
    ),
    "groups as depthwise, multiplier": (
        layers.Conv2D(8, 3, groups=4, name="m"),
        D2,
        {"a": 4},
    ),
    "groups 1d": (
        layers.Conv1D(6, 3, groups=2, name="m"),
        D1,
        {"a": 2, "m": 3},
    ),
    "groups of one output each": (
        layers.Conv2D(2, 3, groups=2, name="m"),
        D2,
        {"a": 2},
    ),
}


@pytest.mark.parametrize("row", ROWS)
def test_slim_equals_sparse(row):
    layer, shape, expected = ROWS[row]
    layer = type(layer).from_config(layer.get_config())
    channels, _, _ = prune_and_compare(between(layer, shape))
    assert sizes(channels) == expected


FIXED_INPUT = {
    "conv": (layers.Conv2D(6, 3, name="m"), {"m": 6}),
    "depthwise": (layers.DepthwiseConv2D(3, name="m"), {}),
    "groups": (layers.Conv2D(8, 3, groups=2, name="m"), {"m": 4}),
    "groups as depthwise": (layers.Conv2D(8, 3, groups=4, name="m"), {}),
    "separable": (layers.SeparableConv2D(6, 3, name="m"), {"m": 6}),
}


@pytest.mark.parametrize("row", FIXED_INPUT)
def test_on_the_model_input(row):
    layer, expected = FIXED_INPUT[row]
    x = inputs = keras.Input((6, 6, 4))
    x = type(layer).from_config(layer.get_config())(x)
    x = layers.Conv2D(2, 1, name="z")(x)
    channels, _, _ = prune_and_compare(randomise(keras.Model(inputs, x)))
    assert sizes(channels) == expected


def test_output_is_frozen_with_its_reason():
    channels = channels_of(between(layers.Conv2D(6, 3, name="m")))
    assert reasons(channels) == {"z": "it reaches a model output"}


def test_softmax_is_frozen_with_its_reason():
    model = between(layers.Conv2D(6, 3, activation="softmax", name="m"))
    assert reasons(channels_of(model))["m"] == "m takes a softmax over it"


def test_dead_channels_with_bias_do_not_leak():
    """A channel that a sigmoid lifts to 0.5 is masked where it is used."""
    layer = layers.Conv2D(6, 3, activation="sigmoid", name="m")
    prune_and_compare(between(layer), tolerance=1e-6)


FIRST = {
    "conv": layers.Conv2D(6, 3, data_format="channels_first", name="m"),
    "depthwise": layers.DepthwiseConv2D(
        3, data_format="channels_first", name="m"
    ),
    "transpose": layers.Conv2DTranspose(
        6, 3, data_format="channels_first", name="m"
    ),
    "separable": layers.SeparableConv2D(
        6, 3, data_format="channels_first", name="m"
    ),
    "groups": layers.Conv2D(
        6, 3, groups=2, data_format="channels_first", name="m"
    ),
}


@pytest.mark.parametrize("row", FIRST)
def test_channels_first(row):
    """TensorFlow cannot run these on a CPU: labels and shapes only."""
    x = inputs = keras.Input((3, 9, 9))
    x = layers.Conv2D(4, 3, data_format="channels_first", name="a")(x)
    layer = FIRST[row]
    x = type(layer).from_config(layer.get_config())(x)
    inner = x
    x = layers.Conv2D(2, 1, data_format="channels_first", name="z")(x)
    channels = channels_of(randomise(keras.Model(inputs, x)))
    axes = {
        node.name: sorted(channels.scope.tensors[node.outputs[0]].axes)
        for node in channels.graph.nodes
    }
    assert axes == {"a": [1], "m": [1], "z": [1]}
    slim = make_slim(channels, random_alive(channels, 1))
    assert slim.output.shape == (None, 2, *x.shape[2:])
    assert slim.get_layer("m").output.shape[1] < inner.shape[1]


@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize("groups", [None, 3])
def test_one_channel_each_of_the_input_has_a_reason(groups, use_bias):
    if groups:
        layer = layers.Conv2D(6, 3, groups=3, use_bias=use_bias, name="m")
    else:
        layer = layers.DepthwiseConv2D(
            3, depth_multiplier=2, use_bias=use_bias, name="m"
        )
    x = inputs = keras.Input((6, 6, 3))
    x = layers.Conv2D(4, 1, name="a")(layer(x))
    x = layers.Conv2D(2, 1, name="z")(x)
    channels, _, _ = prune_and_compare(randomise(keras.Model(inputs, x)))
    why = "m makes it of one input channel, which stays"
    assert reasons(channels)["m"] == why
    assert {group.name: group.size for group in channels.groups} == {
        "m": 6,
        "a": 4,
        "z": 2,
    }


def first_pair(filters, size):
    """Two convolutions with biases, and what reads them."""
    options = {"data_format": "channels_first", "padding": "same"}
    x = inputs = keras.Input((3, size, size))
    x = layers.Conv2D(filters, 3, name="a", **options)(x)
    x = layers.Conv2D(filters, 3, name="b", **options)(x)
    x = layers.GlobalAveragePooling2D(data_format="channels_first")(x)
    return randomise(keras.Model(inputs, layers.Dense(2, name="z")(x)))


def test_channels_first_biases_are_not_taken_for_rows():
    """Keras adds a bias of 6 channels along a width of 6."""
    model = first_pair(9, 6)
    groups = channels_of(model).prunable
    ladders = [Limits(divisor=1).ladder(g)[:5].tolist() for g in groups]
    assert ladders == [[9, 8, 7, 5, 4]] * 2
    assert [group.allowed(6) for group in groups] == [7, 7]
    slim = tcp.transform(tcp.prune(model, 0.01, divisor=3))
    filters = [slim.get_layer(name).filters for name in "ab"]
    assert set(filters) == {9, 3}


def test_channels_first_biases_that_keras_takes_for_rows():
    """With fewer filters Keras would add them elsewhere."""
    channels = channels_of(first_pair(6, 6))
    assert sizes(channels) == {}
    why = "adds its bias along an axis as long as it"
    assert reasons(channels)["a"] == f"a {why}"
    assert sizes(channels_of(first_pair(6, None))) == {"a": 6, "b": 6}


def test_several_groups_along_one_avoided_length():
    """No count of one says how much stays: they stay whole."""
    x = inputs = keras.Input((3, 6, 6))
    options = {"data_format": "channels_first", "padding": "same"}
    x = layers.Conv2D(9, 3, name="a", **options)(x)
    parts = [x[:, :4], x[:, 4:]]
    parts = [layers.Conv2D(1, 1, **options)(part) for part in parts]
    groups = channels_of(randomise(keras.Model(inputs, parts))).prunable
    assert {g.name: Limits(divisor=1).ladder(g).tolist() for g in groups} == {
        "a[0:4]": [4],
        "a[4:9]": [5],
    }


# Row of FIRST: the image's size, and the counts of filters that become a width.
NEVER = {
    "conv": (7, {"m": {3}}),
    "depthwise": (7, {"a": {3}}),
    "transpose": (5, {"a": {3}, "m": {5}}),
    "separable": (7, {"m": {3}}),
    "groups": (8, {"m": {2}}),
}


@pytest.mark.parametrize("row", NEVER)
def test_counts_that_are_as_long_as_a_width(row):
    size, expected = NEVER[row]
    x = inputs = keras.Input((3, size, size))
    x = layers.Conv2D(4, 3, data_format="channels_first", name="a")(x)
    layer = FIRST[row]
    x = type(layer).from_config(layer.get_config())(x)
    x = layers.Conv2D(2, 1, data_format="channels_first", name="z")(x)
    groups = channels_of(keras.Model(inputs, x)).prunable
    assert {g.name: g.never for g in groups if g.never} == expected


def test_unequal_spatial_labels_are_frozen():
    """A convolution slides along an axis that carries labels."""
    x = inputs = keras.Input((5, 6))
    x = layers.Dense(4, name="a")(x)
    x = layers.Permute((2, 1))(x)
    x = layers.Conv1D(3, 2, name="m")(x)
    x = layers.Conv1D(2, 1, name="z")(x)
    channels, _, _ = prune_and_compare(randomise(keras.Model(inputs, x)))
    assert sizes(channels) == {"m": 3}
    assert reasons(channels)["a"] == "m slides along it"


def test_shared_convolution():
    one = keras.Input((6, 6, 3))
    conv = layers.Conv2D(4, 3, padding="same", name="a")
    back = layers.Conv2D(3, 1, name="b")
    x = conv(one)
    x = conv(back(x))
    x = layers.Conv2D(2, 1, name="z")(x)
    channels, _, _ = prune_and_compare(randomise(keras.Model(one, x)))
    assert sizes(channels) == {"a": 4}
    assert "a shares its kernel" in reasons(channels)["b"]


def test_groups_lose_the_same_positions():
    model = between(layers.Conv2D(6, 3, groups=2, name="m"))
    channels = channels_of(model)
    node = next(n for n in channels.graph.nodes if n.name == "m")
    units = channels.units(channels.scope.tensors[node.outputs[0]].axis(-1))
    np.testing.assert_array_equal(units[:3], units[3:])
    incoming = channels.units(channels.scope.tensors[node.inputs[0]].axis(-1))
    np.testing.assert_array_equal(incoming[:2], incoming[2:])
