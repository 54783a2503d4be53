"""What the user set on layers stays on the sparse and the slim model."""

import keras
import numpy as np
import pytest
from keras import layers
from keras import ops

from tf_channel_prune.api import channels_of
from tf_channel_prune.graph.inputs import random_inputs
from tf_channel_prune.masking import Masks
from tf_channel_prune.masking import make_sparse
from tf_channel_prune.transform import compare
from tf_channel_prune.transform import make_slim


def pruned(model, inputs=None, tolerance=1e-4):
    """`(sparse, slim)` with every second prunable unit gone, and equal."""
    channels = channels_of(model)
    alive = np.ones(channels.unit_count, bool)
    for group in channels.prunable:
        alive[group.units[1::2]] = False
    sparse = make_sparse(channels, alive)
    masks = Masks(sparse)
    slim = make_slim(masks.channels, masks.alive())
    if inputs is None:
        inputs = random_inputs(model)
    assert compare(sparse, slim, inputs).relative <= tolerance
    return sparse, slim


def convolutional(**options):
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(8, 3, name="a", **options)(inputs)
    x = layers.BatchNormalization(name="bn")(x)
    x = layers.Conv2D(8, 3, activation="relu", name="b", **options)(x)
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dense(3, name="z")(x)
    return keras.Model(inputs, x)


def inner(model, name):
    """A layer, without the mask holder around it."""
    layer = model.get_layer(name)
    return layer.layer if getattr(layer, "holds_channel_masks", 0) else layer


# --- what trains


def test_frozen_layers_stay_frozen():
    model = convolutional()
    model.get_layer("a").trainable = False
    model.get_layer("bn").trainable = False
    for copy in pruned(model):
        assert not inner(copy, "a").trainable
        assert not inner(copy, "bn").trainable
        assert inner(copy, "b").trainable
        names = {v.path.split("/")[0] for v in copy.trainable_variables}
        assert names == {"b", "z"}


def test_frozen_variables_stay_frozen():
    model = convolutional()
    model.get_layer("b").kernel.trainable = False
    for copy in pruned(model):
        layer = inner(copy, "b")
        assert not layer.kernel.trainable
        assert layer.bias.trainable


def test_frozen_parts_of_a_layer_stay_frozen():
    inputs = keras.Input((5, 6))
    layer = layers.MultiHeadAttention(2, 4, name="m")
    x = layers.Dense(2, name="z")(layer(inputs, inputs))
    layer.query_dense.trainable = False
    both = layers.Bidirectional(layers.LSTM(4), name="n")
    y = both(inputs)
    both.backward_layer.trainable = False
    model = keras.Model(inputs, [x, layers.Dense(2)(y)])
    for copy in pruned(model):
        assert not inner(copy, "m").query_dense.trainable
        assert inner(copy, "m").key_dense.trainable
        assert not inner(copy, "n").backward_layer.trainable
        assert inner(copy, "n").forward_layer.trainable
        trained = {v.path for v in copy.trainable_variables}
        assert not any(
            "query" in path or "backward" in path for path in trained
        )


def test_a_frozen_model_can_be_thawed():
    model = convolutional()
    model.trainable = False
    for copy in pruned(model):
        assert copy.trainable_variables == []
        copy.trainable = True
        assert len(copy.trainable_variables) == len(
            convolutional().trainable_variables
        )


def test_frozen_nested_model():
    backbone = keras.Sequential(
        [keras.Input((8, 8, 3)), layers.Conv2D(8, 3, name="a")],
        name="backbone",
    )
    backbone.trainable = False
    inputs = keras.Input((8, 8, 3))
    x = layers.GlobalAveragePooling2D()(backbone(inputs))
    model = keras.Model(inputs, layers.Dense(3, name="z")(x))
    for copy in pruned(model):
        assert not copy.get_layer("backbone").trainable
        assert {v.path.split("/")[0] for v in copy.trainable_variables} == {"z"}


# --- dtype policies


@pytest.mark.parametrize(
    "policy", ["mixed_float16", "mixed_bfloat16", "float64", "bfloat16"]
)
def test_dtype_policy(policy):
    keras.config.set_dtype_policy(policy)
    try:
        model = convolutional()
    finally:
        keras.config.set_dtype_policy("float32")
    tolerance = 1e-6 if policy == "float64" else 3e-2
    for copy in pruned(model, tolerance=tolerance):
        for name in ("a", "bn", "b", "z"):
            layer, old = inner(copy, name), model.get_layer(name)
            assert layer.dtype_policy.name == policy
            assert [v.dtype for v in layer.variables] == [
                v.dtype for v in old.variables
            ]
        assert copy.output.dtype == model.output.dtype


def test_one_layer_of_another_policy():
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(8, 3, dtype="mixed_float16", name="a")(inputs)
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dense(3, dtype="float32", name="z")(x)
    for copy in pruned(keras.Model(inputs, x), tolerance=3e-2):
        assert inner(copy, "a").dtype_policy.name == "mixed_float16"
        assert inner(copy, "z").dtype_policy.name == "float32"
        assert copy.output.dtype == "float32"


# --- regularizers and constraints


@keras.saving.register_keras_serializable("test_layer_state")
class Halves(keras.constraints.Constraint):
    """A constraint of the user's own: no weight above a half."""

    def __call__(self, w):
        return keras.ops.minimum(w, 0.5)


def test_regularizers_stay_and_cost_the_same():
    model = convolutional(
        kernel_regularizer=keras.regularizers.L2(0.1),
        bias_regularizer="l1",
        activity_regularizer=keras.regularizers.L1(0.01),
    )
    sparse, slim = pruned(model)
    given = random_inputs(model)
    totals = []
    for copy in (sparse, slim):
        copy(given)
        totals.append(float(sum(copy.losses)))
        assert isinstance(
            inner(copy, "a").kernel_regularizer, keras.regularizers.L2
        )
    # Dead weights are zero, and so are dead activations here.
    np.testing.assert_allclose(*totals, rtol=1e-5)


@pytest.mark.parametrize(
    "constraint", [keras.constraints.MaxNorm(0.3, axis=[0, 1, 2]), Halves()]
)
def test_constraints_of_the_user_hold_beside_the_masks(constraint):
    model = convolutional(kernel_constraint=constraint)
    sparse, slim = pruned(model)
    given = random_inputs(model, batch=8)
    target = np.zeros(8, "int32")
    masks = Masks(sparse).alive()
    for copy in (sparse, slim):
        copy.compile(
            keras.optimizers.SGD(1.0),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        )
        copy.fit(given, target, epochs=2, verbose=0)
        kernel = inner(copy, "b").kernel
        np.testing.assert_allclose(
            constraint(kernel.value), kernel.value, atol=1e-6
        )
        assert type(inner(copy, "b").kernel_constraint) is type(constraint)
    assert (Masks(sparse).alive() == masks).all()
    kernel = inner(sparse, "b").kernel.numpy()
    assert (kernel[..., 1::2] == 0).all()
    assert (kernel[:, :, 1::2] == 0).all()


# --- weights that are shared


def test_a_shared_layer_stays_shared():
    one, two = keras.Input((8,)), keras.Input((8,))
    layer = layers.Dense(6, name="a")
    x = layers.Concatenate()([layer(one), layer(two)])
    model = keras.Model([one, two], layers.Dense(3, name="z")(x))
    for copy in pruned(model):
        assert len(copy.weights) - len(
            [v for v in copy.weights if "mask" in v.path]
        ) == len(model.weights)


def test_tied_embeddings_stay_tied():
    inputs = keras.Input((5,), dtype="int32")
    table = layers.ReversibleEmbedding(7, 8, name="a")
    x = layers.Dense(8, activation="relu", name="b")(table(inputs))
    model = keras.Model(inputs, table(x, reverse=True))
    given = np.array([[1, 2, 3, 4, 5]])
    _, slim = pruned(model, given)
    assert len(slim.weights) == 3
    assert slim.get_layer("a").embeddings.shape == (7, 4)


def test_weights_tied_by_an_operation_are_equal_and_noted():
    inputs = keras.Input((5,), dtype="int32")
    table = layers.Embedding(7, 8, name="a")
    x = layers.Dense(8, activation="relu", name="b")(table(inputs))
    x = keras.ops.einsum("bsd,vd->bsv", x, table.embeddings)
    model = keras.Model(inputs, x)
    (note,) = channels_of(model).graph.notes
    assert "trained apart" in note
    assert "'a'" in note
    pruned(model, np.array([[1, 2, 3, 4, 5]]))


# --- weights that cannot be sliced


def enable_lora(layer):
    layer.enable_lora(2)
    layer.lora_kernel_b.assign(np.ones(layer.lora_kernel_b.shape))


SPECIAL = {
    "lora dense": (lambda: layers.Dense(8, name="m"), enable_lora, "LoRA"),
    "lora einsum": (
        lambda: layers.EinsumDense("ab,bc->ac", 8, name="m"),
        enable_lora,
        "LoRA",
    ),
    "int8 dense": (
        lambda: layers.Dense(8, name="m"),
        lambda layer: layer.quantize("int8"),
        "quantized",
    ),
    "int4 dense": (
        lambda: layers.Dense(8, name="m"),
        lambda layer: layer.quantize("int4"),
        "quantized",
    ),
    "float8 dense": (
        lambda: layers.Dense(8, name="m"),
        lambda layer: layer.quantize("float8"),
        "quantized",
    ),
}


@pytest.mark.parametrize("row", SPECIAL)
def test_left_whole_with_the_reason(row):
    make, change, why = SPECIAL[row]
    inputs = keras.Input((8,))
    x = layers.Dense(8, name="a")(inputs)
    x = layers.Dense(8, name="b")(x)
    layer = make()
    x = layer(x)
    x = layers.Dense(3, name="z")(layers.Dense(8, name="c")(x))
    model = keras.Model(inputs, x)
    change(layer)
    channels = channels_of(model)
    assert sorted(g.name for g in channels.prunable) == ["a", "c"]
    ((name, reason),) = channels.left_whole
    assert name == "m"
    assert why in reason
    _, slim = pruned(model)
    assert slim.get_layer("a").units == 4
    given = random_inputs(model)
    assert sorted(str(v.dtype) for v in slim.get_layer("m").weights) == sorted(
        str(v.dtype) for v in layer.weights
    )
    assert compare(model, make_sparse(channels), given).relative < 1e-5


# --- compilation


def test_compilation_stays():
    model = convolutional()
    model.compile(
        keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True),
        "mse",
        metrics=["mae", keras.metrics.RootMeanSquaredError(name="rms")],
        jit_compile=False,
        run_eagerly=False,
    )
    for copy in pruned(model):
        assert copy.compiled
        assert isinstance(copy.optimizer, keras.optimizers.SGD)
        assert copy.optimizer is not model.optimizer
        assert copy.optimizer.momentum == 0.9
        assert copy.loss == "mse"
        copy.fit(random_inputs(model), np.zeros((2, 3)), epochs=1, verbose=0)
        names = [metric.name for metric in copy.metrics]
        assert names == ["loss", "compile_metrics"]
        assert set(copy.get_metrics_result()) == {"loss", "mae", "rms"}


def test_loss_scaling_stays():
    model = convolutional()
    model.compile(
        keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(0.01)), "mse"
    )
    for copy in pruned(model):
        copy.fit(random_inputs(model), np.zeros((2, 3)), verbose=0)
        assert type(copy.optimizer) is type(model.optimizer)


# --- what Keras does not see


class OnlyWidth(layers.Layer):
    """A constructor that takes nothing of what Keras adds to a config."""

    def __init__(self, width):
        super().__init__()
        self.width = width

    def build(self, shape):
        self.kernel = self.add_weight((shape[-1], self.width), name="kernel")

    def call(self, x, training=False):
        # What does something else in training stays whole.
        return ops.matmul(-x if training else x, self.kernel)


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_a_constructor_without_the_arguments_of_keras(policy):
    inputs = keras.Input((5,))
    x = layers.Dense(8, activation="relu", name="a")(inputs)
    x = layers.Dense(4, name="b")(x)
    own = OnlyWidth(3)
    own.dtype_policy, own.trainable = policy, False
    model = keras.Model(inputs, layers.Dense(2, name="z")(own(x)))
    assert own.name in [name for name, _ in channels_of(model).left_whole]
    for copy in pruned(model, tolerance=3e-2):
        layer = inner(copy, own.name)
        assert layer.dtype_policy.name == policy
        assert not layer.trainable


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="a tf.Variable"
)
def test_variables_of_tensorflow_keep_their_values():
    import tensorflow as tf

    class Codes(layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.codes = tf.Variable(tf.random.normal((4, 6)))

        def call(self, x):
            return tf.matmul(x, self.codes)

    inputs = keras.Input((5,))
    x = layers.Dense(8, activation="relu", name="a")(inputs)
    x = Codes(name="codes")(layers.Dense(4, name="b")(x))
    model = keras.Model(inputs, layers.Dense(2, name="z")(x))
    copies = pruned(model)
    given = np.ones((2, 5), "float32")
    assert compare(model, make_sparse(channels_of(model), None), given).equal
    for copy in copies:
        codes = inner(copy, "codes").codes
        np.testing.assert_array_equal(codes, model.get_layer("codes").codes)
        assert codes is not model.get_layer("codes").codes
