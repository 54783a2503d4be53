"""Open sizes are filled in by asking the operations, or by the user."""

import keras
import pytest
import tensorflow as tf
import tf_keras
from keras import layers

from tf_channel_prune import graph as graphs
from tf_channel_prune.errors import PruningError
from tf_channel_prune.graph.concrete import IMAGE_SIDE
from tf_channel_prune.graph.concrete import LENGTH


def shapes_of(model, input_shape=None):
    graph = graphs.read(model)
    found = graphs.concrete_shapes(graph, input_shape)
    return found, [found.by_tensor[n] for n in graph.outputs]


def open_image_model():
    image = keras.Input((None, None, 3), name="image")
    x = layers.Conv2D(4, 3, strides=2)(image)
    x = layers.ZeroPadding2D(1)(x) * 2.0
    return keras.Model(image, layers.Reshape((-1, 4))(x))


def two_inputs():
    image = keras.Input((None, None, 3), name="image")
    tokens = keras.Input((None, 5), name="tokens")
    pooled = layers.GlobalAveragePooling2D()(image)
    return keras.Model([image, tokens], [pooled, layers.Conv1D(2, 3)(tokens)])


def test_a_model_of_known_sizes_is_left_alone():
    image = keras.Input((8, 8, 3))
    model = keras.Model(image, layers.Conv2D(4, 3)(image))
    assert graphs.concrete_shapes(graphs.read(model)) == graphs.Shapes()


def test_an_image_is_taken_as_224():
    found, (output,) = shapes_of(open_image_model())
    side = (IMAGE_SIDE - 3) // 2 + 1 + 2
    assert output == (None, side * side, 4)
    assert found.assumed == {"image": (IMAGE_SIDE, IMAGE_SIDE, 3)}


def test_given_sizes_win():
    found, (output,) = shapes_of(open_image_model(), (9, 7, 3))
    assert output == (None, 6 * 5, 4)
    assert found.assumed == {}


@pytest.mark.parametrize(
    "given, assumed",
    [
        ([(10, 10, 3), (6, 5)], {}),
        ({"tokens": (6, 5)}, {"image": (IMAGE_SIDE, IMAGE_SIDE, 3)}),
        ({"image": (10, 10, 3)}, {"tokens": (LENGTH, 5)}),
    ],
)
def test_several_inputs(given, assumed):
    found, (_, output) = shapes_of(two_inputs(), given)
    assert found.assumed == assumed
    assert output == (None, (LENGTH if "tokens" in assumed else 6) - 2, 2)


@pytest.mark.parametrize(
    "given, message",
    [
        ({"picture": (9, 9, 3)}, "names 'picture'.*'image'"),
        ((9, 9), "takes \\(None, None, 3\\)"),
        ((9, 9, 4), "takes \\(None, None, 3\\)"),
        ((9, 0, 3), "takes \\(None, None, 3\\)"),
        ([(9, 9, 3), (9, 9, 3)], "2 shapes for the model's 1 inputs"),
        ((2, 2, 3), "does not go through 'conv2d"),
        (5, "is a shape without the batch axis"),
        ({"image": 5}, "is a shape without the batch axis"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(given, message):
    with pytest.raises(PruningError, match=message):
        shapes_of(open_image_model(), given)


class OnlySmall(layers.Layer):
    """Takes sequences of at most 16."""

    def call(self, x):
        return x + 1

    def compute_output_shape(self, shape):
        if shape[1] is not None and shape[1] > 16:
            raise ValueError("too long")
        return shape


def test_an_assumption_that_a_layer_refuses_is_told():
    tokens = keras.Input((None, 4))
    x = layers.Conv1D(4, 1)(tokens)
    model = keras.Model(tokens, OnlySmall(name="small")(x))
    found, (output,) = shapes_of(model)
    assert found.unresolved == ("small",)
    assert output == (None, None, 4)
    assert shapes_of(model, (10, 4))[1] == [(None, 10, 4)]


def tf_keras_model():
    image = tf_keras.Input((None, None, 3), name="image")
    x = tf_keras.layers.Conv2D(4, 3, strides=2)(image)
    x = tf.pad(tf_keras.layers.ReLU()(x), [[0, 0], [1, 1], [1, 1], [0, 0]])
    inner = tf_keras.Input((None, None, 4))
    y = tf_keras.layers.MaxPooling2D(3)(inner)
    x = tf_keras.Model(inner, y * 2.0)(x)
    return tf_keras.Model(image, tf_keras.layers.Reshape((-1, 4))(x))


def test_tf_keras():
    model = tf_keras_model()
    before = [len(layer._inbound_nodes) for layer in model.layers]
    found, (output,) = shapes_of(model, (19, 31, 3))
    assert output == (None, (9 + 2) // 3 * ((15 + 2) // 3), 4)
    assert found == graphs.Shapes(found.by_tensor)
    assert shapes_of(model)[0].assumed == {"image": (IMAGE_SIDE, IMAGE_SIDE, 3)}
    assert [len(layer._inbound_nodes) for layer in model.layers] == before


def test_tf_keras_shapes_that_do_not_fit_are_refused():
    with pytest.raises(PruningError, match="does not go through 'conv2d"):
        shapes_of(tf_keras_model(), (2, 2, 3))


def test_the_model_keeps_no_trace():
    model = open_image_model()
    before = [len(op._inbound_nodes) for op in model.operations]
    shapes_of(model)
    assert [len(op._inbound_nodes) for op in model.operations] == before
