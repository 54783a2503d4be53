"""Composites that compute with a batch size and lengths that are not known.

What is opened must be right for every batch size and length; what cannot be
said without a number stays closed, and the rest is pruned.
"""

import keras
import numpy as np
import pytest
from keras import layers
from keras import ops
from model_checks import random_alive
from model_checks import randomise

from tf_channel_prune.api import channels_of
from tf_channel_prune.errors import PruningError
from tf_channel_prune.masking import make_sparse
from tf_channel_prune.transform import compare
from tf_channel_prune.transform import make_slim

WIDTH = 8


class Causal(layers.Layer):
    """Attention to what came before, heads by reshapes to known sizes."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.query = layers.Dense(WIDTH, name="query")
        self.value = layers.Dense(WIDTH, name="value")
        self.out = layers.Dense(WIDTH, name="out")

    def call(self, x, padding):
        batch, length = ops.shape(x)[:2]
        i = ops.expand_dims(ops.arange(length, dtype="float32"), axis=1)
        mask = ops.expand_dims(i >= ops.arange(length, dtype="float32"), 0)
        mask = ops.broadcast_to(mask, (batch, length, length))
        mask = ops.minimum(
            ops.cast(ops.expand_dims(padding, 1), "int32"),
            ops.cast(mask, "int32"),
        )

        def heads(y):
            return ops.reshape(y, (batch, length, 2, WIDTH // 2))

        query, value = heads(self.query(x)), heads(self.value(x))
        scores = ops.einsum("bqhd,bkhd->bhqk", query, value)
        allowed = ops.cast(ops.expand_dims(mask, 1), scores.dtype)
        scores = ops.softmax(scores - 1e9 * (1 - allowed))
        y = ops.einsum("bhqk,bkhd->bqhd", scores, value)
        return x + self.out(ops.reshape(y, (batch, length, WIDTH)))


class Positions(layers.Layer):
    """As much of a table as there are words."""

    def build(self, shape):
        self.table = self.add_weight(shape=(64, shape[-1]), name="table")

    def call(self, x, padding):
        shape = ops.shape(x)
        table = ops.convert_to_tensor(self.table)
        table = ops.slice(table, (0, 0), (shape[1], shape[2]))
        return x + ops.broadcast_to(table, shape)


class Zeros(layers.Layer):
    """Makes zeros, and tiles a row, as long as the input."""

    def build(self, shape):
        self.row = self.add_weight(shape=(1, 1, shape[-1]), name="row")

    def call(self, x, padding):
        batch, length, _ = ops.shape(x)
        rows = ops.tile(self.row, (batch, length, 1))
        return x + rows + ops.zeros((batch, length, 1))


class Token(layers.Layer):
    """One word more, the same for all: also where there are as many samples
    as channels, which `ops.add` takes for a bias."""

    def build(self, shape):
        self.row = self.add_weight(shape=(1, 1, shape[-1]), name="row")

    def call(self, x, padding):
        row = ops.tile(self.row, (ops.shape(x)[0], 1, 1))
        return ops.concatenate([row, x], axis=1)


class GivesNone(layers.Layer):
    """What decoders do: a cache that is not there is given back."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = layers.Dense(6, name="dense")

    def build(self, shape):
        self.dense.build(shape)
        self.scale = self.add_weight(shape=(6,), name="scale")

    def call(self, x, cache=None):
        return self.dense(x) * self.scale, cache


class AroundNone(layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.inner = GivesNone(name="inner")
        self.out = layers.Dense(WIDTH, name="out")

    def call(self, x, padding):
        y, _ = self.inner(x)
        return self.out(ops.relu(y))


class TakesMore(layers.Layer):
    """A subclass takes an argument that its base's shapes do not know."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.inner = MoreArguments(WIDTH, name="inner")

    def call(self, x, padding):
        return ops.relu(self.inner(x, cache=None))


class MoreArguments(layers.Dense):
    def compute_output_spec(self, x):
        return super().compute_output_spec(x)

    def call(self, x, cache=None):
        return super().call(x)


class NoConfig(layers.Layer):
    """A composite that nobody can make again, of parts that one can."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = layers.Dense(6, name="dense")
        self.out = layers.Dense(WIDTH, name="out")
        # Keras cannot tell the constructor's arguments here.
        self.same = layers.Identity(dtype=keras.DTypePolicy("float32"))

    def get_config(self):
        raise AttributeError("no such attribute")

    def call(self, x, padding, training=False):
        y = self.same(ops.relu(self.dense(x)), training=training)
        return self.out(y)


def words(*parts):
    """Layers between an embedding and a head, over any number of words."""
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    padding = keras.Input((None,), dtype="int32", name="padding")
    x = layers.Embedding(11, WIDTH, name="embed")(tokens)
    for part in parts:
        x = part(x, padding)
    x = layers.Dense(7, activation="relu", name="last")(x)
    return randomise(
        keras.Model([tokens, padding], layers.Dense(2, name="head")(x))
    )


def inputs_of(batch, length):
    rng = np.random.default_rng(length)
    padding = np.arange(length) < rng.integers(1, length + 1, (batch, 1))
    return [
        rng.integers(0, 11, (batch, length)).astype("int32"),
        padding.astype("int32"),
    ]


SHAPES = [(1, 1), (3, 5), (2, 8), (4, 40), (WIDTH, 5)]

OPENED = [
    (Causal, {"p.query", "p.value"}),
    (Positions, set()),
    (Token, set()),
    (Zeros, set()),
    (AroundNone, {"p.inner.dense"}),
    (TakesMore, set()),
    (NoConfig, {"p.dense"}),
]


@pytest.mark.parametrize(("cls", "inside"), OPENED)
def test_right_for_every_size(cls, inside):
    model = words(cls(name="p"))
    channels = channels_of(model)
    assert not channels.left_whole
    found = {group.name for group in channels.prunable}
    assert {"embed", "last"} <= found, [
        (g.name, g.reason) for g in channels.groups
    ]
    for name in inside:
        assert any(
            name in layer for g in channels.prunable for layer in g.layers
        )
    alive = random_alive(channels, np.random.default_rng(0))
    sparse, slim = make_sparse(channels, alive), make_slim(channels, alive)
    whole = make_sparse(channels, np.ones(channels.unit_count, bool))
    for shape in SHAPES:
        inputs = inputs_of(*shape)
        assert compare(model, whole, inputs).relative < 1e-5, shape
        assert compare(sparse, slim, inputs).relative < 1e-5, shape


class NeedsNumbers(layers.Layer):
    """Runs eagerly alone, so it says its shape itself."""

    def compute_output_shape(self, x_shape, padding_shape):
        return x_shape


class WhereEqual(NeedsNumbers):
    """Does something else where two lengths are equal."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = layers.Dense(WIDTH, name="dense")

    def call(self, x, padding):
        x = self.dense(x)
        return x * 2 if self.special(ops.shape(x), ops.shape(padding)) else x

    def special(self, shape, other):
        return shape[1] == other[1]


class WhereLong(WhereEqual):
    """Does something else where a length is known and large."""

    def special(self, shape, other):
        return shape[1] is not None and shape[1] > 50


class Pads(NeedsNumbers):
    """Fills up to windows of four."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = layers.Dense(WIDTH, name="dense")

    def call(self, x, padding):
        length = ops.shape(x)[1]
        x = ops.pad(x, ((0, 0), (0, -length % 4), (0, 0)))
        x = self.dense(ops.reshape(x, (-1, 4, WIDTH)))
        x = ops.reshape(x, (-1, length + -length % 4, WIDTH))
        return x[:, :length]


class Bakes(NeedsNumbers):
    """An array of the length, by NumPy."""

    def call(self, x, padding):
        length = ops.shape(x)[1]
        return x + np.arange(length, dtype="float32")[:, None]


class Averages(NeedsNumbers):
    """Computes with the length as a number."""

    def call(self, x, padding):
        share = 1 / float(ops.shape(x)[1])
        return ops.sum(x, axis=1, keepdims=True) * share + x


CLOSED = [WhereEqual, WhereLong, Pads]


@pytest.mark.parametrize("cls", CLOSED)
def test_closed_where_numbers_would_be_baked_in(cls):
    model = words(cls(name="p"))
    channels = channels_of(model)
    ((name, why),) = channels.left_whole
    assert name == "p" and "size" in why
    assert {group.name for group in channels.prunable} == {"last"}
    alive = random_alive(channels, np.random.default_rng(0))
    check_all_shapes(channels, alive)


def check_all_shapes(channels, alive):
    sparse, slim = make_sparse(channels, alive), make_slim(channels, alive)
    for shape in SHAPES:
        assert compare(sparse, slim, inputs_of(*shape)).relative < 1e-5, shape


@pytest.mark.parametrize("cls", [Bakes, Averages])
def test_closed_but_tried(cls):
    channels = channels_of(words(cls(name="p")))
    ((name, how),) = channels.probed
    assert name == "p" and how == "each channel by itself"
    alive = random_alive(channels, np.random.default_rng(0))
    assert not alive.all()
    check_all_shapes(channels, alive)


class NeverMade(Bakes):
    """Neither opens nor has a config."""

    def get_config(self):
        raise AttributeError("no such attribute")


def test_one_sentence_where_a_layer_cannot_be_made_again():
    channels = channels_of(words(NeverMade(name="p")))
    with pytest.raises(PruningError, match=r"'p'.*get_config.*no such"):
        make_sparse(channels)
