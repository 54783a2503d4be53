"""What is kept of a training: logs, and all that the next epoch needs."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

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
