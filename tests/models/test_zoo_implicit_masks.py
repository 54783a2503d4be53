"""Keras' implicit masks take the same way through opened layers."""

import keras
import numpy as np
import pytest
from keras import layers
from keras import ops
from model_checks import randomise

from tf_channel_prune.api import channels_of
from tf_channel_prune.masking import make_sparse
from tf_channel_prune.transform import compare
from tf_channel_prune.transform import make_slim


def masked(*parts):
    """An embedding with a mask, and an LSTM that uses what is left of it."""
    inputs = keras.Input((5,), dtype="int32")
    x = layers.Embedding(7, 6, mask_zero=True, name="embed")(inputs)
    for part in parts:
        x = part(x)
    x = layers.GlobalAveragePooling1D(name="pool")(x)
    return keras.Model(inputs, layers.Dense(2, name="head")(x))


class DropsMask(layers.Layer):
    """Operations lose the mask; Keras puts it back on the output."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True
        self.dense = layers.Dense(6, name="dense")

    def call(self, x):
        return x + self.dense(x)


class LosesMask(DropsMask):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = False


class GivesNone(DropsMask):
    """A layer that Keras cannot record as one call."""

    def call(self, x):
        return super().call(x), None


class DropsMaskInside(layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.inner = GivesNone(name="inner")
        self.look = layers.MultiHeadAttention(2, 3, name="look")

    def call(self, x):
        y, _ = self.inner(x)
        return self.look(y, y)


class PassesMask(layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = layers.Dense(6, name="dense")
        self.look = layers.MultiHeadAttention(2, 3, name="look")

    def call(self, x):
        y = self.dense(x)
        return self.look(y, y)


class TakesMask(layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = layers.Dense(6, name="dense")

    def call(self, x, mask=None):
        x = self.dense(x)
        if mask is not None:
            x = x * ops.cast(mask, x.dtype)[..., None]
        return x


@pytest.mark.parametrize(
    ("cls", "reason"),
    [
        (PassesMask, ""),
        (LosesMask, ""),
        (DropsMask, "mask"),
        (DropsMaskInside, "mask"),
        (TakesMask, ""),  # Keras records the mask as an argument
    ],
)
def test_masks_take_the_same_way(cls, reason):
    model = randomise(masked(cls(name="odd")))
    channels = channels_of(model)
    found = " ".join(why for _, why in channels.left_whole)
    assert reason in found
    assert bool(found) == bool(reason)
    words = np.array([[1, 2, 3, 0, 0], [4, 5, 0, 0, 0], [1, 2, 3, 4, 5]])
    alive = np.ones(channels.unit_count, bool)
    whole = make_sparse(channels, alive)
    assert compare(model, whole, words).relative < 1e-5
    for group in channels.prunable:
        alive[group.units[: group.size // 2]] = False
    sparse = make_sparse(channels, alive)
    slim = make_slim(channels, alive)
    assert compare(sparse, slim, words).relative < 1e-5


@keras.saving.register_keras_serializable("zoo")
def half_gelu(x):
    return keras.activations.gelu(x, approximate=True) / 2


def test_a_mask_keeps_the_activation_in_its_layer():
    """Operations would lose the mask."""
    layer = layers.Dense(6, activation=half_gelu, name="d")
    model = randomise(masked(layer))
    channels = channels_of(model)
    whole = make_sparse(channels, np.ones(channels.unit_count, bool))
    words = np.array([[1, 2, 3, 0, 0], [4, 5, 0, 0, 0]])
    assert compare(model, whole, words).relative < 1e-5
