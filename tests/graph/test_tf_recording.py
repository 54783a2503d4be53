"""Layers of Keras 3 whose call uses TensorFlow's functions: opened, pruned."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from tf_cases import CASES

import tf_channel_prune as tcp
from tf_channel_prune import graph as graphs
from tf_channel_prune.channels import understood
from tf_channel_prune.graph.inputs import random_inputs
from tf_channel_prune.transform import compare

if keras.backend.backend() != "tensorflow":
    pytest.skip("functions of TensorFlow", allow_module_level=True)

# tf_keras' own functions take no tensor of Keras 3.
ROWS = sorted(CASES.keys() - {"backend", "hard_sigmoid"})
# In Keras 3 a known size is a number.
ALSO_PRUNABLE = {"width as number"}


@keras.saving.register_keras_serializable("test_tf_recording")
class Case(layers.Layer):
    """One of the cases, as a layer."""

    def __init__(self, case, **kwargs):
        super().__init__(**kwargs)
        self.case = case

    def call(self, x, y):
        return CASES[self.case][0](x, y)

    def get_config(self):
        return {**super().get_config(), "case": self.case}


def model_of(layer):
    keras.utils.set_random_seed(3)
    image = keras.Input((6, 6, 3))
    x = layers.Conv2D(8, 3, padding="same", name="one")(image)
    y = layers.Conv2D(8, 1, name="two", bias_initializer="normal")(image)
    x = layer(x, y)
    return keras.Model(image, layers.Conv2D(2, 1, name="head")(x))


def prunable_layers(model):
    groups = [g for g in tcp.channel_groups(model) if not g.frozen]
    return {layer for group in groups for layer in group.layers}


@pytest.mark.parametrize("case", ROWS)
def test_a_function_is_the_operation_that_it_computes(case):
    model = model_of(Case(case))
    graph = graphs.read(model, understood)
    inputs = random_inputs(model)
    assert compare(model, graphs.replay(graph), inputs).relative < 1e-6
    prunable = CASES[case][1] or case in ALSO_PRUNABLE
    assert ("one" in prunable_layers(model)) == prunable
    if prunable:
        slim = tcp.transform(tcp.prune(model, ratio=0.3, divisor=1))
        assert slim.get_layer("one").filters < 8


def test_moments_are_one_operation():
    """tf_keras sees the functions that they call instead."""
    nodes = graphs.read(model_of(Case("moments")), understood).nodes
    assert "ops.Moments" in [node.kind for node in nodes]


class Mixed(layers.Layer):
    """Weights, layers and functions of TensorFlow together."""

    def build(self, x_shape, y_shape):
        self.scale = self.add_weight((x_shape[-1],), name="scale")
        self.table = layers.Embedding(6, 8)
        self.dense = layers.Dense(8, name="dense")
        self.order = tf.Variable([1, 0, 2, 3, 5, 4], trainable=False)
        self.table.build(())

    def call(self, x, y):
        batch, height = tf.shape(x)[0], x.get_shape()[1]
        rows = self.table(tf.range(height))[:, tf.newaxis]
        x = tf.gather(x * self.scale + rows, self.order, axis=1)
        x = tf.reshape(x, (batch, height * height, 8))
        x = self.dense(x) * tf.nn.softmax(x, axis=1)
        return tf.reshape(x, (-1, height, height, 8)) + tf.sin(y)


def test_a_composite_with_weights_of_its_own():
    model = model_of(Mixed(name="mixed"))
    names = prunable_layers(model)
    assert {"one", "mixed.dense"} <= names, names
    slim = tcp.transform(tcp.prune(model, ratio=0.4, divisor=1))
    assert not [v for v in slim.layers if isinstance(v, Mixed)]
    assert len(slim.trainable_weights) == len(model.trainable_weights)


class Own(layers.Layer):
    """A variable that Keras does not see, and that may train."""

    def build(self, x_shape, y_shape):
        self.factor = tf.Variable(tf.ones(8), name="factor")

    def call(self, x, y):
        return tf.multiply(x, self.factor)


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (Own, "uses a tf.Variable, which Keras does not see"),
        (lambda: Case("unknown"), "keras.ops has no counterpart of tf.sort"),
    ],
)
def test_what_is_no_operation_says_so(layer, reason):
    reasons = [g.reason for g in tcp.channel_groups(model_of(layer()))]
    assert any(reason in text for text in reasons), reasons


def test_tensorflow_and_keras_are_left_as_they_were():
    from tensorflow.python.util import dispatch

    before = list(dispatch._GLOBAL_DISPATCHERS)
    tcp.channel_groups(model_of(Case("relu")))
    assert before == dispatch._GLOBAL_DISPATCHERS
    assert not hasattr(keras.KerasTensor, "get_shape")
    with pytest.raises(ValueError):
        tf.nn.relu(keras.KerasTensor((2, 3)))


def test_the_result_trains():
    model = model_of(Mixed(name="mixed"))
    slim = tcp.transform(tcp.prune(model, ratio=0.4, divisor=1))
    slim.compile("sgd", "mse")
    x = random_inputs(slim)
    losses = slim.fit(x, np.zeros((2, 6, 6, 2)), epochs=3, verbose=0)
    assert losses.history["loss"][-1] < losses.history["loss"][0]
