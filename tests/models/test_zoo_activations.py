"""Activations that are the user's own functions."""

import keras
import numpy as np
import pytest
from keras import layers
from keras import ops
from model_checks import check
from opened_layers import around

from tf_channel_prune.transform import make_slim


@keras.saving.register_keras_serializable("zoo")
def own_gelu(x):
    return keras.activations.gelu(x, approximate=True)


def shifted(x):
    return ops.sigmoid(x) * x + 0.5


def centred(x):
    return x - ops.mean(x, axis=-1, keepdims=True)


@pytest.mark.parametrize(
    "build",
    [
        lambda f: layers.Dense(5, activation=f, name="d"),
        lambda f: layers.Conv2D(5, 3, activation=f, name="d"),
        lambda f: layers.SeparableConv2D(5, 3, activation=f, name="d"),
    ],
)
@pytest.mark.parametrize("function", [own_gelu, shifted])
def test_activations_of_the_users_own(build, function, tmp_path):
    layer = build(function)
    model = around(layer, layers.Conv2D(3, 1, name="after"))
    channels = check(model)
    found = {group.name: group.size for group in channels.prunable}
    assert found["d"] == 5 and found["a"] == 4
    assert layer.activation is function
    slim = make_slim(channels, np.ones(channels.unit_count, bool))
    slim.save(tmp_path / "slim.keras")
    keras.models.load_model(tmp_path / "slim.keras")


def test_an_activation_of_the_users_own_in_a_shared_layer():
    shared = layers.Dense(4, activation=own_gelu, name="d")
    channels = check(around(lambda x: shared(shared(x))))
    assert {group.name for group in channels.prunable} == {"a"}
    alone = layers.Activation(shifted, name="act")
    channels = check(around(alone, layers.Conv2D(3, 1, name="after")))
    assert {group.name for group in channels.prunable} == {"a", "after"}


def test_an_activation_over_channels_mixes_them():
    layer = layers.Dense(5, activation=centred, name="d")
    channels = check(around(layer, layers.Conv2D(3, 1, name="after")))
    frozen = {g.name: g.reason for g in channels.groups if g.frozen}
    assert "mixes it" in frozen["d"]
