"""Rounds of pruning and fine-tuning: steps, back-off, and being killed."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest

import tf_channel_prune as tcp
from tf_channel_prune.errors import PruningError
from tf_channel_prune.errors import StaleFileError
from tf_channel_prune.errors import TargetError
from tf_channel_prune.finetune import Round
from tf_channel_prune.finetune import Target
from tf_channel_prune.finetune import read_run
from tf_channel_prune.finetune.rounds import Book
from tf_channel_prune.finetune.targets import Steps


def walk(target, accept):
    """The ratios that are asked for; `accept` says which are taken."""
    steps, asked = Steps(target), []
    while (ratio := steps.next()) is not None:
        asked.append(round(ratio, 4))
        taken = accept(ratio)
        done = Round(1, ratio, ratio, 0.0, 0.0, "", 0.0, taken)
        steps.note(done)
    return asked, steps.reached


def test_rounds_remove_equal_shares_of_what_is_left():
    # 0.488 = 1 - 0.8 ** 3
    asked, reached = walk(Target(0.488), lambda ratio: True)
    assert asked == [0.2, 0.36, 0.488]
    assert reached
    assert walk(Target(0.5, rounds=1), lambda ratio: True)[0] == [0.5]


def test_a_refused_step_is_halved():
    """All above 0.2 is refused: 1 - 0.64 ** (1, 1/2), then from 0.8 on."""
    target = Target(0.36, rounds=1, retries=2)
    asked, reached = walk(target, lambda ratio: ratio <= 0.2 + 1e-9)
    # 1 - 0.8 * (0.64 / 0.8) ** (1, 1/2, 1/4)
    assert asked == [0.36, 0.2, 0.36, 0.2845, 0.2434]
    assert not reached


def test_the_smallest_model_within_a_drop():
    target = Target(max_drop=0.01, step=0.5, retries=3)
    asked, _ = walk(target, lambda ratio: ratio < 0.7)
    assert asked[:2] == [0.5, 0.75]
    taken = [ratio for ratio in asked if ratio < 0.7]
    assert 0.68 < max(taken) < 0.7


@pytest.mark.parametrize(
    "make",
    [
        lambda: Target(),
        lambda: Target(0.5, 0.01),
        lambda: Target(1.5),
        lambda: Target(0.5, rounds=0),
        lambda: Target(max_drop=-0.1),
    ],
)
def test_nonsense_is_refused(make):
    with pytest.raises(PruningError):
        make()


# A run in a process of its own, so that it can be killed.
SCRIPT = """
    import json
    import os
    import signal
    import sys

    import keras
    import numpy as np

    import tf_channel_prune as tcp

    folder, where = sys.argv[1:3]

    def kill():
        os.kill(os.getpid(), signal.SIGKILL)

    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [
            keras.Input((6,)),
            keras.layers.Dense(16, activation="relu", name="one"),
            keras.layers.Dropout(0.1, seed=3),
            keras.layers.Dense(16, activation="relu", name="two"),
            keras.layers.Dense(3, name="head"),
        ]
    )
    model.compile(
        "sgd",
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=False,
    )
    rng = np.random.default_rng(0)
    x = rng.normal(size=(64, 6)).astype("float32")
    y = (x[:, 0] > 0) + (x[:, 1] > 0) * 1
    evaluations = []

    def evaluate(model):
        evaluations.append(1)
        if where == f"evaluation {len(evaluations)}":
            kill()
        return -float(model.evaluate(x, y, verbose=0, batch_size=64))

    class Kill(keras.callbacks.Callback):
        batches = 0

        def on_train_batch_end(self, batch, logs=None):
            Kill.batches += 1
            if where == f"batch {Kill.batches}":
                kill()

    replace, writes = os.replace, []

    def counted(source, target):
        if str(target).endswith(".npz"):
            writes.append(target)
            if where == f"write {len(writes)}":
                kill()
        replace(source, target)

    os.replace = counted
    pruner = tcp.Pruner(model, folder)
    slim = pruner.run(
        (x, y),
        evaluate,
        ratio=0.6,
        rounds=2,
        tolerance=9.0,
        recipes=tcp.Recipe(0.05, epochs=3, batch_size=8),
        callbacks=[Kill()],
        progress=False,
    )
    print(json.dumps({
        "weights": [np.asarray(w).tolist() for w in slim.weights],
        "scores": [entry.score for entry in pruner.history.rounds],
        "batches": Kill.batches,
        "evaluations": len(evaluations),
    }))
"""


def process(folder, where="nowhere"):
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(SCRIPT), str(folder), where],
        env={**os.environ, "KERAS_BACKEND": "tensorflow"},
        capture_output=True,
        text=True,
        timeout=300,
    )


def finished(done):
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"origin": 1, "rounds": [{"x": 1}]}']
)
def test_a_broken_book_is_said(tmp_path, text):
    (tmp_path / "rounds.json").write_text(text)
    with pytest.raises(StaleFileError, match="Move it away"):
        Book(tmp_path, {})
    with pytest.raises(StaleFileError, match="Move it away"):
        read_run(tmp_path)


@pytest.mark.slow
def test_a_killed_run_ends_as_one_that_was_not(tmp_path):
    """8 batches an epoch, 3 epochs a round, 2 rounds; killed four times."""
    whole = finished(process(tmp_path / "whole"))
    assert whole["batches"] == 48
    folder = tmp_path / "killed"
    kills = [
        "evaluation 1",  # the baseline
        "batch 12",  # in the second epoch of round 1
        "write 3",  # the state after the last epoch of round 1
        "batch 18",  # in round 2
    ]
    for where in kills:
        done = process(folder, where)
        assert done.returncode == -signal.SIGKILL, (where, done.stderr[-2000:])
    resumed = finished(process(folder))
    assert resumed["weights"] == whole["weights"]
    assert resumed["scores"] == whole["scores"]
    assert resumed["batches"] < 24  # what was done is not done again
    again = finished(process(folder))
    assert (again["batches"], again["evaluations"]) == (0, 0)
    assert again["weights"] == whole["weights"]
    left = list(pathlib.Path(folder).rglob("*.tmp*"))
    assert len(left) <= 1


def quick_model():
    import keras

    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [
            keras.Input((6,)),
            keras.layers.Dense(16, activation="relu", name="one"),
            keras.layers.Dense(3, name="head"),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss, jit_compile=False)
    return model


def samples():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(16, 6)).astype("float32")
    return x, rng.integers(0, 3, 16)


def test_a_run_backs_off_and_keeps_the_last_acceptable_model(tmp_path, capsys):
    """A score that falls with the share that is gone: 0.2 may be lost."""
    model = quick_model()

    def evaluate(candidate):
        return 1.0 - tcp.sparsity(candidate, "flops")

    pruner = tcp.Pruner(model, tmp_path)
    slim = pruner.run(
        samples(),
        evaluate,
        ratio=0.75,
        rounds=1,
        tolerance=0.55,
        recipes=tcp.Recipe(0.01, epochs=1, batch_size=8),
        limits={"divisor": 1},
        progress=False,
    )
    history = pruner.history
    assert not history.reached
    assert not history.rounds[0].accepted
    accepted = [entry for entry in history.rounds if entry.accepted]
    assert accepted and accepted[-1].drop <= 0.55
    assert tcp.cost(slim).flops == pytest.approx(
        tcp.cost(model).flops * (1 - accepted[-1].achieved)
    )
    printed = capsys.readouterr().out
    assert "baseline score 1.0000" in printed
    last = accepted[-1].number
    assert f"not reached: the model is that of round {last}." in " ".join(
        printed.split()
    )
    assert (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    "data, scoring",
    [(samples(), "loss"), (samples()[0], "evaluate"), (None, "evaluate")],
    ids=["targets", "inputs", "nothing"],
)
def test_the_analysis_of_a_run_is_on_the_data_of_the_pruner(
    tmp_path, data, scoring
):
    evaluations = []

    def evaluate(model):
        evaluations.append(1)
        return 0.0

    how = {
        "ratio": 0.5,
        "rounds": 1,
        "recipes": tcp.Recipe(0.01, epochs=1, batch_size=8),
        "progress": False,
    }
    pruner = tcp.Pruner(quick_model(), tmp_path, data=data)
    pruner.run(samples(), evaluate, **how)
    origins = [results.origin for results in pruner.workspace.analyses()]
    assert [origin["scoring"] for origin in origins] == [scoring]
    assert pruner.plan is None  # a run's plans are those of its rounds
    # The baseline and one round; the full analysis has 9 more and its own.
    assert len(evaluations) == (2 if scoring == "loss" else 12)


def test_an_evaluation_that_fails_does_so_before_the_analysis(tmp_path):
    pruner = tcp.Pruner(quick_model(), tmp_path, data=samples())
    with pytest.raises(PruningError, match="ZeroDivisionError on the dense"):
        pruner.run(
            samples(),
            lambda model: 1 / 0,
            ratio=0.5,
            recipes=tcp.Recipe(epochs=1),
            progress=False,
        )
    assert not list(pruner.workspace.analyses())


def test_a_run_that_keeps_nothing_gives_the_dense_model(tmp_path, capsys):
    model = quick_model()

    def evaluate(candidate):
        return -tcp.sparsity(candidate, "flops")

    slim = tcp.Pruner(model, tmp_path).run(
        train=lambda model: None,
        evaluate=evaluate,
        max_drop=0.0,
        analyse=False,
        progress=False,
    )
    assert tcp.cost(slim) == tcp.cost(model)
    assert "No round was kept" in " ".join(capsys.readouterr().out.split())


def test_a_run_without_a_score_is_analysed_on_the_data(tmp_path):
    pruner = tcp.Pruner(quick_model(), tmp_path, data=samples())
    pruner.run(train=lambda model: None, ratio=0.5, rounds=1, progress=False)
    assert pruner.sensitivity() is not None


@pytest.mark.parametrize("criterion", [None, "taylor"])
def test_the_loss_of_a_run_goes_before_that_of_its_pruner(tmp_path, criterion):
    """In the analysis and in each round's scores, as in the training."""

    def other(y, predicted):
        raise AssertionError("the loss of the Pruner was taken")

    model = quick_model()
    pruner = tcp.Pruner(model, tmp_path, data=samples(), loss=other)
    pruner.run(
        samples(),
        lambda model: 0.0,
        recipes=tcp.Recipe(0.01, epochs=1, batch_size=8),
        loss=model.loss,
        ratio=0.5,
        rounds=2,
        criterion=criterion,
        progress=False,
    )
    assert pruner.sensitivity(criterion) is not None


@pytest.mark.parametrize(
    "how",
    [
        {"evaluate": lambda model: 0.0, "ratios": (0.5,)},
        {"data": samples(), "metric": "accuracy"},
    ],
    ids=["evaluate", "data"],
)
def test_a_run_makes_no_analysis_beside_one_that_is_there(tmp_path, how):
    model = quick_model()
    tcp.Pruner(model, tmp_path).ana(progress=False, **how)
    pruner = tcp.Pruner(model, tmp_path, data=samples())
    pruner.run(train=lambda model: None, ratio=0.5, rounds=1, progress=False)
    assert len(list(pruner.workspace.analyses())) == 1


def test_unreachable_ratios_are_refused_first(tmp_path):
    pruner = tcp.Pruner(quick_model(), tmp_path)

    def evaluate(model):
        pytest.fail("evaluated before the target was checked")

    with pytest.raises(TargetError):
        pruner.run(
            samples(),
            evaluate,
            ratio=0.9,
            recipes=tcp.Recipe(),
            limits={"max_ratio": 0.5},
            progress=False,
        )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ratio": "0.5"}, "ratio is the share"),
        ({"max_drop": float("nan")}, "max_drop is the loss"),
        ({"ratio": 0.5, "rounds": "a"}, "rounds must be a whole number"),
        ({"ratio": 0.5, "tolerance": float("nan")}, "tolerance is the loss"),
        ({"ratio": 0.5, "steps": "x"}, "geometric, linear"),
        ({"ratio": 0.5, "limits": {"x": 1}}, "limits is a dictionary"),
        ({"ratio": 0.5, "limits": 3}, "limits is a dictionary"),
        ({"max_drop": 0.1, "limits": {"max_ratio": 0}}, "0 to 0.0000"),
        ({"ratio": 0.5, "keep": "x"}, "keep='x'"),
        ({"ratio": 0.5, "seed": "x"}, "seed must be"),
        (
            {"ratio": 0.5, "seed": -1, "train": print, "data": None},
            "seed must be",
        ),
        ({"ratio": 0.5, "limits": {"min_channels": {3: 4}}}, "patterns"),
        ({"ratio": 0.5, "limits": {"allocation": {"*": "1"}}}, "share of the"),
        ({"ratio": 0.5, "of": "latency", "latency": "none.json"}, "be read"),
        ({"ratio": 0.5, "callbacks": 3}, "callbacks is a list"),
        ({"ratio": 0.5, "recipes": 3}, "recipes is a tcp.Recipe"),
        ({"ratio": 0.5, "data": None}, "Give one of data"),
        ({"ratio": 0.5, "data": "x"}, "data is what the model"),
        ({"ratio": 0.5, "data": (np.zeros(3), np.zeros(2))}, "lengths"),
        ({"ratio": 0.5, "train": print}, "Give one of data"),
        ({"ratio": 0.5, "train": 3, "data": None}, "train is a function"),
        ({"ratio": 0.5, "evaluate": None}, "run needs evaluate"),
    ],
)
def test_nonsense_is_refused_before_anything_long(tmp_path, options, message):
    def evaluate(model):
        pytest.fail("evaluated before the arguments were checked")

    given = {"data": samples(), "evaluate": evaluate, "progress": False}
    with pytest.raises(PruningError, match=message):
        tcp.Pruner(quick_model(), tmp_path).run(**{**given, **options})


def test_a_teacher_that_cannot_teach_is_refused_before_anything_long(tmp_path):
    import keras

    x = keras.Input((6,))
    other = keras.Model(x, keras.layers.Dense(5)(x))
    with pytest.raises(PruningError, match="cannot teach"):
        tcp.Pruner(quick_model(), tmp_path).run(
            samples(),
            lambda model: pytest.fail("evaluated"),
            ratio=0.5,
            recipes=tcp.Recipe(),
            distill=other,
            progress=False,
        )


def test_an_uncompiled_model_is_refused_before_anything_long(tmp_path):
    import keras

    model = keras.Sequential(
        [
            keras.Input((6,)),
            keras.layers.Dense(16, activation="relu"),
            keras.layers.Dense(3),
        ]
    )
    with pytest.raises(PruningError, match="is not compiled"):
        tcp.Pruner(model, tmp_path).run(samples(), lambda m: 0.0, ratio=0.5)


def test_a_run_analyses_first_and_tries_no_cut_twice(tmp_path):
    """Nothing may be lost: every cut is refused, each one once."""
    pruner = tcp.Pruner(quick_model(), tmp_path)
    scored = []

    def evaluate(model):
        scored.append(tcp.sparsity(model, "flops"))
        return -scored[-1]

    pruner.run(
        samples(),
        evaluate,
        max_drop=0.0,
        recipes=tcp.Recipe(0.01, epochs=1, batch_size=8),
        limits={"divisor": 4},
        progress=False,
    )
    assert pruner.sensitivity() is not None
    rounds = pruner.history.rounds
    tuned = [entry.achieved for entry in rounds if entry.score is not None]
    assert len(tuned) == len(set(tuned)) < len(rounds) == 4
    assert pruner.history.rounds[-1].note.startswith("the same cut as in")


def test_a_function_that_trains_is_seeded_every_round(tmp_path):
    """What NumPy's global generator gives does not depend on what was."""
    drawn = []

    def train(model):
        drawn.append(np.random.rand())

    for name in ("one", "other"):
        np.random.rand(len(drawn))
        pruner = tcp.Pruner(quick_model(), tmp_path / name)
        pruner.run(
            ratio=0.5,
            rounds=2,
            train=train,
            limits={"divisor": 1},
            progress=False,
        )
        assert [entry.accepted for entry in pruner.history.rounds] == [True] * 2
    assert len(drawn) == 4 and len(set(drawn)) == 1


def test_finetune_is_kept_in_the_workspace(tmp_path):
    pruner = tcp.Pruner(quick_model(), tmp_path)
    sparse = pruner.prune(0.5)
    recipe = tcp.Recipe(0.05, epochs=2, batch_size=8)
    tuned = pruner.finetune(
        sparse, samples(), recipes=recipe, distill=True, progress=False
    )
    assert tcp.sparsity(tuned, "flops") >= 0.5
    assert len(list(tmp_path.glob("finetune/*/recipe-*.npz"))) == 1
    x, y = samples()
    other = pruner.finetune(sparse, (x + 1, y), recipes=recipe, progress=False)
    assert any(
        (np.asarray(a) != np.asarray(b)).any()
        for a, b in zip(tuned.weights, other.weights, strict=True)
    )
    again = pruner.finetune(
        sparse, samples(), recipes=recipe, distill=True, progress=False
    )
    for one, other in zip(tuned.weights, again.weights, strict=True):
        np.testing.assert_array_equal(np.asarray(one), np.asarray(other))
