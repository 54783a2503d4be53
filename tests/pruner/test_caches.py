"""What is kept is used again for the very same thing only."""

import functools
import os

import keras
import numpy as np
import pytest
from small_models import closeness
from small_models import images
from small_models import residual

import tf_channel_prune as tcp
from tf_channel_prune import criteria
from tf_channel_prune.finetune import driver
from tf_channel_prune.graph.digests import value_digest

RECIPE = tcp.Recipe(0.05, epochs=1)


def scaled(factor):
    return lambda y, out: factor * keras.losses.mean_squared_error(y, out)


def clipped(norm):
    return lambda rate, decay: keras.optimizers.SGD(rate, clipnorm=norm)


def compiled(seed=1, **how):
    model = residual(seed)
    model.compile("sgd", scaled(1.0), **how)
    return model


def frozen():
    model = residual()
    model.get_layer("one").trainable = False
    model.compile("sgd", scaled(1.0))
    return model


def two(weights):
    """The same net with two outputs."""
    net = residual()
    model = keras.Model(net.input, [net.output, net.output * 2.0])
    model.compile("sgd", ["mse", "mse"], loss_weights=weights)
    return model


def targets(model):
    one = np.ones((16, 3), "float32")
    return [one, one] if len(model.outputs) == 2 else one


def finetune(space, model, recipe=RECIPE, **how):
    pruner = tcp.Pruner(model, space)
    sparse = pruner.prune(ratio=0.3)
    data = (images(), targets(model))
    return pruner.finetune(sparse, data, recipes=recipe, progress=False, **how)


def run(space, model, recipe=RECIPE, **how):
    pruner = tcp.Pruner(model, space)
    return pruner.run(
        (images(), targets(model)),
        evaluate=closeness(model) if len(model.outputs) == 1 else lambda m: 1.0,
        recipes=recipe,
        ratio=0.3,
        rounds=1,
        tolerance=99,
        progress=False,
        **how,
    )


def recipe(norm):
    return tcp.Recipe(0.05, epochs=1, optimizer=clipped(norm))


CHANGES = {
    "teacher": [
        {"model": compiled, "distill": lambda: residual(2)},
        {"model": compiled, "distill": lambda: residual(3)},
    ],
    "trained": [{"model": compiled}, {"model": frozen}],
    "loss weights": [
        {"model": lambda: two([1.0, 0.0])},
        {"model": lambda: two([0.0, 1.0])},
    ],
    "optimizer": [
        {"model": compiled, "recipe": lambda: recipe(1e-6)},
        {"model": compiled, "recipe": lambda: recipe(1.0)},
    ],
    "loss": [
        {"model": compiled, "loss": lambda: scaled(0.0)},
        {"model": compiled, "loss": lambda: scaled(5.0)},
    ],
}


def same(one, other):
    pairs = zip(one.get_weights(), other.get_weights(), strict=True)
    return all(np.array_equal(*pair) for pair in pairs)


@pytest.mark.parametrize("verb", [finetune, run])
@pytest.mark.parametrize("change", CHANGES)
def test_another_training_is_not_given_back(verb, change, tmp_path):
    first, second = (
        {name: make() for name, make in one.items()} for one in CHANGES[change]
    )
    before = verb(tmp_path / "space", **first)
    found = verb(tmp_path / "space", **second)
    assert not same(found, before)
    assert same(found, verb(tmp_path / "fresh", **second))
    # And the very same is: nothing new is written.
    assert same(verb(tmp_path / "space", **second), found)
    assert len(list((tmp_path / "space").rglob("recipe-*.npz"))) == 2


class Backwards(tcp.Criterion):
    """Without a name it is not listed among the others."""

    def elements(self, array):
        return -np.abs(array)


BY_CODE = [
    lambda c: np.arange(c.unit_count) * 1.0,
    lambda c: -np.arange(c.unit_count) * 1.0,
]


@pytest.mark.parametrize(
    "pair",
    [
        [criteria.Random(seed=0), criteria.Random(seed=1)],
        [criteria.L1(reduction="max"), "l1"],
        [criteria.L1(), criteria.L1(normalisation="max")],
        BY_CODE,
    ],
)
def test_an_analysis_by_another_criterion(pair, pruner):
    calls = []
    closest = closeness(pruner.model)

    def evaluate(model):
        calls.append(model)
        return closest(model)

    counts = []
    for criterion in [*pair, *pair]:
        pruner.ana(evaluate, ratios=[0.5], criterion=criterion, progress=False)
        counts.append(len(calls))
    assert counts[1] == 2 * counts[0]
    assert counts[1:] == [counts[1]] * 3  # both are found again


def test_what_criteria_are_kept_under():
    """The name alone, where it says all; the code of a class of one's own."""
    assert criteria.get("l1").key == criteria.L1().key == "l1"
    assert criteria.get("taylor").key == "taylor"
    assert Backwards().key == Backwards().key != Backwards.name
    before = Backwards().key

    class Other(tcp.Criterion):
        """Another one of no name."""

        def elements(self, array):
            return np.abs(array)

    assert Other().key != before


def recursive(depth):
    def inner(value):
        return inner(value - depth) if value > 0 else value

    return inner


@pytest.mark.parametrize(
    "make",
    [
        lambda value: scaled(value),
        lambda value: functools.partial(scaled(1.0), value),
        lambda value: recursive(value),
        lambda value: lambda y, out=value: y,
        lambda value: [keras.losses.Huber(float(value))],
    ],
)
def test_functions_are_told_apart_by_what_they_hold(make):
    assert value_digest(make(1)) == value_digest(make(1))
    assert value_digest(make(1)) != value_digest(make(2))


def test_a_run_by_latencies_that_were_measured_anew(tmp_path):
    made = []
    for factor in (1.0, 1.0, 3.0):
        model = compiled()
        pruner = tcp.Pruner(model, tmp_path / "space")
        if factor != 1.0 or not made:
            pruner._subject.latency_path.unlink(missing_ok=True)
            pruner.measure_latency(
                target=lambda path, by=factor: by * os.path.getsize(path),
                progress=False,
            )
        run(tmp_path / "space", model, of="latency")
        made.append(len(list((tmp_path / "space" / "runs").iterdir())))
    assert made == [1, 1, 2]


@pytest.mark.parametrize("distill", [False, True])
def test_weights_are_read_once_for_their_digest(tmp_path, monkeypatch, distill):
    calls = []
    circumstances = driver.circumstances

    def counted(*given):
        calls.append(given)
        return circumstances(*given)

    monkeypatch.setattr(driver, "circumstances", counted)
    finetune(tmp_path, compiled(), distill=distill)
    assert len(calls) == 1
