"""Statistics measured anew, against means and variances by hand."""

import keras
import numpy as np
import pytest

from tf_channel_prune import graph as graphs
from tf_channel_prune.errors import PruningError
from tf_channel_prune.graph.data import batches
from tf_channel_prune.graph.recalibration import Recalibration
from tf_channel_prune.graph.run import inputs
from tf_channel_prune.graph.run import run


@pytest.fixture
def model():
    keras.utils.set_random_seed(0)
    x = keras.Input((6,))
    h = keras.layers.Dense(4)(x)
    h = keras.layers.BatchNormalization(name="first")(h)
    h = keras.layers.Dropout(0.5)(h)
    h = keras.layers.BatchNormalization(name="second")(h)
    return keras.Model(x, h)


def _data(count=64):
    return np.random.default_rng(1).normal(2.0, 3.0, (count, 6))


def test_one_batch_gives_its_own_moments(model):
    x = _data().astype("float32")
    used = Recalibration(graphs.read(model))(x, batch_size=64)
    hidden = keras.ops.convert_to_numpy(model.layers[1](x))
    first = model.get_layer("first")
    assert used == 64
    np.testing.assert_allclose(first.moving_mean, hidden.mean(0), rtol=1e-4)
    np.testing.assert_allclose(first.moving_variance, hidden.var(0), rtol=1e-4)
    # Dropout does not run, so the second layer sees mean 0 and variance 1.
    second = model.get_layer("second")
    np.testing.assert_allclose(second.moving_mean, np.zeros(4), atol=1e-5)
    expected = hidden.var(0) / (hidden.var(0) + 1e-3)
    np.testing.assert_allclose(second.moving_variance, expected, rtol=1e-4)


def test_batches_are_pooled(model):
    # The spread between batches counts, which a mean of variances would miss.
    x = np.concatenate([np.zeros((8, 6)), np.ones((24, 6))]).astype("float32")
    parts = [x[:8], x[8:]]
    Recalibration(graphs.read(model))(iter(parts))
    hidden = keras.ops.convert_to_numpy(model.layers[1](x))
    first = model.get_layer("first")
    np.testing.assert_allclose(first.moving_mean, hidden.mean(0), rtol=1e-4)
    np.testing.assert_allclose(first.moving_variance, hidden.var(0), rtol=1e-3)


def test_a_frozen_layer_is_measured_too(model):
    model.get_layer("first").trainable = False
    Recalibration(graphs.read(model))(_data())
    assert np.abs(model.get_layer("first").moving_mean).max() > 0.1


def test_empty_data_are_refused(model):
    with pytest.raises(PruningError, match="empty"):
        Recalibration(graphs.read(model))([])


def test_run_gives_what_the_model_gives(model):
    graph = graphs.read(model)
    x = _data(4).astype("float32")
    found = run(graph, inputs(graph, x))
    made = keras.ops.convert_to_numpy(found[graph.outputs[0]])
    expected = keras.ops.convert_to_numpy(model(x))
    np.testing.assert_allclose(made, expected, rtol=1e-6)


CASES = {
    "arrays": lambda x, y: (x, y),
    "list of pairs": lambda x, y: [(x[:5], y[:5]), (x[5:], y[5:])],
    "iterator": lambda x, y: iter([(x[:5], y[:5]), (x[5:], y[5:])]),
    "dataset": lambda x, y: _dataset(x, y),
}


def _dataset(x, y):
    import tensorflow as tf

    return tf.data.Dataset.from_tensor_slices((x, y)).batch(5)


@pytest.mark.parametrize("case", CASES)
def test_batches_of_every_form(case):
    x, y = np.arange(10.0)[:, None], np.arange(10)
    found = list(batches(CASES[case](x, y), 5))
    assert [len(a) for a, _ in found] == [5, 5]
    np.testing.assert_array_equal(np.concatenate([b for _, b in found]), y)


def test_a_limit_chooses_the_same_samples_every_time():
    x = np.arange(100)
    first = np.concatenate([a for a, _ in batches(x, 8, 20)])
    again = np.concatenate([a for a, _ in batches(x, 8, 20)])
    assert len(np.unique(first)) == 20 and first.max() > 50
    np.testing.assert_array_equal(first, again)


def test_several_inputs_stay_together():
    data = ({"a": np.arange(6), "b": np.arange(6) * 10}, np.arange(6))
    for x, y in batches(data, 4, 5):
        np.testing.assert_array_equal(x["a"] * 10, x["b"])
        np.testing.assert_array_equal(x["a"], y)


def test_arrays_of_different_lengths_are_refused():
    with pytest.raises(PruningError, match="different lengths"):
        list(batches((np.zeros(3), np.zeros(4)), 2))
