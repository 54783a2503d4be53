"""Fine-tuning: the best recipe, interruptions, distillation."""

import os
import pathlib

import keras
import numpy as np
import pytest

import tf_channel_prune as tcp
from tf_channel_prune import finetune as tuning
from tf_channel_prune.errors import PruningError
from tf_channel_prune.errors import StaleFileError
from tf_channel_prune.finetune import Recipe
from tf_channel_prune.finetune import finetune
from tf_channel_prune.graph.arrays import to_numpy
from tf_channel_prune.masking import Masks

RECIPE = Recipe(0.05, epochs=3, batch_size=8)


def small_model(loss=None):
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [
            keras.Input((6,)),
            keras.layers.Dense(8, name="one"),
            keras.layers.BatchNormalization(name="norm"),
            keras.layers.Activation("sigmoid", name="act"),
            keras.layers.Dropout(0.1, seed=3, name="drop"),
            keras.layers.Dense(8, activation="relu", name="two"),
            keras.layers.Dense(3, name="head"),
        ]
    )
    loss = loss or keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss, jit_compile=False)
    return model


def data(count=32):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(count, 6)).astype("float32")
    return x, (x[:, 0] > 0) + (x[:, 1] > 0) * 1


def sparse_model():
    return tcp.prune(small_model(), 0.4)


def evaluate(model):
    x, y = data(64)
    return -float(model.evaluate(x, y, verbose=0, batch_size=64))


def weights(model):
    return [to_numpy(w).copy() for w in model.weights]


def assert_equal(one, other):
    for a, b in zip(weights(one), weights(other), strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_best_recipe_wins_and_the_model_is_not_changed():
    sparse = sparse_model()
    before = weights(sparse)
    recipes = [Recipe(1e-6, epochs=1, batch_size=8), RECIPE]
    outcome = finetune(sparse, data(), evaluate, recipes)
    for a, b in zip(before, weights(sparse)):
        np.testing.assert_array_equal(a, b)
    assert outcome.trial is outcome.trials[1]
    assert outcome.trials[1].score > outcome.trials[0].score
    assert outcome.trial.score == pytest.approx(evaluate(outcome.model))
    assert len(outcome.trial.history) == 3
    Masks(outcome.model).check()
    np.testing.assert_array_equal(
        Masks(outcome.model).alive(), Masks(sparse).alive()
    )
    tcp.transform(outcome.model)


class Stop(BaseException):
    """What a kill is, for a test in one process."""


class StopAt(keras.callbacks.Callback):
    """Raises in the middle of an epoch."""

    def __init__(self, epoch):
        super().__init__()
        self.at = epoch

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if self.epoch == self.at and batch == 1:
            raise Stop


@pytest.mark.parametrize("keep", ["last", "best"])
@pytest.mark.parametrize("epoch", [0, 2])
def test_an_interrupted_training_ends_the_same(tmp_path, keep, epoch):
    """Dropout, momentum and shuffling go on as if nothing had happened."""
    whole = finetune(sparse_model(), data(), evaluate, RECIPE, keep=keep)
    given = {"recipes": RECIPE, "keep": keep, "folder": tmp_path}
    with pytest.raises(Stop):
        finetune(
            sparse_model(), data(), evaluate, callbacks=[StopAt(epoch)], **given
        )
    seen = []

    class Count(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            seen.append(epoch)

    resumed = finetune(
        sparse_model(), data(), evaluate, callbacks=[Count()], **given
    )
    assert seen == list(range(epoch, 3))
    assert_equal(whole.model, resumed.model)
    assert whole.trial.score == resumed.trial.score
    assert [row["loss"] for row in whole.trial.history] == [
        row["loss"] for row in resumed.trial.history
    ]
    seen.clear()
    again = finetune(
        sparse_model(),
        data(),
        None if keep == "last" else evaluate,
        callbacks=[Count()],
        **given,
    )
    assert not seen
    assert_equal(whole.model, again.model)
    assert again.trial.score == whole.trial.score


def test_best_keeps_the_best_epoch():
    """By scores that are given: the second of three epochs is the best."""
    scores, seen = iter([1.0, 3.0, 2.0]), []

    class Look(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            seen.append(weights(self.model))

    outcome = finetune(
        sparse_model(),
        data(),
        lambda model: next(scores),
        RECIPE,
        keep="best",
        callbacks=lambda: [Look()],
    )
    assert outcome.trial.score == 3.0
    for a, b in zip(weights(outcome.model), seen[1], strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    "change", ["weights", "seed", "recipe", "loss", "data"]
)
def test_states_of_another_training_are_not_used(tmp_path, change):
    finetune(sparse_model(), data(), recipes=RECIPE, folder=tmp_path)
    model, recipe, seed = sparse_model(), RECIPE, 0
    given, loss = data(), None
    if change == "weights":
        model.get_layer("head").layer.bias.assign([1.0, 2.0, 3.0])
    elif change == "seed":
        seed = 1
    elif change == "loss":
        loss = keras.losses.SparseCategoricalCrossentropy()
    elif change == "data":
        given = given[0] + 1, given[1]
    else:
        # another file of its own
        recipe = Recipe(0.06, epochs=1, batch_size=8)
        finetune(model, data(), recipes=recipe, folder=tmp_path)
        assert len(list(tmp_path.glob("*.npz"))) == 2
        return
    with pytest.raises(StaleFileError, match=f"its {change} differ"):
        finetune(
            model, given, None, recipe, loss=loss, folder=tmp_path, seed=seed
        )


def test_a_full_disk_leaves_the_state_before(tmp_path, monkeypatch):
    """The second checkpoint cannot be written; the first one still serves."""
    replace, calls = os.replace, []

    def full(source, target):
        calls.append(target)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(PruningError, match="No space left on device"):
        finetune(sparse_model(), data(), recipes=RECIPE, folder=tmp_path)
    monkeypatch.undo()
    assert [p.suffix for p in tmp_path.iterdir()] == [".npz"]
    resumed = finetune(sparse_model(), data(), recipes=RECIPE, folder=tmp_path)
    whole = finetune(sparse_model(), data(), recipes=RECIPE)
    assert_equal(whole.model, resumed.model)


@pytest.mark.parametrize("arrays", [{}, {"head": "x"}, {"head": "[]"}])
def test_a_file_of_something_else_is_said(tmp_path, arrays):
    finetune(sparse_model(), data(), recipes=RECIPE, folder=tmp_path)
    np.savez(next(pathlib.Path(tmp_path).glob("*.npz")), **arrays)
    with pytest.raises(StaleFileError, match="no state of a training"):
        finetune(sparse_model(), data(), recipes=RECIPE, folder=tmp_path)


def test_a_broken_file_is_said(tmp_path):
    finetune(sparse_model(), data(), recipes=RECIPE, folder=tmp_path)
    path = next(pathlib.Path(tmp_path).glob("*.npz"))
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(StaleFileError, match="Move it away"):
        finetune(sparse_model(), data(), recipes=RECIPE, folder=tmp_path)


def test_diverged_recipes_lose():
    wild = Recipe(1e30, "constant", epochs=1, batch_size=8)
    outcome = finetune(sparse_model(), data(), evaluate, [wild, RECIPE])
    assert outcome.trial.recipe is RECIPE
    assert outcome.trials[0].score == -np.inf
    with pytest.raises(PruningError, match="diverged with every recipe"):
        finetune(sparse_model(), data(), evaluate, wild)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"recipes": None}, "needs evaluate="),
        ({"recipes": RECIPE, "keep": "best"}, "needs evaluate="),
        ({"recipes": RECIPE, "keep": "first"}, "expected one of"),
        ({"recipes": RECIPE, "distill": True}, "unpruned model"),
    ],
)
def test_nonsense_is_refused(given, message):
    with pytest.raises(PruningError, match=message):
        finetune(sparse_model(), data(), **given)


def test_a_loss_is_needed():
    model = small_model()
    bare = keras.Model(model.inputs, model.outputs)
    with pytest.raises(PruningError, match="give loss="):
        finetune(tcp.prune(bare, 0.4), data(), recipes=RECIPE)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    finetune(tcp.prune(bare, 0.4), data(), recipes=RECIPE, loss=loss)


def test_slim_models_train_too():
    slim = tcp.transform(sparse_model())
    outcome = finetune(slim, data(), evaluate, RECIPE)
    assert outcome.model.count_params() == slim.count_params()
    assert outcome.trial.score > evaluate(slim)


def softmaxed():
    model = small_model("sparse_categorical_crossentropy")
    x = keras.layers.Softmax(name="softmax")(model.outputs[0])
    model = keras.Model(model.inputs, x, name="softmaxed")
    model.compile("sgd", "sparse_categorical_crossentropy", jit_compile=False)
    return model


def regressing():
    return small_model("mse")


@pytest.mark.parametrize("make", [small_model, softmaxed, regressing])
def test_a_teacher_alone_teaches(make):
    """With all weight on the teacher, the student comes closer to it."""
    teacher = make()
    before = weights(teacher), teacher.trainable
    sparse = tcp.prune(teacher, 0.4)
    x, y = data(64)
    wanted = teacher.predict(x, verbose=0)
    recipe = Recipe(0.03, epochs=15, batch_size=8, optimizer="adam")
    distill = tuning.Distill(weight=1.0, temperature=1.0)
    y = np.tile(y[:, None], 3) if make is regressing else y
    outcome = finetune(
        sparse, (x, y), recipes=recipe, distill=distill, unpruned=teacher
    )
    losses = [r["distillation_loss"] for r in outcome.trial.history]
    assert 0 <= losses[-1] < 0.8 * losses[0]
    if make is not small_model:  # logits may differ by a constant
        gaps = [
            np.abs(model.predict(x, verbose=0) - wanted).mean()
            for model in (sparse, outcome.model)
        ]
        assert gaps[1] < gaps[0]
    Masks(outcome.model).check()
    assert teacher.trainable == before[1]
    for a, b in zip(before[0], weights(teacher)):
        np.testing.assert_array_equal(a, b)


def test_features_are_distilled():
    teacher = small_model()
    sparse = tcp.prune(teacher, 0.4)
    distill = tuning.Distill(teacher, features=("one",))
    outcome = finetune(sparse, data(), recipes=RECIPE, distill=distill)
    plain = finetune(sparse, data(), recipes=RECIPE, distill=teacher)
    one, other = (o.trial.history[0] for o in (outcome, plain))
    assert one["distillation_loss"] > other["distillation_loss"]
    wrong = tuning.Distill(teacher, features=("three",))
    with pytest.raises(PruningError, match="no such layer"):
        finetune(sparse, data(), recipes=RECIPE, distill=wrong)
    slim = tcp.transform(sparse)
    with pytest.raises(PruningError, match="sparse model"):
        finetune(slim, data(), recipes=RECIPE, distill=distill)


class Fails(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        raise RuntimeError("out of paper")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"data": (data()[0][:, :5], data()[1])}, "ValueError: .*shape"),
        ({"data": (data()[0], data()[1] + 9)}, "label value"),
        ({"data": data()[0]}, "Training by"),
        ({"data": tuple(part.tolist() for part in data())}, "Training by"),
        ({"loss": "nonsense"}, "nonsense"),
        ({"callbacks": [Fails()]}, "RuntimeError: out of paper"),
    ],
)
def test_a_training_that_fails_is_one_sentence(given, message):
    how = {"data": data(), "recipes": RECIPE, **given}
    with pytest.raises(PruningError, match=message) as found:
        finetune(sparse_model(), **how)
    assert found.value.__cause__.__traceback__ is not None


def test_a_teacher_of_another_shape_is_refused():
    x = keras.Input((6,))
    other = keras.Model(x, keras.layers.Dense(5)(x))
    with pytest.raises(PruningError, match=r"outputs.*\(5,\).*\(3,\)"):
        finetune(sparse_model(), data(), recipes=RECIPE, distill=other)
    x = keras.Input((7,))
    other = keras.Model(x, keras.layers.Dense(3)(x))
    with pytest.raises(PruningError, match=r"inputs.*\(7,\).*\(6,\)"):
        finetune(sparse_model(), data(), recipes=RECIPE, distill=other)
