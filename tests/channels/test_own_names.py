"""A class of the user's own is not Keras' class of the same name."""

import keras
import pytest
from rule_checks import prune_and_compare
from rule_checks import randomise
from rule_checks import reasons

tf_keras = pytest.importorskip("tf_keras")
import tensorflow as tf  # noqa: E402

if keras.backend.backend() != "tensorflow":
    pytest.skip("functions of TensorFlow are in use", allow_module_level=True)

BOTH = pytest.mark.parametrize(
    "kind", [keras, tf_keras], ids=lambda k: k.__name__
)


def own(kind, base, name, **methods):
    """A subclass that a config finds."""
    cls = type(name, (base,), {"__module__": __name__, **methods})
    return kind.saving.register_keras_serializable("own")(cls)


def mixing(kind, name):
    """A class of that name whose outputs depend on each other."""
    base = getattr(kind.layers, name)

    def call(self, inputs):
        return tf.nn.softmax(base.call(self, inputs))

    return own(kind, base, name, call=call)


def mixing_cell(kind, name):
    """The same, of a cell."""
    base = getattr(kind.layers, name)

    def call(self, inputs, states, training=None):
        out, states = base.call(self, inputs, states, training)
        return tf.nn.softmax(out), states

    return own(kind, base, name, call=call)


def recurrent(kind, layer, wrapper):
    """`wrapper(layer)` between two Dense layers."""
    inputs = kind.Input((5, 3))
    x = kind.layers.Dense(4, name="a")(inputs)
    x = wrapper(layer, name="m")(x)
    return randomise(kind.Model(inputs, kind.layers.Dense(2, name="z")(x)))


@BOTH
@pytest.mark.parametrize("name", ["LSTMCell", "GRUCell", "SimpleRNNCell"])
def test_cells(kind, name):
    cls = mixing_cell(kind, name)
    model = recurrent(kind, cls(6), kind.layers.RNN)
    channels, _, _ = prune_and_compare(model)
    assert reasons(channels)["a"] == f"m runs a {name}, which has no rule"


@BOTH
def test_layers_inside_bidirectional(kind):
    base = kind.layers.LSTM

    def call(self, sequences, *args, **kwargs):
        return tf.nn.softmax(base.call(self, sequences, *args, **kwargs))

    cls = own(kind, base, "LSTM", call=call)
    model = recurrent(kind, cls(6), kind.layers.Bidirectional)
    channels, _, _ = prune_and_compare(model)
    assert reasons(channels)["a"] == "m wraps a LSTM, which has no rule"


@BOTH
def test_a_cell_that_computes_nothing_anew_is_what_its_base_is(kind):
    cls = own(kind, kind.layers.GRUCell, "Mine")
    model = recurrent(kind, cls(6), kind.layers.RNN)
    channels, _, slim = prune_and_compare(model)
    assert {g.name: g.size for g in channels.prunable} == {"a": 4, "m": 6}
    assert type(slim.get_layer("m").cell) is cls


@BOTH
@pytest.mark.parametrize("name", ["Dense", "Conv1D", "LayerNormalization"])
def test_layers(kind, name):
    arguments = {"Dense": [6], "Conv1D": [6, 1]}.get(name, [])
    inputs = kind.Input((5, 3))
    x = kind.layers.Dense(6, name="a")(inputs)
    x = mixing(kind, name)(*arguments, name="m")(x)
    model = randomise(kind.Model(inputs, kind.layers.Dense(2, name="z")(x)))
    channels, _, _ = prune_and_compare(model)
    assert not channels.prunable or channels.prunable[0].layers == ("a",)


@BOTH
def test_the_kernel_of_a_subclassed_depthwise_convolution(kind):
    """tf_keras gives it another name, whatever the class is called."""
    cls = own(kind, kind.layers.DepthwiseConv2D, "Mine")
    inputs = kind.Input((5, 5, 3))
    x = kind.layers.Conv2D(6, 1, name="a")(inputs)
    x = cls(3, name="m")(x)
    model = randomise(kind.Model(inputs, kind.layers.Conv2D(2, 1)(x)))
    channels, _, _ = prune_and_compare(model)
    assert [group.size for group in channels.prunable] == [6]
