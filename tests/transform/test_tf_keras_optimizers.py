"""Optimizers of `tf_keras` go along, those of its `legacy` included."""

import numpy as np
import pytest

import tf_channel_prune as tcp
from tf_channel_prune.errors import PruningError
from tf_channel_prune.finetune import finetune
from tf_channel_prune.graph import optimizers
from tf_channel_prune.graph.arrays import to_numpy
from tf_channel_prune.masking import Masks
from tf_channel_prune.transform import compare

tf_keras = pytest.importorskip("tf_keras")
layers = tf_keras.layers
legacy = tf_keras.optimizers.legacy


def small_model(dtype=None):
    tf_keras.utils.set_random_seed(1)
    return tf_keras.Sequential(
        [
            layers.Input((6,)),
            layers.Dense(8, use_bias=False, dtype=dtype, name="one"),
            layers.BatchNormalization(dtype=dtype, name="norm"),
            layers.ReLU(),
            layers.Dense(8, dtype=dtype, activation="relu", name="two"),
            layers.Dense(3, name="head"),
        ]
    )


def data():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(32, 6)).astype("float32")
    return x, (x[:, 0] > 0) * 1


def loss():
    return tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def fit(model, seed=1):
    order = np.random.default_rng(seed).permutation(32)
    x, y = data()
    model.fit(x[order], y[order], batch_size=8, shuffle=False, verbose=0)


class Halving(tf_keras.optimizers.schedules.LearningRateSchedule):
    """A schedule without a config."""

    def __call__(self, step):
        return 0.02 * 0.5 ** (tf_keras.backend.cast(step, "float32") / 4)


OPTIMIZERS = {
    "momentum": lambda: legacy.SGD(0.05, 0.9, nesterov=True),
    "plain": lambda: legacy.SGD(0.05),
    "adam": lambda: legacy.Adam(0.02, amsgrad=True),
    "schedule": lambda: legacy.Adam(Halving()),
    "nadam": lambda: legacy.Nadam(0.02),
    "present_nadam": lambda: tf_keras.optimizers.Nadam(0.02),
    "rmsprop": lambda: legacy.RMSprop(0.01, momentum=0.5, centered=True),
    "loss_scale": lambda: tf_keras.mixed_precision.LossScaleOptimizer(
        legacy.Adam(0.02)
    ),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_slim_training_equals_sparse_training(name):
    """Pruned, trained, transformed; the rate was lowered on the way."""
    model = small_model()
    model.compile(OPTIMIZERS[name](), loss())
    sparse = tcp.prune(model, 0.4)
    assert type(sparse.optimizer) is type(model.optimizer)
    fit(sparse)
    if name != "schedule":
        sparse.optimizer.learning_rate = 0.01
    slim = tcp.transform(sparse, keep_optimizer=True)
    assert int(slim.optimizer.iterations) == 4
    fit(sparse, 2)
    fit(slim, 2)
    difference = compare(sparse, slim, data()[0])
    assert difference.relative < 1e-4, difference


def test_slots_are_known_under_mixed_precision():
    model = small_model("mixed_bfloat16")
    model.compile(legacy.Adam(0.02), loss())
    sparse = tcp.prune(model, 0.4)
    fit(sparse)
    trained = sparse.trainable_variables
    slots = optimizers.slots(sparse.optimizer, trained)
    assert len(slots) == 2 * len(trained)
    kernel = sparse.get_layer("one").layer.kernel
    (moment,) = (
        to_numpy(slot.variable)
        for slot in slots
        if slot.trained is kernel and slot.kind == "m"
    )
    dead = ~to_numpy(kernel).any(0)
    assert dead.any() and moment.any()
    Masks(sparse).clear_slots(sparse.optimizer)
    assert not to_numpy(sparse.optimizer.get_slot(kernel, "m"))[:, dead].any()


@pytest.mark.parametrize("distill", [False, True])
def test_a_training_goes_on(tmp_path, distill):
    """Killed in its second epoch, it ends as one that was not."""
    model = small_model()
    model.compile(legacy.SGD(0.05), loss())
    recipe = tcp.Recipe(
        0.05,
        epochs=3,
        batch_size=8,
        optimizer=lambda rate, decay: legacy.SGD(rate, 0.9),
    )
    how = {"recipes": recipe, "distill": distill, "unpruned": model}
    whole = finetune(model, data(), **how).model

    class Kill(tf_keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                raise RuntimeError("killed")

    with pytest.raises(PruningError, match="killed"):
        finetune(model, data(), folder=tmp_path, callbacks=[Kill()], **how)
    again = finetune(model, data(), folder=tmp_path, **how).model
    for one, other in zip(whole.get_weights(), again.get_weights()):
        np.testing.assert_array_equal(one, other)


def test_sparsity_learning_takes_the_rate_of_a_schedule():
    model = small_model()
    model.compile(legacy.SGD(Halving(), 0.9), loss())
    model.fit(
        *data(), verbose=0, callbacks=[tcp.callbacks.SlimmingL1(frequency=1)]
    )
