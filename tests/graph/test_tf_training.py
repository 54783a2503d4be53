"""What a tf_keras layer does for training is never lost without a word."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import tf_channel_prune as tcp
from tf_channel_prune import graph as graphs
from tf_channel_prune.channels import understood

layers = tf_keras.layers
backend = tf_keras.backend


class Gate(layers.Layer):
    """A composite that opens."""

    def __init__(self, activity_regularizer=None, **kwargs):
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        self.one = layers.Dense(8, name="one")
        self.two = layers.Dense(8, activation="sigmoid", name="two")

    def call(self, x):
        return self.one(x) * self.two(x)

    def get_config(self):
        regularizer = tf_keras.regularizers.serialize(self.activity_regularizer)
        return {**super().get_config(), "activity_regularizer": regularizer}


class AddsLoss(Gate):
    def call(self, x):
        x = super().call(x)
        self.add_loss(tf.reduce_mean(tf.square(x)))
        return x


class RegularizedWeight(layers.Layer):
    def build(self, shape):
        self.scale = self.add_weight(
            name="scale", shape=(shape[-1],), regularizer="l2"
        )
        super().build(shape)

    def call(self, x):
        return x * self.scale


class OtherInTraining(layers.Layer):
    def call(self, x):
        return backend.in_train_phase(x * 0.5, x)


class OtherNumber(layers.Layer):
    def call(self, x):
        return x * (0.5 if backend.learning_phase() else 1.0)


class OtherOutput(layers.Layer):
    def call(self, x):
        one, two = tf.nn.relu(x + 1.0), tf.nn.relu(x + 2.0)
        return backend.in_train_phase(one * two - one, one * two - two)


class Inside(layers.Layer):
    """A composite around one layer."""

    def __init__(self, inner, **kwargs):
        super().__init__(**kwargs)
        self.inner = inner

    def call(self, x):
        return tf.nn.relu(self.inner(x))


class Counts(Gate):
    def build(self, shape):
        self.calls = self.add_weight(name="calls", shape=(), trainable=False)
        self.python_calls = 0
        super().build(shape)

    def call(self, x):
        self.calls.assign_add(1.0)
        self.python_calls += 1
        return super().call(x)


def around(layer):
    tf_keras.utils.set_random_seed(1)
    return tf_keras.Sequential(
        [
            layers.Input((5,)),
            layers.Dense(12, activation="relu", name="before"),
            layer,
            layers.Dense(10, activation="relu", name="after"),
            layers.Dense(3, name="head"),
        ]
    )


def sequential(inner):
    return tf_keras.Sequential([layers.Input((12,)), inner, layers.Dense(8)])


def data():
    return np.random.default_rng(0).normal(size=(4, 5)).astype("float32")


def slim_of(model):
    return tcp.transform(tcp.prune(model, ratio=0.3, divisor=1))


def losses(model):
    model(data(), training=True)
    return [float(loss) for loss in model.losses]


WHOLE = [
    (AddsLoss, "adds losses"),
    (lambda name: Gate("l2", name=name), "activity regularizer"),
    (RegularizedWeight, "adds losses"),
    (OtherInTraining, "another path while training"),
    (OtherNumber, "another path while training"),
    (OtherOutput, "another path while training"),
]


@pytest.mark.parametrize(("make", "reason"), WHOLE)
def test_left_whole_with_its_reason(make, reason):
    model = around(make(name="odd"))
    nodes = graphs.read(model, understood).nodes
    reasons = {node.name: node.closed_reason for node in nodes}
    assert reason in reasons["odd"]
    slim = slim_of(model)
    assert type(slim.get_layer("odd")) is type(model.get_layer("odd"))
    assert len(losses(slim)) == len(losses(model))


INNER = {
    "kernel_regularizer": lambda: layers.Dense(8, kernel_regularizer="l2"),
    "activity_regularizer": lambda: layers.Dense(8, activity_regularizer="l2"),
    "add_loss": AddsLoss,
}


@pytest.mark.parametrize("wrap", [Inside, sequential])
@pytest.mark.parametrize("inner", INNER)
def test_losses_of_inner_layers_are_kept(wrap, inner):
    model = around(wrap(INNER[inner]()))
    assert len(losses(model)) == 1
    assert len(losses(slim_of(model))) == 1


def functional_with_loss():
    image = layers.Input((12,))
    x = layers.Dense(8, activation="relu")(image)
    model = tf_keras.Model(image, layers.Dense(8)(x), name="lossy")
    model.add_loss(tf.reduce_mean(x))
    return model


def functional_with_function():
    dense = layers.Dense(8, activation="relu")
    image = layers.Input((12,))
    x = layers.Dense(8)(dense(image))
    model = tf_keras.Model(image, x, name="lossy")
    model.add_loss(lambda: tf.reduce_mean(dense.kernel))
    return model


def functional_with_metric():
    image = layers.Input((12,))
    x = layers.Dense(8, activation="relu")(image)
    model = tf_keras.Model(image, layers.Dense(8)(x), name="lossy")
    model.add_metric(tf.reduce_mean(x), name="mean", aggregation="mean")
    return model


class Subclassed(tf_keras.Model):
    def __init__(self):
        super().__init__(name="lossy")
        self.one = layers.Dense(8, activation="relu")
        self.two = layers.Dense(3)

    def call(self, x):
        x = self.one(x)
        self.add_loss(tf.reduce_mean(x))
        return self.two(x)


def subclassed():
    model = Subclassed()
    model(data())
    return model


@pytest.mark.parametrize(
    "make",
    [
        functional_with_loss,
        functional_with_function,
        functional_with_metric,
        lambda: around(functional_with_loss()),
        subclassed,
    ],
)
def test_losses_of_a_model_are_named(make, capsys):
    model = make()
    tcp.prune(model, ratio=0.3, divisor=1)
    tcp.cost(model)
    said = capsys.readouterr().out
    assert said.count("'lossy' has losses or metrics of its own") == 1


def state(model):
    return [
        (len(part._losses), len(part._inbound_nodes), len(part._eager_losses))
        for part in model._flatten_layers()
    ]


@pytest.mark.parametrize("make", [AddsLoss, Counts, Gate])
def test_reading_leaves_a_model_as_it_was(make):
    model = around(make(name="odd"))
    odd = model.get_layer("odd")
    attributes, before = dict(vars(odd)), state(model)
    graphs.read(model, understood)
    assert vars(odd) == attributes
    assert state(model) == before


@pytest.mark.parametrize("make", [AddsLoss, Counts, Gate])
def test_pruning_changes_no_variable(make):
    model = around(make(name="odd"))
    before = model.get_weights()
    tcp.prune(model, ratio=0.3, divisor=1)
    for now, then in zip(model.get_weights(), before):
        np.testing.assert_array_equal(now, then)


def test_sizes_leave_no_loss_behind():
    image = layers.Input((None, 5))
    x = layers.Dense(8, activity_regularizer="l2")(image)
    model = tf_keras.Model(image, layers.Dense(2)(x))
    before = state(model)
    tcp.cost(model)
    assert state(model) == before
