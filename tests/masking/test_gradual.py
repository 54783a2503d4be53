"""Pruning while training."""

import keras
import numpy as np
import pytest

import tf_channel_prune as tcp
from tf_channel_prune import callbacks
from tf_channel_prune.errors import TargetError
from tf_channel_prune.graph import optimizers
from tf_channel_prune.graph.arrays import to_numpy
from tf_channel_prune.masking import Masks
from tf_channel_prune.transform import compare


def small_model():
    keras.utils.set_random_seed(1)
    return keras.Sequential(
        [
            keras.Input((6, 6, 2)),
            keras.layers.Conv2D(8, 3, padding="same", name="one"),
            keras.layers.BatchNormalization(name="norm"),
            keras.layers.Activation("sigmoid"),
            keras.layers.Conv2D(8, 3, name="two"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(3, name="head"),
        ]
    )


def data(count=32):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(count, 6, 6, 2)).astype("float32")
    return x, rng.integers(0, 3, count)


def compiled(optimizer=None, exclude=(), **options):
    sparse = tcp.make_sparse(small_model(), exclude)
    sparse.compile(
        optimizer or keras.optimizers.SGD(0.05, momentum=0.9),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        **options,
    )
    return sparse


def fit(sparse, *given, epochs=2, **options):
    """Four steps an epoch."""
    return sparse.fit(
        *data(),
        batch_size=8,
        epochs=epochs,
        verbose=0,
        shuffle=False,
        callbacks=list(given),
        **options,
    )


class AtEachStep(keras.callbacks.Callback):
    """Notes how many units live after each batch, and checks the masks."""

    def on_train_begin(self, logs=None):
        self.alive = []

    def on_train_batch_end(self, batch, logs=None):
        masks = Masks(self.model)
        masks.check()
        self.alive.append(int(masks.alive().sum()))


def test_the_target_is_reached_step_by_step(tmp_path):
    sparse = compiled()
    gradual = callbacks.GradualPruning(
        callbacks.Polynomial(0.6, begin=1, end=6, frequency=1), divisor=1
    )
    notes = AtEachStep()
    save = keras.callbacks.ModelCheckpoint(tmp_path / "{epoch}.keras")
    fit(sparse, save, notes, gradual)
    assert notes.alive[0] == 19  # 8 + 8, and the 3 outputs
    assert notes.alive == sorted(notes.alive, reverse=True)
    assert len(set(notes.alive)) > 3
    assert tcp.sparsity(sparse, "flops") >= 0.6
    saved = keras.models.load_model(tmp_path / "2.keras")
    Masks(saved).check()
    assert tcp.sparsity(saved, "flops") >= 0.6
    slim = tcp.transform(sparse)
    assert compare(sparse, slim, data(4)[0]).equal


def test_schedules_of_tfmot_serve():
    tfmot = pytest.importorskip("tensorflow_model_optimization")
    schedule = tfmot.sparsity.keras.ConstantSparsity(0.5, 2, 6, 2)
    sparse, notes = compiled(), AtEachStep()
    fit(sparse, callbacks.GradualPruning(schedule, divisor=1), notes)
    assert notes.alive[:2] == [19, 19] and notes.alive[2] < 19
    assert tcp.sparsity(sparse, "flops") >= 0.5


def test_excluded_layers_keep_their_channels():
    sparse = compiled(exclude=["one"])
    schedule = callbacks.OneShot(0.4)
    fit(sparse, callbacks.GradualPruning(schedule), epochs=1)
    slim = tcp.transform(sparse)
    assert slim.get_layer("one").filters == 8
    assert slim.get_layer("two").filters < 8


def test_unreachable_ratios_are_refused_when_training_starts():
    sparse = compiled(exclude=["one"])
    schedule = callbacks.Polynomial(0.99, begin=1000, end=2000)
    with pytest.raises(TargetError, match="reachable"):
        fit(sparse, callbacks.GradualPruning(schedule))


def test_an_unfinished_schedule_is_said():
    schedule = callbacks.Polynomial(0.5, begin=0, end=100, frequency=1)
    with pytest.warns(UserWarning, match="ended at step 4 with"):
        fit(compiled(), callbacks.GradualPruning(schedule), epochs=1)


@pytest.mark.parametrize("at_once", [1, 3])
def test_steps_that_run_together_are_not_missed(at_once):
    if at_once > 1 and keras.backend.backend() == "torch":
        pytest.skip("Keras on PyTorch runs one step at a time")
    sparse = compiled(steps_per_execution=at_once)
    fit(sparse, callbacks.GradualPruning(callbacks.OneShot(0.4, begin=2)))
    assert tcp.sparsity(sparse, "flops") >= 0.4


def test_a_resumed_fit_goes_on_in_the_schedule():
    sparse, notes = compiled(), AtEachStep()
    gradual = callbacks.GradualPruning(callbacks.OneShot(0.4, begin=10))
    fit(sparse, gradual, notes, epochs=3, initial_epoch=2)
    assert gradual.step == 12
    assert notes.alive[1] == 19 and notes.alive[2] < 19


def by_turns(channels):
    """A criterion that changes its mind at every call."""
    by_turns.calls += 1
    scores = np.ones(channels.unit_count)
    scores[0 if by_turns.calls % 2 else 1] = 0
    return scores


@pytest.mark.parametrize("average", [False, True])
def test_soft_channels_come_back_as_they_were(average):
    """Unit 0 goes at step 1, comes back at step 2; from step 3 all is hard."""
    by_turns.calls = 0
    optimizer = keras.optimizers.Adam(0.05, use_ema=average)
    sparse = compiled(optimizer)

    class Look(keras.callbacks.Callback):
        def __init__(self):
            super().__init__()
            self.kernel, self.slots, self.alive = {}, {}, {}

        def on_train_batch_begin(self, batch, logs=None):
            kernel = self.model.get_layer("one").layer.kernel
            slots = optimizers.slots(optimizer, sparse.trainable_variables)
            self.kernel[batch] = to_numpy(kernel)[..., 0].copy()
            self.slots[batch] = {
                slot.kind: to_numpy(slot.variable)[..., 0].copy()
                for slot in slots
                if slot.trained is kernel
            }
            self.alive[batch] = Masks(self.model).alive()[:2].tolist()

    before, after = Look(), Look()
    gradual = callbacks.GradualPruning(
        lambda step: (step >= 1, 0.05), by_turns, divisor=1, soft_until=3
    )
    fit(sparse, before, gradual, after, epochs=1)
    assert before.kernel[1].any()
    assert after.alive[1] == [False, True]
    assert not after.kernel[1].any()
    assert not any(value.any() for value in after.slots[1].values())
    assert after.alive[2] == [True, False]
    np.testing.assert_array_equal(after.kernel[2], before.kernel[1])
    assert not after.slots[2]["_momentums"].any()
    if average:
        mean = after.slots[2][optimizers.AVERAGE]
        np.testing.assert_array_equal(mean, before.kernel[1])
    # From step 3 on unit 1 does not come back, whatever the criterion says.
    assert after.alive[3] == [True, False]
    Masks(sparse).check()


def test_momentum_of_what_is_masked_is_cleared():
    sparse = compiled()
    fit(sparse, epochs=1)
    masks = Masks(sparse)
    alive = masks.alive()
    alive[:4] = False
    masks.set(alive)
    for slot in optimizers.slots(sparse.optimizer, sparse.trainable_variables):
        value = to_numpy(slot.variable)
        if slot.trained is sparse.get_layer("one").layer.kernel:
            assert not value[..., :4].any() and value[..., 4:].all()
            break
    else:
        pytest.fail("no momentum of the kernel")


def test_training_stops_when_the_masks_are_stable():
    sparse = compiled()
    stop = callbacks.StopWhenStable(patience=2)
    schedule = callbacks.OneShot(0.4, begin=5)
    history = fit(sparse, callbacks.GradualPruning(schedule), stop, epochs=9)
    # masked in the second epoch (1); equal after epochs 2 and 3
    assert stop.stopped_epoch == 3
    assert len(history.history["loss"]) == 4


@pytest.mark.parametrize(("tolerance", "epoch"), [(0.0, None), (0.2, 1)])
def test_masks_that_keep_changing(tolerance, epoch):
    """Two of 16 units differ from one epoch to the next."""
    by_turns.calls = 0
    gradual = callbacks.GradualPruning(
        lambda step: (step % 4 == 0, 0.05), by_turns, divisor=1, soft_until=99
    )
    stop = callbacks.StopWhenStable(patience=1, tolerance=tolerance)
    fit(compiled(), gradual, stop, epochs=4)
    assert stop.stopped_epoch == epoch


def test_summaries_hold_sparsity_and_scores(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing import event_accumulator
    from tensorboard.util import tensor_util

    sparse = compiled()
    fit(
        sparse,
        callbacks.GradualPruning(callbacks.OneShot(0.4)),
        callbacks.PruningSummaries(tmp_path),
    )
    events = event_accumulator.EventAccumulator(str(tmp_path))
    events.Reload()
    tags = set(events.Tags()["tensors"])
    assert {"sparsity/flops", "kept/one", "scores/one"} <= tags
    last = events.Tensors("sparsity/flops")[-1]
    assert last.step == 1
    value = float(tensor_util.make_ndarray(last.tensor_proto))
    assert value == pytest.approx(tcp.sparsity(sparse, "flops"))
