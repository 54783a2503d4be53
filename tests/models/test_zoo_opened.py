"""Composite layers: opened, or left whole with reason."""

import keras
import numpy as np
import pytest
from keras import layers
from keras import ops
from model_checks import check
from opened_layers import IMAGE
from opened_layers import ActivityRegularized
from opened_layers import Block
from opened_layers import Borrows
from opened_layers import Branches
from opened_layers import ClassToken
from opened_layers import Counts
from opened_layers import HoldsModel
from opened_layers import ListOfWeights
from opened_layers import Nested
from opened_layers import Noisy
from opened_layers import OwnConvolution
from opened_layers import OwnWeights
from opened_layers import Positions
from opened_layers import Regularized
from opened_layers import Remembers
from opened_layers import TransposedWeight
from opened_layers import TwoTensors
from opened_layers import Windows
from opened_layers import around
from opened_layers import inputs_of
from opened_layers import sizes
from opened_layers import state
from opened_layers import tokens

from tf_channel_prune.api import channels_of
from tf_channel_prune.transform import compare
from tf_channel_prune.transform import make_slim


def two_tensors():
    inputs = keras.Input(IMAGE)
    x = {name: layers.Conv2D(4, 1, name=name)(inputs) for name in "ab"}
    y = TwoTensors(name="t")(x)
    y = layers.Concatenate()([y["a"], y["b"][0]])
    return keras.Model(inputs, layers.Conv2D(2, 1)(y))


def called_twice():
    shared = OwnWeights(4, name="own")
    return around(lambda x: shared(ops.relu(shared(x))))


def in_a_nested_model():
    inputs = keras.Input((6, 6, 4))
    inner = keras.Model(inputs, Nested(name="n")(inputs), name="inner")
    return around(inner)


def in_a_shared_model():
    inputs = keras.Input((6, 6, 4))
    inner = keras.Model(inputs, Block(4, 5, name="b")(inputs), name="inner")
    return around(inner, inner)


OPENED = [
    (lambda: around(Block(4, 6, name="b")), {"a": 4, "b.first": 6}),
    (lambda: around(OwnWeights(5, name="o")), {"a": 4, "o.w:axis1": 5}),
    (called_twice, {"a": 4}),
    (
        lambda: around(TransposedWeight(5, name="o")),
        {"a": 4, "o.t:axis0": 5},
    ),
    (lambda: around(ListOfWeights(name="l")), {"a": 4}),
    (
        lambda: around(OwnConvolution(5, 3, name="c")),
        {"a": 4, "c.kernel:axis3": 5},
    ),
    (
        lambda: around(Nested(name="n")),
        {
            "a": 4,
            "n.block0.first": 5,
            "n.block1.first": 5,
            "n.own.w:axis1": 6,
        },
    ),
    (
        lambda: around(HoldsModel(name="h")),
        {"a": 4, "h.model/in": 5, "h.chain/c1": 3, "h.chain/c2": 4},
    ),
    (two_tensors, {"a": 4, "b": 4, "t.one": 4, "t.two": 5}),
    (lambda: around(Windows(name="w")), {"a": 4, "w.mix": 4}),
    (lambda: tokens(ClassToken("tile", name="c")), {"embed": 6}),
    (lambda: tokens(ClassToken("broadcast", name="c")), {"embed": 6}),
    (lambda: tokens(Positions(5, 6, name="p")), {"embed": 6}),
    (lambda: around(Remembers(name="r")), {"a": 4, "r.dense": 4}),
    (in_a_nested_model, None),
    (in_a_shared_model, {"a": 4, "inner/b.first": 5}),
]


@pytest.mark.parametrize(("build", "expected"), OPENED)
def test_opened(build, expected, tmp_path):
    model = build()
    before = state(model)
    channels = check(model, rounds=2)
    assert state(model) == before
    assert not channels.left_whole
    found = sizes(channels)
    if expected is not None:
        assert found == expected, [(g.name, g.reason) for g in channels.groups]
    slim = make_slim(channels, np.ones(channels.unit_count, bool))
    slim.save(tmp_path / "slim.keras")
    # Loads without any class of the user's.
    with keras.saving.custom_object_scope({}):
        loaded = keras.models.load_model(tmp_path / "slim.keras")
    assert compare(slim, loaded, inputs_of(model)).relative < 1e-6


WHOLE = [
    (Branches, "another path while training"),
    (Counts, "weight"),
    (Borrows, "weight"),
    (Regularized, "add_loss"),
    (ActivityRegularized, "activity regularizer"),
    (Noisy, "differs from run to run"),
]


@pytest.mark.parametrize(("cls", "reason"), WHOLE)
def test_left_whole_with_its_reason(cls, reason):
    model = around(
        layers.Conv2D(4, 1, name="b"),
        cls(name="odd"),
        layers.Conv2D(5, 1, name="c"),
    )
    # No two calls of the last ones give the same.
    look = channels_of if cls in (Noisy, Counts) else check
    channels = look(model)
    found = sizes(channels)
    assert found == {"a": 4, "c": 5}
    ((name, why),) = channels.left_whole
    assert name == "odd"
    assert reason in why


def test_mixed_precision_inside():
    policy = keras.DTypePolicy("mixed_bfloat16")
    model = around(
        OwnWeights(5, name="o", dtype=policy),
        lambda x: ops.cast(x, "float32"),
    )
    channels = check(model, tolerance=3e-2, gradients=False)
    found = sizes(channels)
    assert found == {"a": 4, "o.w:axis1": 5}


def test_the_same_names_in_every_reading():
    """Keras numbers recorded operations over the whole process."""
    model = around(Nested(name="n"), Windows(name="w"))
    one, two = (channels_of(model) for _ in range(2))
    names = [[node.name for node in c.graph.nodes] for c in (one, two)]
    assert names[0] == names[1]
    slims = [make_slim(c, np.ones(c.unit_count, bool)) for c in (one, two)]
    assert [op.name for op in slims[0].operations] == [
        op.name for op in slims[1].operations
    ]
