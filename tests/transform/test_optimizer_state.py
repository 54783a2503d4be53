"""Training goes on in the slim model as if it had never stopped."""

import keras
import numpy as np
import pytest

import tf_channel_prune as tcp
from tf_channel_prune.api import channels_of
from tf_channel_prune.graph import optimizers
from tf_channel_prune.graph.arrays import to_numpy
from tf_channel_prune.masking import Masks
from tf_channel_prune.masking import make_sparse
from tf_channel_prune.transform import compare


def small_model():
    keras.utils.set_random_seed(1)
    image = keras.Input((6, 6, 2), name="image")
    # No bias in front of the normalisation: its gradient is rounding error,
    # which Adam blows up to full steps.
    x = keras.layers.Conv2D(8, 3, padding="same", use_bias=False, name="one")(
        image
    )
    x = keras.layers.BatchNormalization(name="norm")(x)
    x = keras.layers.Activation("relu")(x)
    y = keras.layers.DepthwiseConv2D(3, padding="same", name="depth")(x)
    y = keras.layers.Conv2D(8, 1, name="two")(y)
    x = keras.layers.Add()([x, y])
    x = keras.layers.Flatten()(x)
    return keras.Model(image, keras.layers.Dense(3, name="head")(x))


def data(count=32):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(count, 6, 6, 2)).astype("float32")
    return x, rng.integers(0, 3, count)


def loss():
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def fit(model, seed):
    order = np.random.default_rng(seed).permutation(32)
    x, y = data()
    model.fit(
        x[order], y[order], batch_size=8, epochs=1, shuffle=False, verbose=0
    )


def trained_sparse(optimizer):
    """A sparse model after an epoch, its optimizer warm."""
    channels = channels_of(small_model())
    alive = np.ones(channels.unit_count, bool)
    for group in channels.prunable:
        alive[group.units[::2]] = False
    sparse = make_sparse(channels, alive)
    sparse.compile(optimizer, loss())
    fit(sparse, 1)
    return sparse


def slots_of(model):
    return optimizers.slots(model.optimizer, model.trainable_variables)


def decaying():
    schedule = keras.optimizers.schedules.ExponentialDecay(0.05, 2, 0.7)
    return keras.optimizers.SGD(schedule, momentum=0.9)


OPTIMIZERS = {
    "momentum": lambda: keras.optimizers.SGD(0.05, 0.9, nesterov=True),
    "decaying": decaying,
    "adam": lambda: keras.optimizers.Adam(0.02, amsgrad=True),
    "nadam": lambda: keras.optimizers.Nadam(0.02),
    "average": lambda: keras.optimizers.Adam(0.02, use_ema=True),
    "accumulating": lambda: keras.optimizers.Adam(
        0.02, gradient_accumulation_steps=3
    ),
    "loss_scale": lambda: keras.optimizers.LossScaleOptimizer(
        keras.optimizers.Adam(0.02)
    ),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_slim_training_equals_sparse_training(name):
    """Same batches: one optimizer stops at the transform, one never does."""
    sparse = trained_sparse(OPTIMIZERS[name]())
    slim = tcp.transform(sparse, keep_optimizer=True)
    assert type(slim.optimizer) is type(sparse.optimizer)
    fit(sparse, 2)
    fit(slim, 2)
    difference = compare(sparse, slim, data(8)[0])
    assert difference.relative < 1e-4, difference
    again = tcp.transform(sparse)
    for one, other in zip(slim.weights, again.weights):
        np.testing.assert_allclose(
            to_numpy(one), to_numpy(other), rtol=2e-3, atol=2e-5
        )


@pytest.mark.parametrize("name", ["momentum", "adam"])
def test_an_optimizer_started_anew_differs(name):
    """The test above can fail: without the state it does."""
    sparse = trained_sparse(OPTIMIZERS[name]())
    slim = tcp.transform(sparse)
    fit(sparse, 2)
    fit(slim, 2)
    assert compare(sparse, slim, data(8)[0]).relative > 1e-3


def test_a_sparse_copy_goes_on_too():
    """From a dense model: the same slots, none where weights are masked."""
    model = small_model()
    model.compile(OPTIMIZERS["adam"](), loss())
    fit(model, 1)
    sparse = tcp.make_sparse(model, keep_optimizer=True)
    fit(model, 2)
    fit(sparse, 2)
    assert compare(model, sparse, data(8)[0]).relative < 1e-5

    channels = channels_of(model)
    alive = np.ones(channels.unit_count, bool)
    alive[:4] = False
    masked = make_sparse(channels, alive, keep_optimizer=True)
    kernel = masked.get_layer("one").layer.kernel
    found = [
        to_numpy(slot.variable)
        for slot in slots_of(masked)
        if slot.trained is kernel
    ]
    assert len(found) == 3
    for value in found:
        assert not value[..., :4].any() and value[..., 4:].any()
    assert int(masked.optimizer.iterations) == 8
    fit(masked, 3)
    Masks(masked).check()


@pytest.mark.parametrize("by", ["function", "pruner"])
def test_pruning_further_keeps_the_averages_of_what_stays(by, tmp_path):
    sparse = trained_sparse(OPTIMIZERS["adam"]())
    before = slots_of(sparse)
    if by == "function":
        further = tcp.prune(
            sparse, 0.8, divisor=1, keep_optimizer=True, progress=False
        )
    else:
        pruner = tcp.Pruner(small_model(), workspace=tmp_path)
        further = pruner.prune(
            0.8, divisor=1, model=sparse, keep_optimizer=True
        )
    assert tcp.sparsity(further) > tcp.sparsity(sparse)
    assert int(further.optimizer.iterations) == 4
    for old, new in zip(before, slots_of(further), strict=True):
        stays = to_numpy(new.trained) != 0
        np.testing.assert_array_equal(
            to_numpy(new.variable), np.where(stays, to_numpy(old.variable), 0)
        )


def test_factored_slots_start_anew_with_a_warning():
    sparse = trained_sparse(keras.optimizers.Adafactor(0.01))
    with pytest.warns(UserWarning, match="_c, _r have not one entry"):
        slim = tcp.transform(sparse, keep_optimizer=True)
    fit(slim, 2)


@pytest.mark.parametrize("compiled", [False, True])
def test_nothing_to_carry(compiled):
    """Not compiled, or compiled and never trained."""
    model = small_model()
    if compiled:
        model.compile("adam", loss())
    sparse = tcp.prune(model, 0.4)
    slim = tcp.transform(sparse, keep_optimizer=True)
    assert bool(getattr(slim, "optimizer", None)) == compiled
