"""tf_keras models are read and rebuilt as they are, and pruned equal."""

import numpy as np
import pytest
import tf_keras

import tf_channel_prune as tcp
from tf_channel_prune import graph as graphs
from tf_channel_prune.channels import understood
from tf_channel_prune.errors import PruningError
from tf_channel_prune.graph.inputs import random_inputs
from tf_channel_prune.transform import compare

layers = tf_keras.layers


def sequential():
    return tf_keras.Sequential(
        [
            layers.Input((8, 8, 3)),
            layers.Conv2D(8, 3, activation="relu"),
            layers.BatchNormalization(),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(4),
        ],
        name="chain",
    )


def built_later():
    model = tf_keras.Sequential(
        [layers.Conv2D(8, 3), layers.ReLU(), layers.Conv2D(4, 3)]
    )
    model.build((None, 8, 8, 3))
    return model


def depthwise():
    image = layers.Input((8, 8, 3))
    x = layers.Conv2D(8, 3, name="stem")(image)
    x = layers.DepthwiseConv2D(3, depth_multiplier=2, name="depth")(x)
    x = layers.PReLU(shared_axes=[1, 2])(x)
    x = layers.SeparableConv2D(8, 3, name="separable")(x)
    x = layers.Conv2DTranspose(6, 2, name="up")(x)
    x = layers.LeakyReLU()(x)
    return tf_keras.Model(image, layers.Conv2D(2, 1, name="head")(x))


def grouped():
    image = layers.Input((8, 8, 3))
    x = layers.Conv2D(8, 3, name="stem")(image)
    x = layers.Conv2D(8, 3, groups=2, name="grouped")(x)
    x = layers.Conv2D(8, 3, groups=8, name="depthwise")(x)
    return tf_keras.Model(image, layers.Conv2D(2, 1, name="head")(x))


def residual():
    image = layers.Input((8, 8, 3))
    x = layers.Conv2D(8, 1, name="stem")(image)
    y = layers.Conv2D(8, 3, padding="same", name="inner")(x)
    x = layers.Add()([x, y])
    z = layers.Conv2D(6, 3, padding="same", name="other")(x)
    x = layers.Concatenate()([x, z])
    x = layers.GlobalAveragePooling2D()(x)
    return tf_keras.Model(image, layers.Dense(3, name="head")(x))


def shared_layer():
    shared = layers.Conv2D(8, 3, padding="same", name="shared")
    one, two = layers.Input((8, 8, 3)), layers.Input((8, 8, 3))
    x = layers.Add()([shared(one), shared(two)])
    return tf_keras.Model([one, two], layers.Conv2D(2, 1, name="head")(x))


def nested():
    inner = tf_keras.Sequential(
        [layers.Input((8, 8, 6)), layers.Conv2D(8, 3, name="in")], name="inner"
    )
    image = layers.Input((8, 8, 3))
    x = layers.Conv2D(6, 3, padding="same", name="stem")(image)
    y = layers.Conv2D(6, 3, padding="same", name="second")(x)
    x = layers.Add()([inner(x), inner(y)])
    return tf_keras.Model(image, layers.Conv2D(2, 1, name="head")(x))


def deeply_nested():
    x = i = layers.Input((8, 8, 6))
    core = tf_keras.Model(i, layers.Conv2D(6, 1, name="conv")(x), name="core")
    x = i = layers.Input((8, 8, 6))
    middle = tf_keras.Model(i, core(core(x)), name="middle")
    image = layers.Input((8, 8, 3))
    x = layers.Conv2D(6, 1, name="stem")(image)
    return tf_keras.Model(image, layers.Conv2D(2, 1)(middle(x)))


def dictionaries():
    inputs = {
        "wide": layers.Input((6,), name="wide"),
        "deep": layers.Input((5,), name="deep"),
    }
    x = layers.Dense(8, activation="relu", name="hidden")(inputs["deep"])
    x = layers.Concatenate()([x, inputs["wide"]])
    outputs = {"b": layers.Dense(2, name="b")(x), "a": layers.Dense(1)(x)}
    return tf_keras.Model(inputs, outputs)


def integers():
    words = layers.Input((7,), dtype="int32")
    x = layers.Embedding(11, 8, name="embedding")(words)
    x = layers.Conv1D(8, 3, name="conv")(x)
    x = layers.GlobalMaxPooling1D()(x)
    return tf_keras.Model(words, layers.Dense(2, name="head")(x))


def recurrent():
    words = layers.Input((7,), dtype="int32")
    x = layers.Embedding(11, 8, name="embedding")(words)
    x = layers.Bidirectional(layers.LSTM(8, return_sequences=True))(x)
    x = layers.GRU(8, return_sequences=True, name="gru")(x)
    x = layers.TimeDistributed(layers.Dense(8, name="inner"))(x)
    x = layers.SimpleRNN(8, name="rnn")(x)
    return tf_keras.Model(words, layers.Dense(2, name="head")(x))


def attention():
    image = layers.Input((5, 8))
    x = layers.Dense(8, name="stem")(image)
    x = layers.LayerNormalization(name="norm")(x)
    x = layers.MultiHeadAttention(4, 6, name="attention")(x, x)
    x = layers.EinsumDense("abc,cd->abd", (None, 8), bias_axes="d")(x)
    x = layers.GlobalAveragePooling1D()(x)
    return tf_keras.Model(image, layers.Dense(2, name="head")(x))


def other_layers():
    image = layers.Input((8, 8, 3))
    x = layers.Rescaling(0.5, 0.1)(image)
    x = layers.ZeroPadding2D()(x)
    x = layers.Conv2D(8, 3, name="stem")(x)
    x = layers.GroupNormalization(2, name="groups")(x)
    x = layers.ThresholdedReLU(0.1)(x)
    x = layers.SpatialDropout2D(0.5)(x)
    x = layers.Cropping2D(1)(x)
    x = layers.UpSampling2D()(x)
    x = layers.AveragePooling2D()(x)
    y = layers.Conv2D(8, 1, name="gate", activation="hard_sigmoid")(x)
    x = layers.Multiply()([x, y])
    x = layers.Reshape((-1, 8))(x)
    x = layers.Permute((2, 1))(x)
    x = layers.Flatten()(layers.Dense(3, name="along")(x))
    return tf_keras.Model(image, layers.Dense(2, name="head")(x))


MODELS = [
    recurrent,
    attention,
    other_layers,
    sequential,
    built_later,
    depthwise,
    grouped,
    residual,
    shared_layer,
    nested,
    deeply_nested,
    dictionaries,
    integers,
]


def randomised(model):
    """Random values everywhere, also where layers start at zero or one."""
    rng = np.random.default_rng(0)
    for weight in model.weights:
        value = rng.uniform(0.1, 1.0, weight.shape)
        sign = rng.choice([-1, 1], weight.shape)
        if "variance" in weight.name:
            sign = 1
        weight.assign(value * sign)
    return model


@pytest.mark.parametrize("make", MODELS)
def test_rebuilt_model_is_the_same(make):
    model = randomised(make())
    graph = graphs.read(model, understood)
    copy = graphs.replay(graph)
    assert type(copy) is type(model)
    assert [layer.name for layer in copy.layers] == [
        layer.name for layer in model.layers
    ]
    assert copy.output_names == model.output_names
    assert [w.shape for w in copy.weights] == [w.shape for w in model.weights]
    inputs = random_inputs(model)
    assert compare(model, copy, inputs).largest == 0
    before = model.get_weights()
    for weight in copy.weights:
        weight.assign_add(np.ones(weight.shape))
    for old, new in zip(before, model.get_weights()):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("make", MODELS)
def test_slim_equals_sparse(make, tmp_path):
    model = randomised(make())
    before = model.get_weights()
    sparse = tcp.prune(model, ratio=0.4)
    slim = tcp.transform(sparse)
    for old, new in zip(before, model.get_weights()):
        np.testing.assert_array_equal(old, new)
    assert tcp.cost(slim).flops <= 0.6 * tcp.cost(model).flops
    inputs = random_inputs(model)
    assert compare(model, slim, inputs).relative > 1e-3  # something was cut
    assert [layer.name for layer in slim.layers] == [
        layer.name for layer in model.layers
    ]
    slim.save(tmp_path / "slim.keras")
    loaded = tf_keras.models.load_model(tmp_path / "slim.keras")
    assert compare(slim, loaded, inputs).largest == 0
    assert not any("channel" in str(type(v)) for v in loaded.layers)


@pytest.mark.parametrize("make", [sequential, residual])
def test_one_output_per_layer(make):
    """`layer.output` stays unambiguous in the rebuilt model."""
    copy = graphs.replay(graphs.read(make(), understood))
    for layer in copy.layers:
        assert layer.output.shape is not None


def test_compiled_like_the_original():
    model = residual()
    model.compile(
        tf_keras.optimizers.SGD(0.125, momentum=0.5),
        "mean_squared_error",
        metrics=[tf_keras.metrics.MeanAbsoluteError(name="gap")],
    )
    copy = graphs.replay(graphs.read(model, understood))
    assert copy.optimizer is not model.optimizer
    assert float(copy.optimizer.learning_rate) == 0.125
    x, y = np.ones((4, 8, 8, 3)), np.ones((4, 3))
    assert copy.evaluate(x, y, verbose=0) == model.evaluate(x, y, verbose=0)


def test_frozen_layers_stay_frozen():
    model = residual()
    model.get_layer("stem").trainable = False
    copy = graphs.replay(graphs.read(model, understood))
    assert not copy.get_layer("stem").trainable
    assert len(copy.trainable_weights) == len(model.trainable_weights)


def test_unbuilt_model_is_refused():
    with pytest.raises(PruningError, match="no input shape yet"):
        tcp.cost(tf_keras.Sequential([layers.Dense(3)]))


def test_names_of_weights_survive_renaming():
    model = depthwise()
    model.get_layer("depth")._name = "renamed"
    graph = graphs.read(model, understood)
    node = next(n for n in graph.nodes if n.name == "renamed")
    assert [w.name for w in node.weights] == ["kernel", "bias"]


class Gathers(layers.Layer):
    """Adds what it has gathered in a list of its own, which Keras wraps."""

    def build(self, shape):
        self.convs = [layers.Conv2D(shape[-1], 1) for _ in range(3)]
        self.found = []

    def call(self, x):
        self.found = []
        for conv in self.convs:
            x = conv(x)
            self.found.append(x)
        return layers.add(self.found)


def test_a_layer_that_keeps_tensors_in_a_list_opens():
    image = layers.Input((8, 8, 3))
    x = layers.Conv2D(8, 3, name="stem")(image)
    model = tf_keras.Model(image, layers.Conv2D(2, 1)(Gathers()(x)))
    slim = tcp.transform(tcp.prune(randomised(model), ratio=0.4))
    assert tcp.cost(slim).flops <= 0.6 * tcp.cost(model).flops
