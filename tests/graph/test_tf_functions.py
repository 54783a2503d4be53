"""Functions of TensorFlow in tf_keras models: read, rebuilt, pruned."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from tf_cases import CASES

import tf_channel_prune as tcp
from tf_channel_prune import graph as graphs
from tf_channel_prune.channels import understood
from tf_channel_prune.graph.inputs import random_inputs
from tf_channel_prune.graph.tf_table import TABLE
from tf_channel_prune.transform import compare

layers = tf_keras.layers


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
