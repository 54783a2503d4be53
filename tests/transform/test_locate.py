"""Which layer is to blame where a slim model's outputs differ."""

import keras
import numpy as np
import pytest
import tf_keras
from model_checks import random_alive

from tf_channel_prune.api import channels_of
from tf_channel_prune.errors import VerificationError
from tf_channel_prune.graph import outputs
from tf_channel_prune.graph import twins
from tf_channel_prune.graph.inputs import random_inputs
from tf_channel_prune.masking import Masks
from tf_channel_prune.masking import make_sparse
from tf_channel_prune.transform import make_slim
from tf_channel_prune.transform import transform
from tf_channel_prune.transform import verify
from tf_channel_prune.transform.locate import first_difference


def branches(kind):
    layers = kind.layers
    image = layers.Input((8, 8, 3))
    x = layers.Conv2D(8, 3, padding="same", name="one")(image)
    y = layers.Conv2D(8, 1, name="two")(layers.ReLU()(x))
    x = layers.BatchNormalization(name="norm")(layers.Add()([x, y]))
    x = layers.Concatenate()([x, layers.LayerNormalization(name="ln")(y)])
    x = layers.Flatten()(layers.MaxPooling2D(4)(x))
    return kind.Model(image, layers.Dense(3, name="head")(x))


def made(model):
    """Channels of a sparse model, what stays, and the slim model."""
    sparse = make_sparse(channels_of(model))
    masks = Masks(sparse)
    alive = random_alive(masks.channels, np.random.default_rng(1))
    masks.set(alive)
    return masks, alive, make_slim(masks.channels, alive)


@pytest.mark.parametrize("kind", [keras, tf_keras])
@pytest.mark.parametrize("name", ["one", "two", "norm", "ln", "head", None])
def test_the_layer_that_differs(kind, name):
    model = branches(kind)
    masks, alive, slim = made(model)
    if name is not None:
        bias = slim.get_layer(name).weights[-1 if name != "norm" else 1]
        bias.assign(bias + 0.3)
    found = first_difference(
        masks.channels, alive, slim, random_inputs(model), 1e-4
    )
    assert found == name


def chaotic():
    """Rounding grows tenfold with every layer."""
    x = image = keras.Input((4,))
    for i in range(16):
        x = keras.layers.Dense(8, name=f"d{i}", kernel_initializer="normal")(x)
        x = keras.ops.sin(40 * x)
    return keras.Model(image, keras.layers.Dense(2, name="head")(x))


@pytest.mark.parametrize("wrong", [False, True])
def test_rounding_is_told_from_what_is_wrong(wrong, caplog):
    keras.utils.set_random_seed(0)
    model = chaotic()
    for weight in model.weights:
        weight.assign(np.random.default_rng(0).normal(size=weight.shape))
    masks, alive, slim = made(model)
    expected = outputs.references(masks.model, masks.channels.graph)
    assert not expected[0].difference(slim).equal
    if wrong:
        bias = slim.get_layer("d7").bias
        bias.assign(bias + 0.01)
        with pytest.raises(VerificationError, match="'d7'"):
            verify.check_equal(expected, slim, masks.channels, alive)
    else:
        verify.check_equal(expected, slim, masks.channels, alive)
        assert "amplifies rounding" in caplog.text


def test_layers_that_are_wrongly_connected(monkeypatch):
    """Each of them is right by itself, in the slim model as in a copy."""
    masks, alive, slim = made(branches(keras))
    expected = outputs.references(masks.model, masks.channels.graph)
    monkeypatch.setattr(twins, "first_difference", lambda *_: None)
    bias = slim.get_layer("head").bias
    bias.assign(bias + 1.0)
    with pytest.raises(VerificationError, match="how they are connected"):
        verify.check_equal(expected, slim, masks.channels, alive)


def dead():
    """Nothing comes out, whatever goes in."""
    model = branches(keras)
    return keras.Model(model.input, keras.layers.ReLU()(model.output - 1e6))


@pytest.mark.parametrize("name", ["one", "norm", None])
def test_outputs_that_tell_nothing_do_not_hide_a_layer(name, caplog):
    masks, alive, slim = made(dead())
    expected = outputs.references(masks.model, masks.channels.graph)
    assert not verify.is_telling(expected)
    if name is None:
        verify.check_equal(expected, slim, masks.channels, alive)
        transform(masks.model)
        assert "prove little" in caplog.text
        return
    bias = slim.get_layer(name).weights[1]
    bias.assign(bias + 0.3)
    with pytest.raises(VerificationError, match=f"layers differ.*{name!r}"):
        verify.check_equal(expected, slim, masks.channels, alive)


@pytest.mark.parametrize(
    ("outputs_", "telling"),
    [
        ([[1.0], [1.1]], True),
        ([[1.0], [1.0]], False),
        ([[0.0], [1e-9]], True),
        ([[1e6], [1e6 + 1]], False),
        ([[np.nan], [np.nan]], False),
        ([[1.0]], True),
        ([[0.0]], False),
    ],
)
def test_what_tells_samples_apart(outputs_, telling):
    array = np.array(outputs_)
    assert outputs._varies(array, 1e-4) == telling
