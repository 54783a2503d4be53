"""Masks hold in every way of training a tf_keras model."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import tf_channel_prune as tcp
from tf_channel_prune.api import channels_of
from tf_channel_prune.masking import Masks
from tf_channel_prune.masking import make_sparse
from tf_channel_prune.transform import compare
from tf_channel_prune.transform import make_slim

layers = tf_keras.layers
optimizers = tf_keras.optimizers


def small_model(activation="relu", dtype=None):
    """Conv, BatchNormalization, a branch and a head; channels that revive.

    With sigmoid a dead channel carries 0.5, so that its consumers get
    gradients: only masks on both sides keep it dead.
    """
    tf_keras.utils.set_random_seed(1)
    image = layers.Input((6, 6, 2), name="image")
    x = layers.Conv2D(8, 3, padding="same", name="one", dtype=dtype)(image)
    x = layers.BatchNormalization(name="norm", dtype=dtype)(x)
    x = layers.Activation(activation, dtype=dtype)(x)
    y = layers.DepthwiseConv2D(3, padding="same", name="depth", dtype=dtype)(x)
    y = layers.Conv2D(8, 1, name="two", dtype=dtype)(y)
    x = layers.Add(dtype=dtype)([x, y])
    x = layers.GlobalAveragePooling2D(dtype=dtype)(x)
    return tf_keras.Model(image, layers.Dense(3, name="head", dtype=dtype)(x))


def data(count=32):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(count, 6, 6, 2)).astype("float32")
    return x, rng.integers(0, 3, count)


def half_sparse(model):
    """A sparse copy without the even channels, and which units live."""
    channels = channels_of(model)
    alive = np.ones(channels.unit_count, bool)
    for group in channels.prunable:
        alive[group.units[::2]] = False
    return make_sparse(channels, alive), alive


def loss():
    return tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def assert_masks_hold(sparse, alive):
    """Every masked trainable entry is exactly zero; the slim model agrees."""
    masks = Masks(sparse)
    np.testing.assert_array_equal(masks.alive(), alive)
    for node in masks.channels.graph.nodes:
        for weight in node.weights:
            for axis in range(len(weight.shape)):
                units = masks.channels.weight_units.get((weight.key, axis))
                if units is None or not weight.trainable:
                    continue
                dead = ~np.append(alive, True)[units]
                gone = np.compress(dead, weight.array, axis=axis)
                assert not gone.any(), f"{node.name}/{weight.name} revived"
    slim = make_slim(masks.channels, alive)
    difference = compare(sparse, slim, data(4)[0])
    assert difference.relative < 1e-4, difference


OPTIMIZERS = {
    "sgd": lambda: optimizers.SGD(0.1),
    "momentum": lambda: optimizers.SGD(0.1, momentum=0.9, nesterov=True),
    "adam": lambda: optimizers.Adam(0.01),
    "adamw": lambda: optimizers.AdamW(0.01, weight_decay=0.1),
    "decay": lambda: optimizers.SGD(0.1, weight_decay=0.01),
    "clipped": lambda: optimizers.Adam(0.01, global_clipnorm=0.1),
    "average": lambda: optimizers.Adam(
        0.01, use_ema=True, ema_overwrite_frequency=3
    ),
    "legacy": lambda: optimizers.legacy.Adam(0.01),
    "loss_scale": lambda: tf_keras.mixed_precision.LossScaleOptimizer(
        optimizers.Adam(0.01)
    ),
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("activation", ["relu", "sigmoid"])
def test_fit(optimizer, activation):
    sparse, alive = half_sparse(small_model(activation))
    assert len(sparse.trainable_weights) == 10
    before = [w.numpy() for w in sparse.trainable_weights]
    sparse.compile(OPTIMIZERS[optimizer](), loss())
    sparse.fit(*data(), batch_size=8, epochs=2, verbose=0)
    assert_masks_hold(sparse, alive)
    moved = [
        np.abs(w.numpy() - b).max()
        for w, b in zip(sparse.trainable_weights, before)
    ]
    assert min(moved) > 0  # every weight trained


def test_mixed_precision():
    policy = tf_keras.mixed_precision.Policy("mixed_bfloat16")
    sparse, alive = half_sparse(small_model("sigmoid", policy))
    assert sparse.get_layer("one").layer.compute_dtype == "bfloat16"
    sparse.compile("adam", loss())
    sparse.fit(*data(), batch_size=8, epochs=1, verbose=0)
    np.testing.assert_array_equal(Masks(sparse).alive(), alive)
    kernel = sparse.get_layer("one").layer.kernel.numpy()
    np.testing.assert_array_equal(kernel[..., ::2], 0)
    assert kernel[..., 1::2].all()


def test_jit_compile():
    sparse, alive = half_sparse(small_model())
    sparse.compile("adam", loss(), jit_compile=True)
    sparse.fit(*data(), batch_size=8, epochs=1, verbose=0)
    assert_masks_hold(sparse, alive)


def test_custom_loop():
    sparse, alive = half_sparse(small_model("sigmoid"))
    optimizer = optimizers.Adam(0.01)
    objective = loss()
    x, y = data(8)

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            value = objective(y, sparse(x, training=True))
        weights = sparse.trainable_weights
        optimizer.apply_gradients(zip(tape.gradient(value, weights), weights))

    for _ in range(5):
        step()
    assert_masks_hold(sparse, alive)


@pytest.mark.parametrize("name", ["epoch{epoch}.keras", "epoch{epoch}.h5"])
def test_checkpoints_are_sparse(tmp_path, name):
    """Whatever the order of callbacks, what is on disk is sparse."""
    sparse, alive = half_sparse(small_model("sigmoid"))
    sparse.compile("adam", loss())
    keep = tf_keras.callbacks.ModelCheckpoint(str(tmp_path / name))
    sparse.fit(*data(), epochs=2, verbose=0, callbacks=[keep])
    for epoch in (1, 2):
        path = tmp_path / name.format(epoch=epoch)
        assert_masks_hold(tf_keras.models.load_model(path), alive)


@pytest.mark.parametrize("name", ["sparse.keras", "sparse.h5", "sparse"])
@pytest.mark.parametrize("activation", ["relu", "sigmoid"])
def test_reload_and_train(tmp_path, name, activation):
    sparse, alive = half_sparse(small_model(activation))
    sparse.compile("adam", loss())
    sparse.save(tmp_path / name)
    loaded = tf_keras.models.load_model(tmp_path / name)
    x, y = data()
    np.testing.assert_array_equal(
        sparse.predict(x, verbose=0), loaded.predict(x, verbose=0)
    )
    loaded.fit(x, y, epochs=1, verbose=0)
    assert_masks_hold(loaded, alive)


def test_users_constraint_still_works():
    image = layers.Input((4, 4, 2))
    limit = tf_keras.constraints.MaxNorm(0.5)
    x = layers.Conv2D(8, 3, kernel_constraint=limit, name="one")(image)
    x = layers.Dense(3)(layers.Flatten()(x))
    sparse, _ = half_sparse(tf_keras.Model(image, x))
    sparse.compile(optimizers.SGD(10.0), loss())
    rng = np.random.default_rng(0)
    x = rng.normal(size=(16, 4, 4, 2)).astype("float32")
    sparse.fit(x, rng.integers(0, 3, 16), epochs=1, verbose=0)
    kernel = sparse.get_layer("one").layer.kernel.numpy()
    assert np.sqrt((kernel**2).sum(axis=0)).max() <= 0.5 + 1e-5
    assert not kernel[..., ::2].any()
    slim = tcp.transform(sparse)
    assert slim.get_layer("one").kernel_constraint is not None


def test_whole_model_trains_like_before():
    """Layers keep their losses, their trainable flags and their calls."""
    image = layers.Input((4, 4, 2))
    x = layers.Conv2D(8, 3, kernel_regularizer="l2", name="one")(image)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.Dense(3)(layers.Flatten()(x))
    model = tf_keras.Model(image, x)
    model.get_layer("norm").trainable = False
    sparse, _ = half_sparse(model)
    assert len(sparse.losses) == 1
    shapes = [w.shape for w in model.trainable_weights]
    assert [w.shape for w in sparse.trainable_weights] == shapes
    before = sparse.get_layer("norm").layer.moving_mean.numpy()
    sparse(np.ones((4, 4, 4, 2), "float32"), training=True)
    after = sparse.get_layer("norm").layer.moving_mean.numpy()
    np.testing.assert_array_equal(after, before)


def norm_model():
    """Statistics over prunable channels, which need a masked form."""
    image = layers.Input((6, 6, 2))
    x = layers.Conv2D(16, 3, name="one")(image)
    x = layers.LayerNormalization(name="layer_norm")(x)
    x = layers.Conv2D(16, 1, name="two")(x)
    x = layers.GroupNormalization(4, name="group_norm")(x)
    x = layers.Conv2D(16, 1, name="three")(x)
    x = layers.LayerNormalization(center=False, scale=False)(x)
    x = layers.GlobalAveragePooling2D()(x)
    return tf_keras.Model(image, layers.Dense(3, name="head")(x))


@pytest.mark.parametrize("name", ["sparse.keras", "sparse.h5"])
def test_norms_over_masked_channels(tmp_path, name):
    tf_keras.utils.set_random_seed(0)
    sparse = tcp.prune(norm_model(), 0.5)
    sparse.compile("adam", loss())
    sparse.fit(*data(), epochs=1, verbose=0)
    slim = tcp.transform(sparse)
    assert slim.get_layer("one").filters < 16
    assert slim.get_layer("two").filters < 16
    sparse.save(tmp_path / name)
    loaded = tf_keras.models.load_model(tmp_path / name)
    x = data(4)[0]
    assert compare(sparse, loaded, x).largest == 0
    assert compare(loaded, tcp.transform(loaded), x).relative < 1e-5
