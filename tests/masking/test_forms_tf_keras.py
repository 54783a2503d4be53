"""Statistics over masked channels, in tf_keras."""

import numpy as np
import pytest

from tf_channel_prune.api import channels_of
from tf_channel_prune.masking import make_sparse
from tf_channel_prune.transform import compare
from tf_channel_prune.transform import make_slim

tf_keras = pytest.importorskip("tf_keras")
layers = tf_keras.layers

NORMS = {
    "layer": lambda: layers.LayerNormalization(name="m"),
    "layer, bare": lambda: layers.LayerNormalization(
        center=False, scale=False, name="m"
    ),
    "group": lambda: layers.GroupNormalization(2, name="m"),
    "group, no scale": lambda: layers.GroupNormalization(
        2, scale=False, name="m"
    ),
    "unit": lambda: layers.UnitNormalization(name="m"),
}


@pytest.mark.parametrize("row", NORMS)
def test_masked_equals_slim(row, tmp_path):
    rng = np.random.default_rng(0)
    inputs = tf_keras.Input((6, 6, 3))
    x = layers.Conv2D(8, 3, activation="sigmoid", name="a")(inputs)
    x = layers.Conv2D(2, 1, name="z")(NORMS[row]()(x))
    model = tf_keras.Model(inputs, x)
    for weight in model.weights:
        weight.assign(rng.standard_normal(weight.shape))
    channels = channels_of(model)
    (group,) = channels.prunable
    alive = np.ones(channels.unit_count, bool)
    alive[group.units[1:3]] = False
    sparse = make_sparse(channels, alive)
    given = rng.standard_normal((2, 6, 6, 3)).astype("float32")
    slim = make_slim(channels, alive)
    assert compare(sparse, slim, given).relative < 1e-5
    sparse.save(tmp_path / "sparse.keras")
    loaded = tf_keras.models.load_model(tmp_path / "sparse.keras")
    assert compare(sparse, loaded, given).largest == 0
