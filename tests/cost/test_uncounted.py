"""Layers whose FLOPs are not known are named; what is known is counted."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import tf_channel_prune as tcp
from tf_channel_prune.api import channels_of
from tf_channel_prune.cost import CostTable

KINDS = pytest.mark.parametrize("kind", [keras, tf_keras])


def model_around(kind, middle, last=True):
    """A convolution, something that mixes what it makes, a dense layer."""
    kind.utils.set_random_seed(0)
    image = kind.layers.Input((4, 4, 3))
    x = kind.layers.Conv2D(8, 3, padding="same", name="a")(image)
    x = middle(kind.layers, x)
    if last:
        x = kind.layers.Dense(2, name="z")(kind.layers.Flatten()(x))
    return kind.Model(image, x)


def recurrent(make):
    """A layer over four steps of 32 numbers."""
    return lambda layers, x: make(layers)(layers.Reshape((4, 32))(x))


def flops_of(cost, name):
    return {row.name: row.flops for row in cost.layers}[name]


# Inputs and units of every cell: kernel (inputs, gates x units), recurrent
# kernel (units, gates x units).
CELLS = {
    "both directions": (
        lambda layers: layers.Bidirectional(
            layers.RNN(layers.LSTMCell(6)), name="m"
        ),
        2 * (32 + 6) * 4 * 6,
    ),
    "stacked": (
        lambda layers: layers.RNN(
            [layers.LSTMCell(6), layers.GRUCell(5), layers.SimpleRNNCell(3)],
            name="m",
        ),
        (32 + 6) * 4 * 6 + (6 + 5) * 3 * 5 + (5 + 3) * 3,
    ),
    "stacked, both directions": (
        lambda layers: layers.Bidirectional(
            layers.RNN([layers.GRUCell(5), layers.GRUCell(2)]), name="m"
        ),
        2 * ((32 + 5) * 3 * 5 + (5 + 2) * 3 * 2),
    ),
}


@KINDS
@pytest.mark.parametrize("row", CELLS)
def test_plain_cells_are_counted_though_they_stay_whole(kind, row):
    make, each_step = CELLS[row]
    cost = tcp.cost(model_around(kind, recurrent(make)))
    assert flops_of(cost, "m") == 2 * 4 * each_step
    assert cost.uncounted == ()


@KINDS
def test_cells_in_both_directions_cost_what_the_layer_does(kind):
    def with_layer(layers):
        return layers.Bidirectional(layers.LSTM(6), name="m")

    make, _ = CELLS["both directions"]
    one, two = (
        tcp.cost(model_around(kind, recurrent(m))) for m in (make, with_layer)
    )
    assert flops_of(one, "m") == flops_of(two, "m")


def test_convolutions_by_operations_are_counted():
    def middle(layers, x):
        kernels = [
            np.ones(shape, "float32")
            for shape in ((3, 3, 5, 8), (3, 3, 5, 2), (1, 1, 10, 6))
        ]
        x = keras.ops.conv_transpose(x, kernels[0], 2, "same")
        return keras.ops.separable_conv(x, *kernels[1:], 2, "same")

    cost = tcp.cost(model_around(keras, middle))
    # Transposed: at each of 4 x 4 inputs. Separable: at 4 x 4 of 8 x 8.
    assert flops_of(cost, "conv_transpose") == 2 * 16 * 9 * 5 * 8
    assert flops_of(cost, "separable_conv") == 2 * 16 * (9 * 5 * 2 + 10 * 6)
    assert cost.uncounted == ()


def custom(kind, with_weight):
    """A layer that only TensorFlow's own convolution knows."""

    class Custom(kind.layers.Layer):
        def build(self, shape):
            if with_weight:
                self.filters = self.add_weight(
                    shape=(3, 3, 8, 8), initializer="ones", name="filters"
                )
            else:
                self.filters = np.ones((3, 3, 8, 8), "float32")

        def call(self, x):
            return tf.nn.conv2d(x, self.filters, 1, "SAME")

    return Custom(name="odd")


@keras.saving.register_keras_serializable("tests")
class OwnCell(keras.layers.Layer):
    """A cell of one's own: nobody knows what it does with its matrix."""

    state_size = output_size = 5

    def build(self, shape):
        self.matrix = self.add_weight(shape=(32, 5), name="matrix")

    def call(self, x, states):
        y = keras.ops.matmul(x, self.matrix) + states[0]
        return y, [y]


NAMED = {
    "custom layer": (keras, lambda layers, x: custom(keras, True)(x)),
    "without weights": (keras, lambda layers, x: custom(keras, False)(x)),
    "own cell": (
        keras,
        recurrent(lambda layers: layers.RNN(OwnCell(), name="odd")),
    ),
    "locally connected": (
        tf_keras,
        lambda layers, x: layers.LocallyConnected2D(4, 3, name="odd")(x),
    ),
    "function": (
        tf_keras,
        lambda layers, x: tf.nn.conv2d(
            x, np.ones((3, 3, 8, 8), "float32"), 1, "SAME", name="odd"
        ),
    ),
}


@pytest.mark.parametrize("row", NAMED)
def test_what_is_not_known_is_named(row):
    kind, middle = NAMED[row]
    cost = tcp.cost(model_around(kind, middle))
    (name,) = cost.uncounted
    assert row == "function" or name == "odd"
    assert flops_of(cost, name) == 0
    line = next(s for s in str(cost).splitlines() if f" {name} " in s)
    assert "not known" in line
    told = " ".join(str(cost).split())
    assert f"the FLOPs of {name} are not known and not counted" in told


def test_plans_over_flops_name_what_they_leave_out(tmp_path, capsys):
    model = model_around(keras, NAMED["own cell"][1])
    told = "the FLOPs of odd are not known and not counted"
    with pytest.raises(tcp.PruningError, match=told):
        tcp.prune(model, ratio=0.99)
    model = model_around(keras, after_another)
    tcp.prune(model, ratio=0.3)
    assert told in capsys.readouterr().out
    pruner = tcp.Pruner(model, tmp_path)
    pruner.prune(ratio=0.3)
    assert told in capsys.readouterr().out
    assert told in " ".join(str(pruner.explain()).split())
    pruner.prune(ratio=0.3, of="params")
    assert "odd" not in capsys.readouterr().out
    assert told not in " ".join(str(pruner.explain()).split())


def after_another(layers, x):
    """Something that can be pruned, then something that is not known."""
    x = layers.Conv2D(8, 3, padding="same", name="b")(x)
    return NAMED["own cell"][1](layers, x)


def test_training_with_a_schedule_names_what_it_leaves_out(caplog):
    sparse = tcp.make_sparse(model_around(keras, after_another))
    sparse.compile("sgd", "mean_squared_error")
    schedule = tcp.callbacks.Polynomial(0.3, begin=0, end=1)
    x = np.zeros((2, 4, 4, 3), "float32")
    callback = tcp.callbacks.GradualPruning(schedule)
    sparse.fit(x, np.zeros((2, 2)), epochs=2, verbose=0, callbacks=[callback])
    assert "the FLOPs of odd are not known" in caplog.text


def usual_layers(layers, x):
    """Layers that multiply nothing, of which some have no rule."""
    x = layers.LayerNormalization(axis=(1, 2, 3))(x)
    x = layers.PReLU()(layers.RandomFlip()(x))
    x = layers.ZeroPadding2D()(layers.UpSampling2D()(x))
    x = layers.GaussianNoise(0.1)(layers.SpatialDropout2D(0.1)(x))
    x = layers.MaxPooling2D()(layers.RandomRotation(0.1)(x))
    return layers.TimeDistributed(layers.Conv1D(4, 3), name="steps")(x)


def transformer(layers, x):
    x = layers.Reshape((16, 8))(x)
    y = layers.MultiHeadAttention(2, 4)(x, x)
    x = layers.LayerNormalization()(layers.Add()([x, y]))
    y = layers.Dense(8)(layers.Dense(16, activation="gelu")(x))
    return layers.LayerNormalization()(layers.Add()([x, y]))


@KINDS
@pytest.mark.parametrize("middle", [usual_layers, transformer])
def test_usual_layers_are_not_named(kind, middle):
    cost = tcp.cost(model_around(kind, middle))
    assert cost.uncounted == ()
    assert "not counted" not in str(cost)


def test_operations_that_are_no_contractions_are_not_named():
    def middle(layers, x):
        x = tf.image.convert_image_dtype(x, "float32", saturate=True)
        x = tf.raw_ops.LRN(input=x)
        return tf.image.adjust_contrast(x, 2.0)

    model = model_around(tf_keras, middle)
    assert tcp.cost(model).uncounted == ()


@pytest.mark.parametrize(
    "name", ["MobileNetV2", "MobileNetV3Small", "EfficientNetV2B0", "Xception"]
)
def test_well_known_models_have_nothing_uncounted(name):
    make = getattr(keras.applications, name)
    model = make(weights=None, input_shape=(96, 96, 3), classes=10)
    assert CostTable(channels_of(model)).uncounted == ()
