"""The verbs, the callbacks and the tables serve tf_keras models alike."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_model_optimization as tfmot
import tf_keras

import tf_channel_prune as tcp
from tf_channel_prune import criteria
from tf_channel_prune.api import channels_of
from tf_channel_prune.masking import Masks
from tf_channel_prune.transform import compare

layers = tf_keras.layers


def small_model(name="small"):
    tf_keras.utils.set_random_seed(1)
    image = layers.Input((6, 6, 2), name="image")
    x = layers.Conv2D(8, 3, padding="same", name="one")(image)
    x = layers.BatchNormalization(name="norm")(x)
    x = tf.nn.relu(x)
    y = layers.Conv2D(8, 1, name="two")(x)
    x = layers.Add()([x, y])
    x = layers.GlobalAveragePooling2D()(x)
    return tf_keras.Model(image, layers.Dense(3, name="head")(x), name=name)


def data(count=64):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(count, 6, 6, 2)).astype("float32")
    return x, rng.integers(0, 3, count)


def compiled(model):
    loss = tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(tf_keras.optimizers.Adam(0.01), loss, metrics=["accuracy"])
    return model


def accuracy(model):
    x, y = data()
    return float(np.mean(np.argmax(model.predict(x, verbose=0), -1) == y))


def test_four_verbs(tmp_path):
    model = compiled(small_model())
    before = model.get_weights()
    pruner = tcp.Pruner(model, tmp_path)
    sensitivity = pruner.ana(accuracy, ratios=(0.5,), progress=False)
    assert sensitivity.baseline == pytest.approx(accuracy(model))
    sparse = pruner.prune(ratio=0.4)
    sparse.fit(*data(), epochs=1, verbose=0)
    slim = pruner.transform(sparse)
    assert isinstance(slim, tf_keras.Model)
    assert tcp.cost(slim).flops <= 0.6 * tcp.cost(model).flops
    for old, new in zip(before, model.get_weights()):
        np.testing.assert_array_equal(old, new)
    replayed = pruner.prune(plan=pruner.plan_path)
    assert (Masks(replayed).alive() == Masks(sparse).alive()).all()


@pytest.mark.parametrize("criterion", criteria.names())
def test_criteria(criterion):
    channels = channels_of(compiled(small_model()))
    scores = criteria.scores(channels, criterion, data=data())
    assert np.isfinite(scores).all() and scores.std() > 0


def polynomial():
    return tfmot.sparsity.keras.PolynomialDecay(0.1, 0.5, 0, 8, frequency=2)


def constant():
    return tfmot.sparsity.keras.ConstantSparsity(0.5, 2, frequency=2)


@pytest.mark.parametrize("schedule", [polynomial, constant])
@pytest.mark.parametrize("flavour", ["keras", "tf_keras"])
def test_schedules_of_tfmot(schedule, flavour):
    """Objects of tensorflow-model-optimization are schedules as they are."""
    if flavour == "keras":
        import keras

        model = keras.Sequential(
            [
                keras.layers.Input((6, 6, 2)),
                keras.layers.Conv2D(8, 3),
                keras.layers.Flatten(),
                keras.layers.Dense(3),
            ]
        )
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile("adam", loss)
    else:
        model = compiled(small_model())
    sparse = tcp.make_sparse(model)
    gradual = tcp.callbacks.GradualPruning(schedule(), divisor=1)
    sparse.fit(*data(), batch_size=8, epochs=2, verbose=0, callbacks=[gradual])
    assert tcp.sparsity(sparse, "flops") >= 0.5
    slim = tcp.transform(sparse)
    assert tcp.cost(slim).flops <= 0.5 * tcp.cost(model).flops


def test_callbacks(tmp_path):
    sparse = tcp.prune(compiled(small_model()), 0.4)
    callbacks = [tcp.callbacks.MaskCheck(), tcp.callbacks.StopWhenStable()]
    pytest.importorskip("tensorboard")
    callbacks.append(tcp.callbacks.PruningSummaries(tmp_path))
    history = sparse.fit(*data(), epochs=2, verbose=0, callbacks=callbacks)
    assert history.history["sparsity"][-1] == pytest.approx(
        tcp.sparsity(sparse)
    )
    assert list(tmp_path.iterdir())


def test_momentum_of_masked_weights_is_cleared():
    sparse = tcp.make_sparse(compiled(small_model()))
    sparse.fit(*data(), epochs=1, verbose=0)
    masks = Masks(sparse)
    alive = masks.alive()
    group = masks.channels.prunable[0]
    alive[group.units[::2]] = False
    masks.set(alive, sparse.optimizer)
    kernel = sparse.get_layer("one").layer.kernel
    for slot in sparse.optimizer.variables:
        if tuple(slot.shape) == tuple(kernel.shape):
            assert not slot.numpy()[..., ::2].any()
            assert slot.numpy()[..., 1::2].any()


def test_open_sizes():
    """A fully convolutional model of any image size has a cost."""
    image = layers.Input((None, None, 3))
    x = layers.Conv2D(8, 3, padding="same", name="one")(image)
    x = tf.nn.relu(x)
    x = layers.MaxPooling2D(name="pool")(x)
    model = tf_keras.Model(image, layers.Conv2D(2, 1, name="head")(x))
    small = tcp.cost(model, input_shape=(8, 8, 3))
    assert small.flops == 2 * (8 * 8 * 27 * 8 + 4 * 4 * 8 * 2)
    slim = tcp.transform(tcp.prune(model, 0.4))
    inputs = np.ones((2, 10, 14, 3), "float32")
    assert compare(model, slim, inputs).relative > 0


def test_sparse_model_loads_from_a_file(tmp_path):
    from tf_channel_prune.graph.loading import load_model

    sparse = tcp.prune(compiled(small_model()), 0.4)
    for name in ("sparse.keras", "sparse.h5", "sparse"):
        sparse.save(tmp_path / name)
        loaded = load_model(tmp_path / name)
        assert (Masks(loaded).alive() == Masks(sparse).alive()).all()


def test_digest_is_the_same_in_every_reading():
    from tf_channel_prune.graph.digests import graph_digest

    model = small_model()
    one = graph_digest(channels_of(model).graph)
    assert one == graph_digest(channels_of(model).graph)
    sparse = tcp.prune(model, 0.4)
    assert one == graph_digest(channels_of(sparse).graph)
