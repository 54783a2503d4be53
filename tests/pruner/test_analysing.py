"""`Pruner.ana` by an evaluation: what is called, kept and said."""

import logging
import pathlib
import signal
import subprocess
import sys

import keras
import numpy as np
import pytest
from small_models import closeness
from small_models import images
from small_models import residual

import tf_channel_prune as tcp
from tf_channel_prune import graph as graphs
from tf_channel_prune.errors import PruningError

TESTS = pathlib.Path(__file__).resolve().parents[1]
SUPPORT = TESTS / "support"


class Counting:
    """An evaluation that remembers how often it was called, and can fail."""

    def __init__(self, evaluate, stop_at=None, error=KeyboardInterrupt):
        self.evaluate = evaluate
        self.calls = 0
        self.models = set()
        self.stop_at = stop_at
        self.error = error

    def __call__(self, model):
        self.calls += 1
        self.models.add(id(model))
        if self.calls == self.stop_at:
            raise self.error("stopped")
        return self.evaluate(model)


def test_one_model_is_analysed_and_never_traced_again(pruner, monkeypatch):
    tf = pytest.importorskip("tensorflow")
    score = closeness(pruner.model)
    traces, compiled, made = [], {}, []
    replay = graphs.replay

    def counted(*args, **kwargs):
        made.append(1)
        return replay(*args, **kwargs)

    def evaluate(model):
        if id(model) not in compiled:

            @tf.function
            def run(x):
                traces.append(1)
                return model(x)

            compiled[id(model)] = run
        compiled[id(model)](tf.constant(images()))
        return score(model)

    monkeypatch.setattr(graphs, "replay", counted)
    counting = Counting(evaluate)
    pruner.ana(counting, progress=False)
    assert len(traces) == len(counting.models) == 1
    # One sparse model, and the two slim ones of the rehearsal.
    assert len(made) == 3
    # 9 ratios of 8 channels remove 7 different counts, of 12 all 9.
    assert counting.calls == 1 + 7 + 9


def test_the_analysis_leaves_the_copy_as_it_was(pruner):
    scores = []

    def evaluate(model):
        scores.append(np.asarray(model(images())))
        return 0.0

    pruner.ana(evaluate, ratios=[0.5], progress=False)
    again = tcp.Pruner(pruner.model, pruner.workspace.path / "again")
    again.ana(evaluate, ratios=[0.5], progress=False)
    for first, second in zip(scores[:3], scores[3:]):
        np.testing.assert_array_equal(first, second)
    np.testing.assert_allclose(
        scores[0], np.asarray(pruner.model(images())), atol=1e-6
    )


def test_an_interrupted_analysis_goes_on(model, tmp_path, caplog):
    evaluate = closeness(model)
    whole = Counting(evaluate)
    first = tcp.Pruner(model, tmp_path / "whole").ana(whole, progress=False)
    pruner = tcp.Pruner(model, tmp_path / "parts")
    done = 0
    for stop_at in (1, 4, 6):
        part = Counting(evaluate, stop_at)
        with pytest.raises(KeyboardInterrupt):
            pruner.ana(part, progress=False)
        done += part.calls - 1
    with caplog.at_level(logging.WARNING):
        assert pruner.sensitivity() is None
    assert "not finished" in caplog.text
    rest = Counting(evaluate)
    again = tcp.Pruner(residual(), tmp_path / "parts").ana(rest, progress=False)
    assert done + rest.calls == whole.calls
    assert again == first
    # Known by now: nothing is evaluated, no model is made.
    assert pruner.ana(None, progress=False) == first
    assert pruner.sensitivity() == first


KILLED = """
import os, sys
sys.path[:0] = sys.argv[3:]
from small_models import closeness, residual
import tf_channel_prune as tcp

model = residual()
score = closeness(model)
calls = []

def evaluate(other):
    calls.append(1)
    if len(calls) == int(sys.argv[2]):
        os.kill(os.getpid(), 9)
    return score(other)

tcp.Pruner(model, sys.argv[1]).ana(evaluate, progress=False)
"""


def test_a_kill_loses_one_evaluation(model, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", KILLED, tmp_path, "6", SUPPORT, TESTS.parent],
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    rest = Counting(closeness(model))
    tcp.Pruner(model, tmp_path).ana(rest, progress=False)
    assert rest.calls == 17 - 5


def test_a_failing_evaluation_keeps_what_was_there(pruner):
    failing = Counting(closeness(pruner.model), 3, ValueError)
    with pytest.raises(PruningError, match=r"'one' pruned at ratio 0\.2"):
        pruner.ana(failing, progress=False)
    rest = Counting(closeness(pruner.model))
    pruner.ana(rest, progress=False)
    assert rest.calls == 17 - 2


@pytest.mark.parametrize("change", ["weights", "graph", "exclude", "criterion"])
def test_an_analysis_of_something_else_is_noticed(analysed, change, caplog):
    """Traps: keyed by the model's name; other excludes reuse it."""
    model, exclude, criterion = analysed.model, [], "l1"
    space = analysed.workspace.path
    if change == "weights":
        bias = model.get_layer("two").bias
        bias.assign(bias + 1)
    elif change == "graph":
        model = residual(names=("one", "two", "four"))
    elif change == "exclude":
        exclude = ["three"]
    else:
        criterion = "lamp"
    other = tcp.Pruner(model, space, exclude)
    with caplog.at_level(logging.WARNING):
        assert other.sensitivity(criterion) is None
    assert "is not used" in caplog.text
    counting = Counting(closeness(model))
    other.ana(counting, criterion=criterion, progress=False)
    assert counting.calls > 1
    assert len(list((space / "analysis").glob("*.jsonl"))) == 2


def test_an_analysis_needs_something_to_score_by(pruner):
    with pytest.raises(PruningError, match="ana needs evaluate"):
        pruner.ana()


def test_a_loss_instead_of_a_score_is_said(pruner, caplog):
    score = closeness(pruner.model)
    with caplog.at_level(logging.WARNING):
        pruner.ana(lambda model: -score(model), [0.5], progress=False)
    assert "larger must mean better" in caplog.text


def test_data_that_the_model_does_not_know_are_said(tmp_path, caplog):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(8)])
    model.add(keras.layers.Dense(1))
    x = np.ones((8, 4), "float32")
    data = x, np.zeros((8, 1), "float32")
    pruner = tcp.Pruner(model, tmp_path, data=data, loss="mse")
    with caplog.at_level(logging.WARNING):
        pruner.ana(metric="loss", progress=False)
    assert "not trained on data like these" in caplog.text
    assert "larger must mean better" not in caplog.text


def test_a_model_that_cannot_be_pruned_fails_before_any_evaluation(
    tmp_path, monkeypatch
):
    """A layer that breaks when it is rebuilt is found by the rehearsal."""
    model = residual()
    pruner = tcp.Pruner(model, tmp_path)
    counting = Counting(closeness(model))
    from_config = keras.layers.Conv2D.from_config.__func__

    def narrow(cls, config):
        layer = from_config(cls, config)
        if config["name"] == "three" and config["filters"] < 12:
            layer.activation = keras.activations.linear
        return layer

    monkeypatch.setattr(keras.layers.Conv2D, "from_config", classmethod(narrow))
    with pytest.raises(PruningError, match=r"channels of 'three'.*differ"):
        pruner.ana(counting, progress=False)
    assert counting.calls == 0
    assert not (tmp_path / "analysis").exists()
