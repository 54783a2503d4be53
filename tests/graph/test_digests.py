"""Digests tell graphs and weights apart, and are the same for the same."""

import keras
import numpy as np
import pytest

from tf_channel_prune.api import channels_of
from tf_channel_prune.graph.digests import graph_digest
from tf_channel_prune.graph.digests import text_digest
from tf_channel_prune.graph.digests import weights_digest
from tf_channel_prune.masking import make_sparse


def model(
    filters=8,
    name="one",
    activation="relu",
    swapped=False,
    factor=2.0,
    size=6,
    table=(1, 0),
):
    keras.utils.set_random_seed(1)
    image = keras.Input((size, size, 2))
    x = keras.layers.Conv2D(filters, 3, activation=activation, name=name)(image)
    y = keras.layers.Conv2D(filters, 3, name="two")(image)
    x = keras.ops.subtract(y, x) if swapped else keras.ops.subtract(x, y)
    x = keras.ops.take(x * factor, np.array(table), axis=1)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(image, keras.layers.Dense(3, name="head")(x))


def digest(made):
    return graph_digest(channels_of(made).graph)


def test_the_same_model_made_twice():
    """Automatic names of operations are numbered on, and do not matter."""
    one, two = model(), model()
    assert digest(one) == digest(two)
    assert weights_digest(channels_of(one).graph) == weights_digest(
        channels_of(two).graph
    )


@pytest.mark.parametrize(
    "change",
    [
        {"filters": 9},
        {"name": "other"},
        {"activation": "gelu"},
        {"swapped": True},
        {"factor": 3.0},
        {"size": 7},
        {"table": (0, 1)},
    ],
)
def test_another_graph(change):
    assert digest(model()) != digest(model(**change))


def test_training_changes_weights_and_not_the_graph():
    made = model()
    before = digest(made), weights_digest(channels_of(made).graph)
    made.trainable = False
    bias = made.get_layer("head").bias
    assert weights_digest(channels_of(made).graph) == before[1]
    bias.assign([0, 0, 1e-7])
    assert weights_digest(channels_of(made).graph) != before[1]
    assert digest(made) == before[0]


@keras.saving.register_keras_serializable("test_digests")
class Block(keras.layers.Layer):
    """Its first convolution is called last."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.one = keras.layers.Conv2D(4, 1, name="one")
        self.two = keras.layers.Conv2D(4, 1, name="two")
        self.three = keras.layers.Conv2D(4, 1, name="three")

    def call(self, x):
        y = self.three(self.two(x))
        return self.one(x) + y


def test_a_rebuilt_composite_has_the_same_graph():
    """The rebuilt model is flat: its calls stand in another order."""
    image = keras.Input((6, 6, 2))
    x = Block(name="block")(image)
    made = keras.Model(image, keras.layers.Conv2D(3, 1, name="head")(x))
    sparse = make_sparse(channels_of(made))
    assert digest(made) == digest(sparse)


def test_a_known_digest():
    """The same in every process, on every machine."""
    assert text_digest("a") == "27c35e6e9373877f29e562464e46497e"
