"""Costs of models that take inputs of any size."""

import keras
import pytest
from keras import layers

import tf_channel_prune as tcp
from tf_channel_prune.api import channels_of
from tf_channel_prune.cost import CostTable


def model_for(side):
    image = keras.Input((side, side, 3), name="image")
    x = layers.Conv2D(8, 3, padding="same", name="a")(image)
    x = layers.MaxPooling2D(name="pool")(x)
    x = layers.Conv2D(4, 3, padding="same", name="b")(x)
    x = layers.GlobalAveragePooling2D(name="mean")(x)
    return keras.Model(image, layers.Dense(2, name="head")(x))


@pytest.mark.parametrize("side", [16, 224])
def test_an_open_model_costs_what_the_fixed_one_does(side):
    given = None if side == 224 else (side, side, 3)
    assert tcp.cost(model_for(None), given).layers == (
        tcp.cost(model_for(side)).layers
    )


def test_the_cost_says_what_it_assumed():
    cost = tcp.cost(model_for(None))
    assert cost.assumed == {"image": (224, 224, 3)}
    assert "image taken as 224x224x3" in str(cost)
    fixed = tcp.cost(model_for(16))
    assert fixed.assumed == {}
    assert "taken as" not in str(fixed)


def test_kept_counts_use_the_assumed_sizes():
    """Layer a costs 4 times layer b's positions: sizes decide who goes."""
    table = CostTable(channels_of(model_for(None)))
    full = table.total(table.sizes, "flops")
    assert full == 2 * (224**2 * 27 * 8 + 112**2 * 72 * 4 + 4 * 2)
    fewer = table.total([4, 4], "flops")
    assert fewer == 2 * (224**2 * 27 * 4 + 112**2 * 36 * 4 + 4 * 2)
