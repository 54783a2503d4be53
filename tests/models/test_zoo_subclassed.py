"""Subclassed models, with any structure of inputs and outputs."""

import keras
import numpy as np
import pytest
from keras import layers
from keras import ops
from model_checks import outputs_of
from model_checks import randomise
from opened_layers import IMAGE
from opened_layers import Block
from opened_layers import OwnWeights
from opened_layers import sizes
from opened_layers import state

from tf_channel_prune.api import channels_of
from tf_channel_prune.masking import make_sparse
from tf_channel_prune.transform import compare
from tf_channel_prune.transform import make_slim


class Subclassed(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.stem = layers.Conv2D(6, 3, padding="same", name="stem")
        self.blocks = [Block(6, 5, name=f"block{i}") for i in range(2)]
        self.own = OwnWeights(7, name="own")
        self.head = layers.Dense(2, name="head")

    def call(self, x, training=False):
        x = self.stem(x)
        for block in self.blocks:
            x = block(x, training=training)
        x = ops.relu(self.own(x))
        return self.head(ops.mean(x, axis=(1, 2)))


class OfDictionaries(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.look = layers.Embedding(9, 4, name="look")
        self.mix = layers.Dense(4, activation="relu", name="mix")
        self.head = layers.Dense(2, name="head")

    def call(self, inputs):
        x = ops.mean(self.look(inputs["words"]), axis=1)
        y = self.mix(inputs["facts"])
        return {"score": self.head(x + y), "mixed": self.head(x * y)}


class OfLists(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.one = layers.Dense(4, name="one")
        self.head = layers.Dense(2, name="head")

    def call(self, inputs):
        one, two = inputs
        return self.head(self.one(one) * self.one(two)), self.head(two)


class OwnTraining(Subclassed):
    def train_step(self, data):
        return super().train_step(data)


def rows(*shape):
    return np.random.default_rng(0).standard_normal(shape).astype("float32")


def subclassed():
    model = Subclassed(name="mine")
    data = rows(3, *IMAGE)
    model(data)
    return randomise(model), data


def of_dictionaries():
    model = OfDictionaries()
    words = np.random.default_rng(0).integers(0, 9, (3, 5))
    data = {"words": words, "facts": rows(3, 4)}
    model(data)
    return randomise(model), data


def of_lists():
    model = OfLists()
    data = [rows(3, 4), rows(3, 4)]
    model(data)
    return randomise(model), data


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (
            subclassed,
            {
                "stem": 6,
                "block0.first": 5,
                "block1.first": 5,
                "own.w:axis1": 7,
            },
        ),
        (of_dictionaries, {"look": 4}),
        (of_lists, {}),
    ],
)
def test_subclassed_models(build, expected, tmp_path):
    model, data = build()
    before = outputs_of(model, data)
    kept = state(model)
    channels = channels_of(model)
    found = sizes(channels)
    assert found == expected, [(g.name, g.reason) for g in channels.groups]
    alive = np.ones(channels.unit_count, bool)
    whole = make_sparse(channels, alive)
    for one, two in zip(before, outputs_of(whole, data)):
        np.testing.assert_allclose(one, two, atol=1e-5)
    assert same_structure(model(data), whole(data))
    for group in channels.prunable:
        alive[group.units[: group.size // 2]] = False
    sparse = make_sparse(channels, alive)
    slim = make_slim(channels, alive)
    assert compare(sparse, slim, data).relative < 1e-5
    assert state(model) == kept
    slim.save(tmp_path / "slim.keras")
    loaded = keras.models.load_model(tmp_path / "slim.keras")
    assert compare(slim, loaded, data).relative < 1e-6


def same_structure(one, two):
    keras.tree.assert_same_structure(one, two)
    return True


def test_integer_inputs_are_found():
    model, _ = of_dictionaries()
    channels = channels_of(model)
    slim = make_slim(channels, np.ones(channels.unit_count, bool))
    assert str(slim.input["words"].dtype) == "int32"
    assert str(slim.input["facts"].dtype) == "float32"


def test_notes_say_what_is_lost():
    model = OwnTraining()
    model(rows(3, *IMAGE))
    notes = " ".join(channels_of(model).graph.notes)
    assert "train_step" in notes
    model, _ = subclassed()
    notes = " ".join(channels_of(model).graph.notes)
    assert "train_step" not in notes
    assert "subclass" in notes


def test_notes_are_printed_once(capsys):
    model, _ = subclassed()
    for _ in range(2):
        channels_of(model)
    assert capsys.readouterr().out.count("subclass") == 1
