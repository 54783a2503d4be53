"""Functions of TensorFlow in tf_keras models: read, rebuilt, pruned."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import tf_channel_prune as tcp
from tf_channel_prune import graph as graphs
from tf_channel_prune.channels import understood
from tf_channel_prune.graph.inputs import random_inputs
from tf_channel_prune.graph.tf_table import TABLE
from tf_channel_prune.transform import compare

layers = tf_keras.layers
backend = tf_keras.backend


def attention(x, y):
    """Scores over positions, as written in TensorFlow."""
    flat = tf.reshape(x, (tf.shape(x)[0], 36, 8))
    other = tf.reshape(y, (-1, 36, 8))
    scores = tf.nn.softmax(tf.matmul(flat, other, transpose_b=True))
    return tf.reshape(tf.matmul(scores, other), (-1, 6, 6, 8))


def shuffle(x, y):
    parts = tf.reshape(x, (-1, 6, 6, 2, 4))
    return tf.reshape(tf.transpose(parts, (0, 1, 2, 4, 3)), (-1, 6, 6, 8))


# What is done to two tensors of shape (batch, 6, 6, 8) that convolutions make,
# and whether channels of them can go.
CASES = {
    "add": (lambda x, y: x + y, True),
    "add_n": (lambda x, y: tf.add_n([x, y, y]), True),
    "number first": (lambda x, y: 2.0 - x, True),
    "array": (lambda x, y: x * np.arange(1.0, 9.0, dtype="float32"), True),
    "bias_add": (lambda x, y: tf.nn.bias_add(x, np.ones(8, "float32")), True),
    "divide": (lambda x, y: x / 3.0, True),
    "power": (lambda x, y: x**2, True),
    "maximum": (lambda x, y: tf.maximum(x, y), True),
    "relu": (lambda x, y: tf.nn.relu(x), True),
    "relu6": (lambda x, y: tf.nn.relu6(x), True),
    "leaky": (lambda x, y: tf.nn.leaky_relu(x, 0.3), True),
    "gelu": (lambda x, y: tf.nn.gelu(x, approximate=True), True),
    "sigmoid": (lambda x, y: tf.sigmoid(x), True),
    "swish": (lambda x, y: tf.nn.swish(x), True),
    "softmax": (lambda x, y: tf.nn.softmax(x), False),
    "clip": (lambda x, y: tf.clip_by_value(x, -1.0, 0.5), True),
    "where": (lambda x, y: tf.where(x > 0, x, y), True),
    "cast": (lambda x, y: tf.cast(tf.cast(x, "float64"), "float32"), True),
    "stop": (lambda x, y: tf.stop_gradient(tf.identity(x)), True),
    "round": (lambda x, y: tf.round(x) + tf.zeros_like(y), True),
    "concat": (lambda x, y: tf.concat([x, y], -1), True),
    "stack": (lambda x, y: tf.stack([x, y], axis=3)[:, :, :, 1], True),
    "split": (lambda x, y: tf.split(x, 2, axis=-1)[1], True),
    "split sizes": (lambda x, y: tf.split(x, [2, 6], axis=-1)[1], True),
    "split rows": (lambda x, y: tf.split(x, [2, 4], axis=1)[1], True),
    "unstack": (lambda x, y: tf.unstack(x, axis=1)[2][:, None], True),
    "slice": (lambda x, y: x[:, ::2, 1:4, 2:], True),
    "ellipsis": (lambda x, y: x[..., :3], True),
    "new axis": (lambda x, y: x[:, tf.newaxis, 0], True),
    "gather": (lambda x, y: tf.gather(x, [0, 5, 6], axis=-1), True),
    "pad": (lambda x, y: tf.pad(x, [[0, 0], [1, 0], [0, 2], [0, 0]]), True),
    "pad channels": (
        lambda x, y: tf.pad(x, [[0, 0], [0, 0], [0, 0], [1, 3]]),
        True,
    ),
    "reflect": (
        lambda x, y: tf.pad(x, [[0, 0], [2, 2], [2, 2], [0, 0]], "REFLECT"),
        True,
    ),
    "tile": (lambda x, y: tf.tile(x, [1, 1, 2, 1]), True),
    "repeat": (lambda x, y: tf.repeat(x, 2, axis=-1), True),
    "reverse": (lambda x, y: tf.reverse(x, [-1, 1]), True),
    "roll": (lambda x, y: tf.roll(x, 1, axis=1), True),
    "transpose": (
        lambda x, y: tf.transpose(tf.transpose(x, (0, 3, 1, 2)), (0, 2, 3, 1)),
        True,
    ),
    "expand": (lambda x, y: tf.squeeze(tf.expand_dims(x, 1), 1), True),
    "broadcast": (
        lambda x, y: x + tf.broadcast_to(tf.constant([1.0]), (6, 8)),
        True,
    ),
    "shuffle": (shuffle, True),
    "batch size": (
        lambda x, y: tf.reshape(x, (tf.shape(x)[0], 36, 1, 8)),
        True,
    ),
    "width as number": (
        lambda x, y: x / tf.cast(tf.shape(x)[-1], "float32"),
        False,
    ),
    "attention": (attention, True),
    "einsum": (lambda x, y: tf.einsum("bhwc,bhwc->bhwc", x, y), True),
    "depth_to_space": (lambda x, y: tf.nn.depth_to_space(x, 2), True),
    "space_to_depth": (lambda x, y: tf.nn.space_to_depth(x, 2), True),
    "average": (lambda x, y: tf.nn.avg_pool2d(x, 2, 2, "SAME"), True),
    "largest": (lambda x, y: tf.nn.max_pool(x, 2, 1, "VALID"), True),
    "resize": (lambda x, y: tf.image.resize(x, (3, 9)), True),
    "resize as": (
        lambda x, y: tf.image.resize(x, tf.shape(y)[1:3], method="nearest"),
        True,
    ),
    "mean": (lambda x, y: tf.reduce_mean(x, [1, 2], keepdims=True), True),
    "sum of channels": (
        lambda x, y: tf.reduce_sum(x, -1, keepdims=True),
        True,
    ),
    "max of channels": (
        lambda x, y: tf.reduce_max(tf.nn.relu(x), -1, keepdims=True),
        False,
    ),
    "backend": (
        lambda x, y: backend.concatenate([backend.relu(x), y])[:, 1:],
        True,
    ),
    "hard_sigmoid": (lambda x, y: tf_keras.activations.hard_sigmoid(x), True),
    "tried": (lambda x, y: tf.math.bessel_i0e(x), True),
    "unknown": (lambda x, y: tf.sort(x), False),
}


def model_of(function):
    tf_keras.utils.set_random_seed(3)
    image = layers.Input((6, 6, 3))
    x = layers.Conv2D(8, 3, padding="same", name="one")(image)
    y = layers.Conv2D(8, 1, name="two", bias_initializer="normal")(image)
    x = function(x, y)
    return tf_keras.Model(image, layers.Conv2D(2, 1, name="head")(x))


@pytest.mark.parametrize("case", CASES)
def test_rebuilt_and_pruned(case, tmp_path):
    function, prunable = CASES[case]
    model = model_of(function)
    graph = graphs.read(model, understood)
    inputs = random_inputs(model)
    assert compare(model, graphs.replay(graph), inputs).largest == 0
    groups = {group.name: group for group in tcp.channel_groups(model)}
    can_go = {
        layer
        for group in groups.values()
        if not group.frozen
        for layer in group.layers
    }
    assert ("one" in can_go) == prunable, groups
    if prunable:
        sparse = tcp.prune(model, ratio=0.3, divisor=1)
        slim = tcp.transform(sparse)
        widths = [v.filters for v in slim.layers if hasattr(v, "filters")]
        assert min(widths[:-1]) < 8
        assert compare(model, slim, inputs).relative > 1e-5
        if case == "einsum":
            return  # tf_keras loses the operands of any model that has one
        slim.save(tmp_path / "slim.keras")
        loaded = tf_keras.models.load_model(tmp_path / "slim.keras")
        assert compare(slim, loaded, inputs).largest == 0


def test_every_row_names_a_function_and_an_operation():
    import keras
    from tf_keras.src.layers.core.tf_op_layer import get_symbol_from_name

    operations = {
        name
        for room in ("numpy", "nn", "core", "image", "math", "linalg")
        for name in vars(getattr(keras.src.ops, room))
    }
    for symbol, row in TABLE.items():
        if row.kind.startswith("ops."):
            assert row.kind.removeprefix("ops.") in operations, symbol
        assert get_symbol_from_name(symbol) is not None, symbol


def test_function_names_survive():
    model = model_of(lambda x, y: tf.nn.relu(x))
    copy = graphs.replay(graphs.read(model, understood))
    assert [v.name for v in copy.layers] == [v.name for v in model.layers]


class Scaled(layers.Layer):
    """A composite with a variable of its own and a layer."""

    def build(self, shape):
        self.scale = self.add_weight(
            name="scale", shape=(shape[-1],), initializer="random_normal"
        )
        self.inner = layers.Conv2D(shape[-1], 1, name="inner")

    def call(self, x):
        return self.inner(x) * self.scale + x


class Branching(layers.Layer):
    """A composite that does something else while training."""

    def build(self, shape):
        self.inner = layers.Conv2D(shape[-1], 1, name="inner")

    def call(self, x, training=None):
        return self.inner(x) if training else x


class Whole(tf_keras.Model):
    """A subclassed model."""

    def __init__(self):
        super().__init__(name="whole")
        self.conv = layers.Conv2D(8, 3, name="conv")
        self.norm = layers.BatchNormalization(name="norm")
        self.head = layers.Dense(3, name="head")

    def call(self, x, training=None):
        x = self.norm(self.conv(x), training=training)
        return self.head(tf.reduce_mean(x, [1, 2]))


def test_composite_with_a_variable_opens():
    model = model_of(lambda x, y: Scaled(name="scaled")(x))
    sparse = tcp.prune(model, ratio=0.4, divisor=1)
    slim = tcp.transform(sparse)
    assert slim.get_layer("scaled.inner").filters < 8
    assert len(slim.trainable_weights) == len(model.trainable_weights)
    again = tcp.transform(tcp.prune(slim, ratio=0.4, divisor=1))
    assert tcp.cost(again).params < tcp.cost(slim).params


def test_composite_that_branches_stays_whole():
    model = model_of(lambda x, y: Branching(name="branching")(x))
    reasons = [g.reason for g in tcp.channel_groups(model) if g.frozen]
    assert any("another path while training" in r for r in reasons), reasons
    assert len(model.get_layer("branching").inner.inbound_nodes) == 0


def test_subclassed_model(tmp_path):
    model = Whole()
    inputs = np.random.default_rng(0).normal(size=(2, 6, 6, 3))
    model(inputs.astype("float32"))
    slim = tcp.transform(tcp.prune(model, ratio=0.4, divisor=1))
    assert slim.get_layer("conv").filters < 8
    slim.save(tmp_path / "slim.keras")
    loaded = tf_keras.models.load_model(tmp_path / "slim.keras")
    assert compare(slim, loaded, inputs).largest == 0


def test_subclassed_model_that_was_never_called():
    with pytest.raises(tcp.PruningError, match="never been called"):
        tcp.cost(Whole())
