"""Rates and optimizers."""

import keras
import pytest

from tf_channel_prune.errors import PruningError
from tf_channel_prune.finetune.distillation import Distill
from tf_channel_prune.finetune.recipes import Recipe
from tf_channel_prune.finetune.recipes import as_recipes


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
