"""What is the user's own, a copy of a layer has by identity, not by name."""

import logging

import keras
import numpy as np
import pytest
from rule_checks import prune_and_compare
from rule_checks import randomise

import tf_channel_prune as tcp

tf_keras = pytest.importorskip("tf_keras")
import tensorflow as tf  # noqa: E402

if keras.backend.backend() != "tensorflow":
    pytest.skip("functions of TensorFlow are in use", allow_module_level=True)

BOTH = pytest.mark.parametrize(
    "kind", [keras, tf_keras], ids=lambda k: k.__name__
)


# By their names these are Keras' own.
def tanh(x):
    return tf.nn.relu(x) + 0.5


def l2(w):
    return 0.1 * tf.reduce_sum(w * w)


def ones(shape, dtype=None, **options):
    return 0.5 * tf.ones(shape, dtype or "float32")


def penalty(strength):
    def regularizer(w):
        return strength * tf.reduce_sum(w * w)

    return regularizer


RECURRENT = {
    "lstm": lambda L: L.LSTM(6, activation=tanh, name="m"),
    "cell": lambda L: L.RNN(L.LSTMCell(6, activation=tanh), name="m"),
    "cells": lambda L: L.RNN(
        [L.GRUCell(6), L.SimpleRNNCell(6, activation=tanh)], name="m"
    ),
    "wrapped": lambda L: L.TimeDistributed(
        L.Dense(6, activation=tanh), name="m"
    ),
}


@BOTH
@pytest.mark.parametrize("row", RECURRENT)
def test_a_function_with_a_name_of_keras(kind, row):
    inputs = kind.Input((5, 3))
    x = kind.layers.Dense(4, name="a")(inputs)
    x = RECURRENT[row](kind.layers)(x)
    model = randomise(kind.Model(inputs, kind.layers.Dense(2, name="z")(x)))
    # It compares the copy with nothing masked too.
    channels, _, _ = prune_and_compare(model)
    frozen = {group.name: group.reason for group in channels.groups}
    assert "no rule" in frozen["m"] or "own tanh" in frozen["m"]


@pytest.mark.parametrize("name", ["gelu", "sin", "square"])
def test_an_operation_as_activation(name):
    """`activations.gelu` is another one; `sin` and `square` have no name."""
    function = getattr(keras.ops, name)
    inputs = keras.Input((3,))
    x = keras.layers.Dense(8, activation=function, name="a")(inputs)
    x = keras.layers.Dense(2, activation=function, name="z")(x)
    model = randomise(keras.Model(inputs, x))
    _, _, slim = prune_and_compare(model)
    assert slim.get_layer("a").units < 8


def test_an_operation_inside_of_a_cell():
    inputs = keras.Input((5, 3))
    x = keras.layers.GRU(6, activation=keras.ops.gelu, name="m")(inputs)
    model = randomise(keras.Model(inputs, keras.layers.Dense(2)(x)))
    _, _, slim = prune_and_compare(model)
    assert slim.get_layer("m").cell.activation is keras.ops.gelu


@BOTH
def test_regularizers_initializers_and_constraints(kind):
    class Inside(kind.constraints.Constraint):
        def __call__(self, w):
            return tf.clip_by_value(w, -9.0, 9.0)

    layers = kind.layers
    inputs = kind.Input((4,))
    x = layers.Dense(
        8,
        kernel_regularizer=l2,
        bias_regularizer=penalty(0.25),
        activity_regularizer=penalty(0.5),
        kernel_initializer=ones,
        kernel_constraint=Inside(),
        name="a",
    )(inputs)
    model = kind.Model(inputs, layers.Dense(2, name="z")(x))
    model.get_layer("a").bias.assign(np.ones(8))
    given = np.ones((1, 4), "float32")

    def losses(of):
        of(given)
        return sorted(float(np.asarray(one)) for one in of.losses)

    assert len(losses(model)) == 3
    assert losses(tcp.make_sparse(model)) == pytest.approx(losses(model))
    slim = tcp.transform(tcp.prune(model, ratio=0.4, divisor=1))
    made = slim.get_layer("a")
    assert made.kernel_regularizer is l2 and made.kernel_initializer is ones
    assert slim.count_params() < model.count_params()


@BOTH
def test_a_from_config_that_wants_names(kind):
    @kind.saving.register_keras_serializable("own_objects")
    def swish(x):
        return x * tf.sigmoid(x) + 0.25

    class Applied(kind.layers.Layer):
        def __init__(self, function, **options):
            super().__init__(**options)
            self.function = function

        def call(self, x):
            return self.function(x)

        def get_config(self):
            name = kind.saving.get_registered_name(self.function)
            return {**super().get_config(), "function": name}

        @classmethod
        def from_config(cls, config):
            found = kind.saving.get_registered_object(config.pop("function"))
            assert found is not None
            return cls(found, **config)

    inputs = kind.Input((4,))
    x = kind.layers.Dense(8, name="a")(inputs)
    x = Applied(swish)(x)
    model = kind.Model(inputs, kind.layers.Dense(2, name="z")(x))
    prune_and_compare(randomise(model))


# --- compilation


def compiled(kind, **options):
    inputs = kind.Input((4,))
    x = kind.layers.Dense(8, activation="relu", name="a")(inputs)
    model = kind.Model(inputs, kind.layers.Dense(2, name="z")(x))
    model.compile(**options)
    return model


@BOTH
def test_a_schedule_of_the_users_own(kind):
    class Falling(kind.optimizers.schedules.LearningRateSchedule):
        def __call__(self, step):
            return 0.5 / (1.0 + tf.cast(step, "float32"))

    optimizer = kind.optimizers.SGD(Falling())
    model = compiled(kind, optimizer=optimizer, loss="mse")
    sparse = tcp.prune(model, ratio=0.4, divisor=1)
    x, y = np.ones((4, 4), "float32"), np.ones((4, 2), "float32")
    assert float(np.asarray(sparse.optimizer.learning_rate)) == 0.5
    sparse.fit(x, y, batch_size=2, epochs=1, verbose=0)
    rate = float(np.asarray(sparse.optimizer.learning_rate))
    assert 0 < rate < 0.5
    assert int(optimizer.iterations) == 0


@BOTH
def test_what_cannot_be_made_again_is_said(kind, caplog):
    class Gap(kind.metrics.Metric):
        def __init__(self, scale):
            super().__init__(name="gap")
            self.scale = scale

        def update_state(self, y, y_pred, sample_weight=None):
            pass

        def result(self):
            return self.scale

    model = compiled(kind, optimizer="sgd", loss="mse", metrics=[Gap(2.0)])
    with caplog.at_level(logging.WARNING, "tf_channel_prune"):
        sparse = tcp.prune(model, ratio=0.4, divisor=1)
    assert "is not compiled" in caplog.text
    sparse.compile("sgd", "mse")
    sparse.fit(np.ones((2, 4)), np.ones((2, 2)), verbose=0)
