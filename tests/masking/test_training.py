"""Masks hold in every way of training."""

import keras
import numpy as np
import pytest

from tf_channel_prune.api import channels_of
from tf_channel_prune.masking import Masks
from tf_channel_prune.masking import make_sparse
from tf_channel_prune.transform import compare
from tf_channel_prune.transform import make_slim


def small_model(activation="relu"):
    """Conv, BatchNormalization, a branch and a head; channels that revive.

    With sigmoid a dead channel carries 0.5, so that its consumers get
    gradients: only masks on both sides keep it dead.
    """
    keras.utils.set_random_seed(1)
    image = keras.Input((6, 6, 2), name="image")
    x = keras.layers.Conv2D(8, 3, padding="same", name="one")(image)
    x = keras.layers.BatchNormalization(name="norm")(x)
    x = keras.layers.Activation(activation)(x)
    y = keras.layers.DepthwiseConv2D(3, padding="same", name="depth")(x)
    y = keras.layers.Conv2D(8, 1, name="two")(y)
    x = keras.layers.Add()([x, y])
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, keras.layers.Dense(3, name="head")(x))


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
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def assert_masks_hold(sparse, alive):
    """Every masked trainable entry is exactly zero; the slim model agrees."""
    masks = Masks(sparse)
    np.testing.assert_array_equal(masks.alive(), alive)
    for node in masks.channels.graph.nodes:
        for weight in node.weights:
            if not weight.trainable:
                continue
            array = weight.array
            for axis in range(array.ndim):
                units = masks.channels.weight_units.get((weight.key, axis))
                if units is None:
                    continue
                dead = ~np.append(alive, True)[units]
                gone = np.compress(dead, array, axis=axis)
                assert not gone.any(), f"{node.name}/{weight.name} revived"
    slim = make_slim(masks.channels, alive)
    difference = compare(sparse, slim, data(4)[0])
    assert difference.relative < 1e-4, difference


OPTIMIZERS = {
    "sgd": lambda: keras.optimizers.SGD(0.1),
    "momentum": lambda: keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True),
    "adam": lambda: keras.optimizers.Adam(0.01),
    "adamw": lambda: keras.optimizers.AdamW(0.01, weight_decay=0.1),
    "decay": lambda: keras.optimizers.SGD(0.1, weight_decay=0.01),
    "clipped": lambda: keras.optimizers.Adam(0.01, global_clipnorm=0.1),
    "accumulating": lambda: keras.optimizers.Adam(
        0.01, gradient_accumulation_steps=2
    ),
    "average": lambda: keras.optimizers.Adam(
        0.01, use_ema=True, ema_overwrite_frequency=3
    ),
    "loss_scale": lambda: keras.optimizers.LossScaleOptimizer(
        keras.optimizers.Adam(0.01)
    ),
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("activation", ["relu", "sigmoid"])
def test_fit(optimizer, activation):
    sparse, alive = half_sparse(small_model(activation))
    before = [np.asarray(w) for w in sparse.trainable_weights]
    sparse.compile(OPTIMIZERS[optimizer](), loss())
    sparse.fit(*data(), batch_size=8, epochs=2, verbose=0)
    assert_masks_hold(sparse, alive)
    moved = [
        np.abs(np.asarray(w) - b).max()
        for w, b in zip(sparse.trainable_weights, before)
    ]
    assert min(moved) > 0  # every weight trained


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision(policy):
    keras.config.set_dtype_policy(policy)
    try:
        model = small_model()
    finally:
        keras.config.set_dtype_policy("float32")
    sparse, alive = half_sparse(model)
    assert sparse.get_layer("one").layer.compute_dtype == policy[6:]
    sparse.compile("adam", loss())
    sparse.fit(*data(), batch_size=8, epochs=1, verbose=0)
    masks = Masks(sparse)
    np.testing.assert_array_equal(masks.alive(), alive)
    kernel = np.asarray(sparse.get_layer("one").layer.kernel)
    np.testing.assert_array_equal(kernel[..., ::2], 0)
    assert kernel[..., 1::2].all()


def test_jit_compile():
    if keras.backend.backend() == "torch":
        pytest.skip("PyTorch compiles C++ for minutes")
    sparse, alive = half_sparse(small_model())
    sparse.compile("adam", loss(), jit_compile=True)
    sparse.fit(*data(), batch_size=8, epochs=1, verbose=0)
    assert_masks_hold(sparse, alive)


def test_custom_loop():
    tf = pytest.importorskip("tensorflow")
    if keras.backend.backend() != "tensorflow":
        pytest.skip("a loop of TensorFlow's")
    sparse, alive = half_sparse(small_model("sigmoid"))
    optimizer = keras.optimizers.Adam(0.01)
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


@pytest.mark.parametrize("on_epoch", [False, True])
def test_swapped_averages(on_epoch, tmp_path):
    """Averaged weights, swapped in to evaluate and to save, are sparse."""
    sparse, alive = half_sparse(small_model("sigmoid"))
    sparse.compile(keras.optimizers.Adam(0.01, use_ema=True), loss())
    swap = keras.callbacks.SwapEMAWeights(swap_on_epoch=on_epoch)

    class Check(keras.callbacks.Callback):
        checked = 0

        def on_test_batch_end(self, batch, logs=None):
            assert_masks_hold(self.model, alive)
            Check.checked += 1

    save = keras.callbacks.ModelCheckpoint(tmp_path / "{epoch}.keras")
    sparse.fit(
        *data(),
        validation_data=data(8),
        epochs=2,
        verbose=0,
        callbacks=[swap, Check(), save],
    )
    assert Check.checked == 2
    assert_masks_hold(sparse, alive)
    for epoch in (1, 2):
        saved = keras.models.load_model(tmp_path / f"{epoch}.keras")
        assert_masks_hold(saved, alive)


def shared_model():
    """One convolution called twice, and a model called on two inputs."""
    keras.utils.set_random_seed(1)
    inner_input = keras.Input((6, 6, 2))
    x = keras.layers.Conv2D(8, 3, padding="same", name="first")(inner_input)
    twice = keras.layers.Conv2D(8, 3, padding="same", name="twice")
    x = twice(keras.layers.Activation("sigmoid")(twice(x)))
    inner = keras.Model(inner_input, x, name="inner")
    image = keras.Input((6, 6, 2), name="image")
    x = keras.layers.Add()([inner(image), inner(-image)])
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, keras.layers.Dense(3, name="head")(x))


@pytest.mark.parametrize("optimizer", ["momentum", "average"])
def test_shared_weights(optimizer):
    sparse, alive = half_sparse(shared_model())
    assert not alive.all()
    sparse.compile(OPTIMIZERS[optimizer](), loss())
    sparse.fit(*data(), batch_size=8, epochs=2, verbose=0)
    assert_masks_hold(sparse, alive)


def test_checkpoints_are_sparse(tmp_path):
    """Whatever the order of callbacks, what is on disk is sparse."""
    sparse, alive = half_sparse(small_model("sigmoid"))
    sparse.compile("adam", loss())
    path = tmp_path / "epoch{epoch}.keras"
    sparse.fit(
        *data(),
        epochs=2,
        verbose=0,
        callbacks=[keras.callbacks.ModelCheckpoint(path)],
    )
    for epoch in (1, 2):
        saved = keras.models.load_model(tmp_path / f"epoch{epoch}.keras")
        assert_masks_hold(saved, alive)


def test_reload_and_train(tmp_path):
    sparse, alive = half_sparse(small_model())
    sparse.compile("adam", loss())
    sparse.save(tmp_path / "sparse.keras")
    loaded = keras.models.load_model(tmp_path / "sparse.keras")
    x, y = data()
    np.testing.assert_array_equal(
        sparse.predict(x, verbose=0), loaded.predict(x, verbose=0)
    )
    loaded.fit(x, y, epochs=1, verbose=0)
    assert_masks_hold(loaded, alive)


def test_users_constraint_still_works():
    image = keras.Input((4, 4, 2))
    x = keras.layers.Conv2D(
        8, 3, kernel_constraint=keras.constraints.MaxNorm(0.5), name="one"
    )(image)
    x = keras.layers.Flatten()(x)
    model = keras.Model(image, keras.layers.Dense(3)(x))
    sparse, _ = half_sparse(model)
    sparse.compile(keras.optimizers.SGD(10.0), loss())
    rng = np.random.default_rng(0)
    x = rng.normal(size=(16, 4, 4, 2)).astype("float32")
    sparse.fit(x, rng.integers(0, 3, 16), epochs=1, verbose=0)
    kernel = np.asarray(sparse.get_layer("one").layer.kernel)
    norms = np.sqrt((kernel**2).sum(axis=0))
    assert norms.max() <= 0.5 + 1e-5
    assert not kernel[..., ::2].any()
    slim = make_slim(Masks(sparse).channels, Masks(sparse).alive())
    assert slim.get_layer("one").kernel_constraint is not None


def test_weight_layout_is_the_layers_own():
    """Masks never stand between a layer's weights."""
    model = small_model()
    sparse, _ = half_sparse(model)
    for layer in model.layers:
        inner = getattr(sparse.get_layer(layer.name), "layer", None)
        if inner is not None:
            assert [w.shape for w in inner.get_weights()] == [
                w.shape for w in layer.get_weights()
            ]
