"""Rates, optimizers and streams of data."""

import keras
import numpy as np
import pytest

from tf_channel_prune.errors import PruningError
from tf_channel_prune.finetune.distillation import Distill
from tf_channel_prune.finetune.recipes import Recipe
from tf_channel_prune.finetune.recipes import as_recipes
from tf_channel_prune.finetune.streams import Stream


def rates(recipe, steps_per_epoch, at):
    optimizer = recipe.make_optimizer(keras, steps_per_epoch)
    found = []
    for step in at:
        optimizer.iterations.assign(step)
        found.append(float(keras.ops.convert_to_numpy(optimizer.learning_rate)))
    return found


@pytest.mark.parametrize(
    ("recipe", "at", "expected"),
    [
        (Recipe(0.1, "constant", epochs=2), [0, 10, 19], [0.1, 0.1, 0.1]),
        # half a cosine: 1, 1/2, 0 of the rate at 0, 1/2 and 1 of the way
        (Recipe(0.1, "cosine", epochs=2), [0, 10, 20], [0.1, 0.05, 0.0]),
        (
            Recipe(0.1, "cosine", epochs=3, warmup=1),
            [0, 5, 10, 20, 30],
            [0.0, 0.05, 0.1, 0.05, 0.0],
        ),
        (
            Recipe(0.1, "step", epochs=4),
            [0, 20, 21, 30, 31],
            [0.1, 0.1, 0.01, 0.01, 0.001],
        ),
    ],
)
def test_rates(recipe, at, expected):
    assert rates(recipe, 10, at) == pytest.approx(expected, abs=1e-7)


def test_weight_decay_spares_biases_and_normalisation():
    optimizer = Recipe(0.1, weight_decay=0.5).make_optimizer(keras, 10)
    layer = keras.layers.Dense(2)
    layer.build((None, 3))
    assert optimizer._use_weight_decay(layer.kernel)
    assert not optimizer._use_weight_decay(layer.bias)


def test_own_optimizers():
    recipe = Recipe(
        0.2, "constant", optimizer=lambda r, d: keras.optimizers.Lion(r)
    )
    assert isinstance(recipe.make_optimizer(keras, 5), keras.optimizers.Lion)
    assert "<lambda> " in recipe.as_dict()["optimizer"]


@pytest.mark.parametrize(
    "make",
    [
        lambda: Recipe(decay="linear"),
        lambda: Recipe(0.0),
        lambda: Recipe(epochs=0),
        lambda: Recipe(optimizer="adagrad"),
        lambda: Recipe(epochs=2, warmup=2),
        lambda: Recipe(decay="step", warmup=1),
        lambda: as_recipes([]),
        lambda: as_recipes(["sgd"]),
        lambda: Distill(weight="a"),
        lambda: Distill(weight=0),
        lambda: Distill(temperature=None),
        lambda: Distill(features_weight="a"),
    ],
)
def test_nonsense_is_refused(make):
    with pytest.raises(PruningError):
        make()


def epoch_of(stream, epoch):
    return [stream.batch(epoch, index) for index in range(stream.steps)]


def test_arrays_are_shuffled_by_seed_and_epoch():
    x, y = np.arange(10), np.arange(10) * 10
    stream = Stream((x, y), 4, seed=3)
    assert stream.steps == 2  # the last two samples make no full batch
    first = epoch_of(stream, 0)
    for a, b in first:
        np.testing.assert_array_equal(b, a * 10)
    assert len({*first[0][0], *first[1][0]}) == 8
    second = [a.tolist() for a, _ in epoch_of(stream, 1)]
    assert second != [a.tolist() for a, _ in first]
    # Another process that goes on at epoch 1, in any order.
    again = Stream((x, y), 4, seed=3)
    assert again.batch(1, 1)[0].tolist() == second[1]
    assert again.batch(1, 0)[0].tolist() == second[0]
    other = Stream((x, y), 4, seed=4)
    assert [a.tolist() for a, _ in epoch_of(other, 1)] != second


def test_few_samples_make_one_batch():
    stream = Stream((np.arange(3), np.arange(3)), 128, seed=0)
    assert stream.steps == 1
    assert sorted(stream.batch(5, 0)[0].tolist()) == [0, 1, 2]


def test_functions_of_the_epoch():
    stream = Stream(lambda epoch: [epoch * 10, epoch * 10 + 1], 4, seed=0)
    assert stream.steps == 2
    assert epoch_of(stream, 1) + epoch_of(stream, 2) == [10, 11, 20, 21]


def test_other_data_are_given_to_fit_as_they_are():
    batches = [(np.zeros(2), np.zeros(2))] * 3
    stream = Stream(batches, 99, seed=0)
    assert stream.steps == 3
    assert stream.dataset(keras, 0) is batches


@pytest.mark.parametrize(
    "data",
    [
        (np.zeros(0), np.zeros(0)),
        (np.zeros(3), np.zeros(4)),
        [],
        iter([]),
    ],
)
def test_bad_data_are_refused(data):
    with pytest.raises(PruningError):
        Stream(data, 2, 0)


def test_an_epoch_that_runs_short_is_said():
    stream = Stream(lambda epoch: [1, 2] if epoch == 0 else [1], 4, seed=0)
    with pytest.raises(PruningError, match="Epoch 2 of the data has 1"):
        stream.batch(1, 0)
