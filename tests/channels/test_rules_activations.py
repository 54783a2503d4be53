"""Activations: as layers, as strings, as layers with weights."""

import keras
import numpy as np
import pytest
from keras import layers
from rule_checks import between
from rule_checks import prune_and_compare
from rule_checks import randomise
from rule_checks import reasons
from rule_checks import sizes

from tf_channel_prune.api import channels_of
from tf_channel_prune.channels.rules.activations import ELEMENTWISE
from tf_channel_prune.channels.rules.activations import ZERO_STAYS

NAMES = sorted(
    name
    for name, value in vars(keras.activations).items()
    if callable(value)
    and name == getattr(value, "__name__", "")
    and name not in ("get", "serialize", "deserialize")
)


def test_every_activation_of_keras_is_known():
    over_an_axis = {
        "softmax",
        "log_softmax",
        "sparsemax",
        "glu",
        "threshold",  # has two arguments more: never just a name
    }
    assert set(NAMES) - ELEMENTWISE - over_an_axis == set()


@pytest.mark.parametrize("name", sorted(ELEMENTWISE & set(NAMES)))
def test_whether_zero_stays(name):
    value = float(keras.activations.get(name)(keras.ops.zeros((1, 2)))[0, 0])
    assert (value == 0) == (name in ZERO_STAYS)


@pytest.mark.parametrize("name", ["relu", "sigmoid", "hard_swish", "softplus"])
def test_string_activation(name):
    layer = layers.Activation(name, name="m")
    channels, _, _ = prune_and_compare(between(layer))
    assert sizes(channels) == {"a": 4}
    tensor = channels.scope.tensors[_output(channels, "m")]
    assert tensor.zero == (name in ZERO_STAYS)


LAYERS = {
    "relu": (lambda: layers.ReLU(max_value=6.0, name="m"), True),
    "relu with threshold": (lambda: layers.ReLU(threshold=0.5, name="m"), True),
    "leaky relu, negative threshold": (
        lambda: layers.ReLU(negative_slope=0.1, threshold=0.5, name="m"),
        False,
    ),
    "leaky relu": (lambda: layers.LeakyReLU(name="m"), True),
    "elu": (lambda: layers.ELU(name="m"), True),
    "activation layer": (lambda: layers.Activation("mish", name="m"), True),
    "activation function": (
        lambda: layers.Activation(keras.activations.silu, name="m"),
        True,
    ),
    "prelu": (lambda: layers.PReLU(name="m"), True),
    "prelu shared": (lambda: layers.PReLU(shared_axes=[1, 2], name="m"), True),
    "prelu shared everywhere": (
        lambda: layers.PReLU(shared_axes=[1, 2, 3], name="m"),
        True,
    ),
}


@pytest.mark.parametrize("row", LAYERS)
def test_layer(row):
    make, zero = LAYERS[row]
    channels, _, _ = prune_and_compare(between(make()))
    assert sizes(channels) == {"a": 4}
    assert channels.scope.tensors[_output(channels, "m")].zero == zero


MIXING = {
    "softmax": (
        lambda: layers.Softmax(name="m"),
        {},
        "m takes a softmax over it",
    ),
    "softmax over space": (
        lambda: layers.Softmax(axis=[1, 2], name="m"),
        {"a": 4},
        None,
    ),
    "softmax as activation": (
        lambda: layers.Activation("softmax", name="m"),
        {},
        "m takes a softmax over it",
    ),
    "log softmax": (
        lambda: layers.Activation("log_softmax", name="m"),
        {},
        "m takes a log_softmax over it",
    ),
    "of the user, of operations that have rules": (
        lambda: layers.Activation(_flip, name="m"),
        {"a": 4},
        None,
    ),
    "of the user, by NumPy": (
        lambda: layers.Activation(_flip_values, name="m"),
        {},
        "m applies the activation 'own _flip_values', which has no rule",
    ),
}


def _flip(x):
    return keras.ops.flip(x, axis=-1)


def _flip_values(x):
    return keras.ops.convert_to_tensor(np.flip(np.asarray(x), axis=-1))


@pytest.mark.parametrize("row", MIXING)
def test_activation_over_an_axis(row):
    make, expected, why = MIXING[row]
    channels, _, _ = prune_and_compare(between(make()))
    assert sizes(channels) == expected
    assert reasons(channels).get("a") == why


def test_prelu_on_dense_and_shared_layer():
    x = inputs = keras.Input((5,))
    act = layers.PReLU(name="m")
    x = act(layers.Dense(6, name="a")(x))
    x = act(layers.Dense(6, name="b")(x))
    x = layers.Dense(2, name="z")(x)
    channels, _, _ = prune_and_compare(randomise(keras.Model(inputs, x)))
    assert sizes(channels) == {"a": 6}
    assert channels.prunable[0].layers == ("a", "b")


def test_shared_axis_of_one_position_is_not_sliced():
    """PReLU over an axis of size 1 is not the same as a shared axis."""
    x = inputs = keras.Input((1, 3))
    x = layers.Dense(6, name="a")(x)
    x = layers.PReLU(name="m")(x)
    x = layers.Dense(2, name="z")(x)
    channels, _, _ = prune_and_compare(randomise(keras.Model(inputs, x)))
    assert sizes(channels) == {"a": 6}


def test_channels_first_prelu_labels():
    x = inputs = keras.Input((3, 7, 7))
    x = layers.Conv2D(4, 3, data_format="channels_first", name="a")(x)
    x = layers.PReLU(shared_axes=[2, 3], name="m")(x)
    x = layers.Conv2D(2, 1, data_format="channels_first", name="z")(x)
    channels = channels_of(randomise(keras.Model(inputs, x)))
    assert sizes(channels) == {"a": 4}


def _output(channels, name):
    node = next(n for n in channels.graph.nodes if n.name == name)
    return node.outputs[0]
