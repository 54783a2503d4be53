"""What is kept of a training: logs, and all that the next epoch needs."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import tf_channel_prune as tcp
from tf_channel_prune.errors import PruningError
from tf_channel_prune.finetune import Recipe
from tf_channel_prune.finetune import finetune

RECIPE = Recipe(0.05, "constant", epochs=6, batch_size=8)


@pytest.fixture(params=[keras, tf_keras])
def kind(request):
    return request.param


def net(kind, *metrics):
    kind.utils.set_random_seed(1)
    layers = kind.layers
    model = kind.Sequential(
        [
            layers.Input((6,)),
            layers.Dense(8, activation="relu", name="one"),
            layers.Dense(3, activation="softmax", name="head"),
        ]
    )
    loss = "categorical_crossentropy"
    model.compile("sgd", loss, metrics=list(metrics))
    return model


def data():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(32, 6)).astype("float32")
    return x, np.eye(3, dtype="float32")[rng.integers(0, 3, 32)]


def test_a_metric_may_be_an_array(kind):
    """As F1Score, which tf_keras does not take with data like these."""

    class Three(kind.metrics.Metric):
        def update_state(self, y, predicted, sample_weight=None):
            pass

        def result(self):
            return tf.constant([1.0, 2.0, 3.0])

    model = net(kind, Three(name="three"))
    history = finetune(model, data(), recipes=RECIPE).trial.history
    assert [row["three"] for row in history] == [[1.0, 2.0, 3.0]] * 6
    assert json.loads(json.dumps(history)) == history


def undefined(y, predicted):
    return predicted[..., 0] * float("nan")


def test_a_metric_that_is_undefined_is_no_divergence(kind):
    model, recipe = net(kind, undefined), Recipe(epochs=1)
    trial = finetune(model, data(), lambda m: 1.0, recipe).trial
    assert trial.score == 1.0
    assert np.isnan(trial.history[0]["undefined"])
    with pytest.raises(PruningError, match="diverged"):
        finetune(model, data(), None, recipe, loss=undefined)


def counting(kind, at=None, place="batch"):
    """A callback with a state that decides; `at` an epoch, it raises."""

    class Counting(kind.callbacks.Callback):
        def __init__(self):
            super().__init__()
            self.batches, self.losses = 0, {}
            self.settings = np.zeros(3)  # what never changes is not kept

        def on_train_begin(self, logs=None):
            self.start = self.model.get_weights()

        def on_epoch_begin(self, epoch, logs=None):
            self.epoch = epoch

        def on_train_batch_end(self, batch, logs=None):
            self.batches += 1
            if self.batches == 18:  # in the fifth epoch: back to the start
                self.model.set_weights(self.start)
            if (self.epoch, batch, place) == (at, 1, "batch"):
                raise RuntimeError("killed")

        def on_epoch_end(self, epoch, logs=None):
            self.losses[epoch] = (logs["loss"], np.float32(1))

        def on_train_end(self, logs=None):
            if place == "end":
                raise RuntimeError("killed")

    return Counting()


def killed_and_resumed(model, folder, make, at, place="batch"):
    """The outcome of a whole training, and of one that was interrupted."""
    given = {"recipes": RECIPE}
    whole = finetune(model, data(), callbacks=make(None, None), **given)
    given["folder"] = folder
    with pytest.raises(PruningError, match="killed"):
        finetune(model, data(), callbacks=make(at, place), **given)
    made = make(None, None)
    return whole, finetune(model, data(), callbacks=made, **given), made


def assert_same(one, other):
    logs = [
        [row["loss"] for row in outcome.trial.history]
        for outcome in (one, other)
    ]
    assert logs[0] == logs[1]
    pairs = zip(one.model.get_weights(), other.model.get_weights())
    for a, b in pairs:
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("at", [1, 4])
def test_callbacks_go_on_where_they_were(kind, tmp_path, at):
    def make(at, place):
        return [counting(kind, at, place)]

    whole, resumed, (callback,) = killed_and_resumed(
        net(kind), tmp_path, make, at
    )
    assert_same(whole, resumed)
    assert callback.batches == 24
    assert sorted(callback.losses) == list(range(6))
    assert callback.losses[0] == (whole.trial.history[0]["loss"], 1.0)


# Nothing is an improvement: these do something after two epochs.
NEVER = {"monitor": "loss", "min_delta": 9.0, "mode": "min"}


@pytest.mark.parametrize(
    ("at", "place"), [(1, "batch"), (2, "batch"), (None, "end")]
)
def test_early_stopping_ends_where_it_would_have(kind, tmp_path, at, place):
    """After the third epoch, with the weights of the first."""

    def make(at, place):
        early = kind.callbacks.EarlyStopping(
            patience=2, restore_best_weights=True, **NEVER
        )
        return [early, counting(kind, at, place)]

    whole, resumed, _ = killed_and_resumed(net(kind), tmp_path, make, at, place)
    assert len(whole.trial.history) == 3
    assert_same(whole, resumed)


def test_progress_is_whole_where_a_callback_stops_training():
    steps = []
    early = keras.callbacks.EarlyStopping(patience=2, **NEVER)
    how = {"recipes": RECIPE, "callbacks": [early]}
    finetune(net(keras), data(), advance=steps.append, **how)
    assert len(steps) == RECIPE.epochs


@pytest.mark.parametrize("at", [1, 3, 5])
def test_a_learning_rate_that_was_reduced_stays_so(kind, tmp_path, at):
    def make(at, place):
        reduce = kind.callbacks.ReduceLROnPlateau(
            patience=2, factor=0.1, cooldown=1, **NEVER
        )
        return [counting(kind, at, place), reduce]

    assert_same(*killed_and_resumed(net(kind), tmp_path, make, at)[:2])


def test_masks_settle_as_they_would_have(kind, tmp_path):
    """By the masks of the two epochs before."""

    def make(at, place):
        schedule = tcp.callbacks.Polynomial(0.5, begin=0, end=4, frequency=4)
        return [
            tcp.callbacks.GradualPruning(schedule, divisor=1),
            counting(kind, at, place),
            tcp.callbacks.StopWhenStable(patience=2),
        ]

    sparse, dense = tcp.make_sparse(net(kind)), net(kind)
    sparse.compile("sgd", dense.loss)
    whole, resumed, _ = killed_and_resumed(sparse, tmp_path, make, 2)
    assert len(whole.trial.history) < RECIPE.epochs
    assert_same(whole, resumed)


def test_other_callbacks_are_said(tmp_path):
    model, how = net(keras), {"recipes": RECIPE, "folder": tmp_path}
    with pytest.raises(PruningError, match="killed"):
        finetune(model, data(), callbacks=[counting(keras, 1)], **how)
    with pytest.warns(UserWarning, match="a Counting as callback 1"):
        finetune(model, data(), **how)
