"""Keras masks of tf_keras models: they go the way that they went."""

import numpy as np
import pytest
import tensorflow as tf

import tf_channel_prune as tcp

tf_keras = pytest.importorskip("tf_keras")
layers = tf_keras.layers

TOKENS = np.array([[1, 2, 3, 0, 0], [4, 0, 0, 0, 0]])


class Makes(layers.Layer):
    """Words and positions; makes a mask itself."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.words = layers.Embedding(9, 8)
        self.places = layers.Embedding(5, 8)

    def call(self, x):
        return self.words(x) + self.places(tf.range(5))

    def compute_mask(self, x, mask=None):
        return tf.not_equal(x, 0)


class Loses(Makes):
    """Its Embedding makes a mask, which the addition loses."""

    compute_mask = layers.Layer.compute_mask

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.words = layers.Embedding(9, 8, mask_zero=True)


class Takes(layers.Layer):
    """Counts what is not masked."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = layers.Dense(8)

    def call(self, x, mask=None):
        if mask is None:
            return self.dense(x)
        return self.dense(x) * tf.cast(mask, "float32")[..., None]


class Passes(layers.Layer):
    """A layer inside passes the mask along."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dropout = layers.Dropout(0.1)
        self.dense = layers.Dense(8, name="dense")

    def call(self, x):
        return self.dropout(self.dense(x))


class Nested(layers.Layer):
    """A composite of composites, one of which takes a mask."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.passes = Passes()
        self.takes = Takes()

    def call(self, x):
        return self.takes(self.passes(x) * 2.0)


ROWS = {
    "makes": ([Makes], [0]),
    "loses": ([Loses], []),
    "takes": ([Makes, Takes], [0, 1]),
    "takes none": ([Loses, Takes], []),
    "nested": ([Loses, Nested], []),
}


@pytest.mark.parametrize("row", ROWS)
def test_a_sparse_model_masks_what_its_original_does(row):
    parts, whole = ROWS[row]
    tokens = x = tf_keras.Input((5,), dtype="int32")
    for number, part in enumerate(parts):
        x = part(name=f"part{number}")(x)
    x = layers.LSTM(8)(x)
    model = tf_keras.Model(tokens, layers.Dense(2)(x))
    sparse = tcp.make_sparse(model)
    np.testing.assert_allclose(model(TOKENS), sparse(TOKENS), atol=1e-6)
    closed = {
        g.layers[0]
        for g in tcp.channel_groups(model)
        if "Keras mask" in g.reason
    }
    assert closed == {f"part{number}" for number in whole}


def test_a_composite_that_passes_a_mask_is_opened():
    tokens = tf_keras.Input((5,), dtype="int32")
    x = layers.Embedding(9, 8, mask_zero=True)(tokens)
    x = layers.LSTM(8)(Passes(name="passes")(x))
    model = tf_keras.Model(tokens, layers.Dense(2)(x))
    sparse = tcp.make_sparse(model)
    np.testing.assert_allclose(model(TOKENS), sparse(TOKENS), atol=1e-6)
    names = {g.layers[0] for g in tcp.channel_groups(model) if not g.frozen}
    assert "passes.dense" in names
