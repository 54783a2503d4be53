"""`Pruner`: the verbs over a workspace."""

import json
import logging
import os
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
from tf_channel_prune import criteria
from tf_channel_prune import graph as graphs
from tf_channel_prune.errors import PruningError
from tf_channel_prune.errors import StaleFileError
from tf_channel_prune.errors import TargetError
from tf_channel_prune.masking import Masks
from tf_channel_prune.planning import Plan
from tf_channel_prune.transform import compare

TESTS = pathlib.Path(__file__).resolve().parent
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


@pytest.fixture
def model():
    return residual()


@pytest.fixture
def pruner(model, tmp_path):
    return tcp.Pruner(model, workspace=tmp_path / "space")


@pytest.fixture
def analysed(pruner):
    pruner.ana(closeness(pruner.model), progress=False)
    return pruner


def kept(pruner):
    return {name: set(k) for name, k in pruner.plan.kept.items()}


def test_the_verbs_in_a_row(pruner):
    model = pruner.model
    sensitivity = pruner.ana(closeness(model), progress=False)
    assert list(sensitivity.curves) == ["one", "three"]
    assert sensitivity.baseline == 0
    assert max(sensitivity.curves["three"].values()) < 0
    sparse = pruner.prune(ratio=0.5)
    assert pruner.plan.request["by"] == "analysis"
    sparse.compile("adam", "mse")
    sparse.fit(images(), np.zeros((16, 3)), verbose=0)
    slim = pruner.transform(sparse, samples=images())
    assert compare(sparse, slim, images()).equal
    before, after = tcp.cost(model).flops, tcp.cost(slim).flops
    assert after <= before / 2
    assert pruner.plan.achieved["flops"] == pytest.approx(1 - after / before)


@pytest.mark.parametrize(
    "call",
    [
        lambda pruner: tcp.Pruner(pruner.model, 3),
        lambda pruner: tcp.Pruner(pruner.model, ""),
        lambda pruner: tcp.prune(pruner.model, 0.5, exclude=3),
        lambda pruner: tcp.prune(pruner.model, plan=3),
        lambda pruner: pruner.prune(plan=3),
        lambda pruner: pruner.ana(closeness(pruner.model), ratios=0.5),
        lambda pruner: pruner.ana(closeness(pruner.model), jobs="all"),
        lambda pruner: pruner.transform(pruner.prune(0.5), samples=3),
        lambda pruner: pruner.transform(
            pruner.prune(0.5), samples=np.zeros((1, 2, 2))
        ),
    ],
)
def test_arguments_of_the_wrong_kind_are_pruning_errors(pruner, call):
    with pytest.raises(PruningError, match=r"got|take|cannot be read"):
        call(pruner)


def test_one_name_or_an_iterator_of_names_is_excluded(model, tmp_path):
    """An iterator is read once, for the model and for its sparse copies."""
    pruner = tcp.Pruner(model, tmp_path, exclude=iter(["three"]))
    sparse = pruner.prune(0.3)
    pruner.prune(0.5, model=sparse)
    assert set(pruner.plan.kept) == {"one"}
    assert "keeping" in str(pruner.plan)


def test_the_model_given_is_never_changed(model, tmp_path):
    model.compile("adam", "mse")
    weights = [np.array(w) for w in model.get_weights()]
    config = json.dumps(model.get_config(), default=str)
    nodes = [len(layer._inbound_nodes) for layer in model.layers]
    optimizer = model.optimizer
    pruner = tcp.Pruner(model, workspace=tmp_path)
    pruner.ana(closeness(model), progress=False)
    sparse = pruner.prune(threshold=0.05)
    sparse = pruner.prune(ratio=0.6, model=sparse)
    sparse.fit(images(), np.zeros((16, 3)), verbose=0)
    pruner.transform(sparse)
    for before, after in zip(weights, model.get_weights()):
        np.testing.assert_array_equal(before, after)
    assert config == json.dumps(model.get_config(), default=str)
    assert nodes == [len(layer._inbound_nodes) for layer in model.layers]
    assert all(v.constraint is None for v in model.trainable_variables)
    assert model.optimizer is optimizer
    assert optimizer.iterations == 0


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


def test_criterion_by_default(analysed):
    def used(pruner, **how):
        pruner.prune(ratio=0.3, divisor=1, **how)
        return pruner.plan.request["criterion"]

    assert used(analysed) == criteria.DEFAULT_WITH_CURVES
    assert used(analysed, allocation="global") == criteria.DEFAULT
    assert used(analysed, allocation="global", criterion="l1") == "l1"
    without = tcp.Pruner(analysed.model, analysed.workspace.path / "other")
    assert used(without) == criteria.DEFAULT


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


def test_a_model_with_nothing_to_prune_says_why(tmp_path):
    image = keras.Input((4, 4, 2))
    model = keras.Model(image, keras.layers.Conv2D(8, 3, name="conv")(image))
    with pytest.raises(PruningError, match="reaches a model output"):
        tcp.Pruner(model, tmp_path)


def test_a_misspelt_exclude_is_an_error(model, tmp_path):
    with pytest.raises(PruningError, match="exclude='thre'"):
        tcp.Pruner(model, tmp_path, exclude=["thre"])


def test_excluded_channels_stay(model, tmp_path):
    pruner = tcp.Pruner(model, tmp_path, exclude="three")
    sparse = pruner.prune(ratio=0.5)
    slim = pruner.transform(sparse)
    assert slim.get_layer("three").filters == 12
    assert slim.get_layer("one").filters < 8


@pytest.mark.parametrize("of", ["flops", "params", "activation_memory"])
@pytest.mark.parametrize("ratio", [0.2, 0.5])
def test_ratio_is_a_hard_bound(analysed, of, ratio):
    sparse = analysed.prune(ratio=ratio, of=of, divisor=1)
    slim = analysed.transform(sparse)
    field = "activation_bytes" if of == "activation_memory" else of
    before, after = tcp.cost(analysed.model), tcp.cost(slim)
    assert getattr(after, field) <= (1 - ratio) * getattr(before, field)


def test_limits_hold(pruner):
    limits = {"min_channels": 3, "max_ratio": 0.5, "divisor": 2}
    pruner.prune(ratio=0.4, **limits)
    counts = {name: len(k) for name, k in pruner.plan.kept.items()}
    assert counts["one"] >= 4 and counts["three"] >= 6
    assert all(count % 2 == 0 for count in counts.values())
    with pytest.raises(TargetError, match=r"0 to .* can be removed"):
        pruner.prune(ratio=0.9, **limits)


def test_curves_decide_where_an_analysis_is(pruner):
    """By weights `three` would stay; by the analysis it is free to go."""
    scale = pruner.model.get_layer("three").kernel
    scale.assign(scale * 100)
    masks = None

    def evaluate(model):
        nonlocal masks
        masks = masks or Masks(model)
        alive = masks.alive()
        group = next(g for g in masks.channels.groups if g.name == "one")
        return float(alive[group.units].mean())

    by_criterion = pruner.prune(ratio=0.3, divisor=1) and pruner.plan
    pruner.ana(evaluate, progress=False)
    pruner.prune(ratio=0.3, divisor=1)
    assert pruner.plan.request["by"] == "analysis"
    assert len(pruner.plan.kept["one"]) == 8
    assert len(by_criterion.kept["one"]) < 8


def test_threshold_follows_the_curves(pruner):
    """Each removed channel of `one` costs 0.1, each of `three` 0.02."""
    masks = None

    def evaluate(model):
        nonlocal masks
        masks = masks or Masks(model)
        dead = ~masks.alive()
        one, three = (int(dead[g.units].sum()) for g in masks.channels.prunable)
        return 1 - 0.1 * one - 0.02 * three

    with pytest.raises(PruningError, match=r"call ana\(evaluate\) first"):
        pruner.prune(threshold=0.1)
    pruner.ana(evaluate, progress=False)
    for threshold, counts in (
        (0.0, [8, 12]),
        (0.1, [7, 7]),
        (0.11, [7, 7]),
        (0.2, [6, 2]),
        # Nothing beyond ratio 0.9 was measured, so nothing goes there.
        (99.0, [1, 1]),
    ):
        pruner.prune(threshold=threshold + 1e-9, divisor=1)
        assert [len(k) for k in pruner.plan.kept.values()] == counts
    pruner.prune(threshold=0.1 + 1e-9, divisor=4, max_ratio=0.4)
    assert [len(k) for k in pruner.plan.kept.values()] == [8, 8]


def test_a_threshold_makes_one_model(analysed, monkeypatch):
    made = []
    replay = graphs.replay

    def counted(*args, **kwargs):
        made.append(1)
        return replay(*args, **kwargs)

    monkeypatch.setattr(graphs, "replay", counted)
    analysed.prune(threshold=0.05)
    assert len(made) == 1


def test_ranking_looks_at_all_coupled_weights(tmp_path):
    """Unit 0 is tiny in the first layer alone, unit 1 everywhere."""
    model = residual()
    for name in ("one", "two", "three"):
        layer = model.get_layer(name)
        layer.kernel.assign(np.ones(layer.kernel.shape))
    kernel = np.ones((3, 3, 2, 8), "float32")
    kernel[..., :2] = 0.1
    model.get_layer("one").kernel.assign(kernel)
    kernel = np.ones((3, 3, 8, 8), "float32")
    kernel[..., 1] = 0.1
    model.get_layer("two").kernel.assign(kernel)
    pruner = tcp.Pruner(model, tmp_path, exclude="three")
    pruner.prune(ratio=0.05, divisor=1)
    assert kept(pruner)["one"] == {0, 2, 3, 4, 5, 6, 7}
    # BatchNormalization has a say as well.
    model.get_layer("norm").gamma.assign([9, 9, 9, 9, 0, 9, 9, 9])
    model.get_layer("norm").beta.assign(np.zeros(8))
    for name in ("one", "two"):
        layer = model.get_layer(name)
        layer.kernel.assign(np.ones(layer.kernel.shape))
    pruner.prune(ratio=0.05, divisor=1)
    assert kept(pruner)["one"] == {0, 1, 2, 3, 5, 6, 7}


def test_going_on_from_a_sparse_model(pruner):
    first = pruner.prune(ratio=0.3, divisor=1)
    before = kept(pruner)
    first.compile(keras.optimizers.Adam(0.05), "mse")
    first.fit(images(), np.ones((16, 3)), epochs=2, verbose=0)
    trained = np.asarray(first.get_layer("two").layer.kernel)
    second = pruner.prune(ratio=0.6, divisor=1, model=first)
    # Dead channels stay dead, whatever the weights say by now.
    assert all(k <= before[name] for name, k in kept(pruner).items())
    # The ratio counts from the dense model.
    slim = pruner.transform(second)
    share = tcp.cost(slim).flops / tcp.cost(pruner.model).flops
    assert 0.3 < share <= 0.4
    # What stays has the trained weights, and the first model is untouched.
    alive = sorted(kept(pruner)["one"])
    found = np.asarray(second.get_layer("two").layer.kernel)
    np.testing.assert_array_equal(
        found[:, :, alive][..., alive], trained[:, :, alive][..., alive]
    )
    np.testing.assert_array_equal(
        np.asarray(first.get_layer("two").layer.kernel), trained
    )
    assert tcp.sparsity(first, "flops") < tcp.sparsity(second, "flops")


def test_a_lower_ratio_than_before_brings_nothing_back(pruner):
    first = pruner.prune(ratio=0.6, divisor=1)
    before = kept(pruner)
    pruner.prune(ratio=0.3, divisor=1, model=first)
    assert kept(pruner) == before


def test_the_end_of_training_keeps_the_plans_channels(pruner):
    """Trap: ranked again, dead channels might not be the smallest."""
    sparse = pruner.prune(ratio=0.5)
    planned = kept(pruner)
    sparse.compile(keras.optimizers.SGD(1.0), "mse")
    sparse.fit(images(), np.full((16, 3), 5.0), epochs=3, verbose=0)
    slim = pruner.transform(sparse)
    assert slim.get_layer("one").filters == len(planned["one"])
    bias = np.asarray(sparse.get_layer("three").layer.bias)
    np.testing.assert_array_equal(
        np.asarray(slim.get_layer("three").bias), bias[sorted(planned["three"])]
    )


def test_a_slim_model_is_a_new_dense_one(pruner, tmp_path):
    slim = pruner.transform(pruner.prune(ratio=0.3))
    with pytest.raises(PruningError, match="was not made from"):
        pruner.prune(ratio=0.5, model=slim)
    again = tcp.Pruner(slim, tmp_path / "slim")
    slimmer = again.transform(again.prune(ratio=0.3))
    assert tcp.cost(slimmer).flops <= 0.7 * tcp.cost(slim).flops


def test_going_on_with_other_excludes_is_refused(model, pruner, tmp_path):
    sparse = pruner.prune(plan=Plan({"three": [0, 1]}, {"three": 12}))
    other = tcp.Pruner(model, tmp_path, exclude="three")
    with pytest.raises(PruningError, match="must stay whole: three is excl"):
        other.prune(ratio=0.6, model=sparse)


def test_a_plan_is_replayed(pruner):
    sparse = pruner.prune(ratio=0.5)
    path, planned = pruner.plan_path, kept(pruner)
    for plan in (path, str(path), path.name, path.stem, pruner.plan):
        again = pruner.prune(plan=plan)
        assert kept(pruner) == planned
        for a, b in zip(sparse.get_weights(), again.get_weights()):
            np.testing.assert_array_equal(a, b)
    again = tcp.prune(pruner.model, plan=path)
    for a, b in zip(sparse.get_weights(), again.get_weights()):
        np.testing.assert_array_equal(a, b)


def test_an_edited_plan_is_replayed(pruner, tmp_path):
    pruner.prune(ratio=0.5)
    data = json.loads(pruner.plan_path.read_text())
    data["groups"]["three"]["kept"] = [0, 1, 11]
    edited = tmp_path / "edited.json"
    edited.write_text(json.dumps(data))
    slim = pruner.transform(pruner.prune(plan=edited))
    assert slim.get_layer("three").filters == 3


def test_a_plan_brings_nothing_back(pruner):
    pruner.prune(ratio=0.2, divisor=1)
    early = pruner.plan
    sparse = pruner.prune(ratio=0.6, divisor=1)
    late = kept(pruner)
    pruner.prune(plan=early, model=sparse)
    assert all(k <= late[name] for name, k in kept(pruner).items())


def test_a_plan_of_another_graph_is_refused(pruner, tmp_path):
    pruner.prune(ratio=0.5)
    model = residual()
    model.get_layer("relu").max_value = 6.0
    with pytest.raises(StaleFileError, match="another model"):
        tcp.Pruner(model, tmp_path).prune(plan=pruner.plan_path)
    with pytest.raises(StaleFileError, match="another model"):
        tcp.prune(model, plan=pruner.plan_path)


def test_a_plan_of_other_weights_is_noticed(pruner, tmp_path, caplog):
    pruner.prune(ratio=0.5)
    with caplog.at_level(logging.WARNING):
        tcp.Pruner(residual(seed=2), tmp_path).prune(plan=pruner.plan)
    assert "other weights" in caplog.text


@pytest.mark.parametrize(
    "request_",
    [{}, {"ratio": 0.5, "threshold": 0.1}, {"ratio": 0.5, "plan": "x"}],
)
def test_exactly_one_target(pruner, request_):
    with pytest.raises(PruningError, match="exactly one of"):
        pruner.prune(**request_)


SAME = """
import sys
sys.path[:0] = sys.argv[2:]
from small_models import closeness, residual
import tf_channel_prune as tcp

model = residual()
pruner = tcp.Pruner(model, sys.argv[1])
pruner.prune(ratio=0.4)
pruner.ana(closeness(model), ratios=[0.3, 0.6], progress=False)
pruner.prune(ratio=0.5)
"""


def test_two_processes_make_the_same_files(tmp_path):
    found = []
    for seed in ("1", "2"):
        space = tmp_path / seed
        subprocess.run(
            [sys.executable, "-c", SAME, space, SUPPORT, TESTS.parent],
            check=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        )
        found.append(
            {
                str(path.relative_to(space)): path.read_text()
                for path in space.rglob("*.json*")
            }
        )
    assert len(found[0]) == 3
    assert found[0] == found[1]


def test_only_json_and_only_in_the_workspace(model, tmp_path, monkeypatch):
    """Traps: pickle in caches, hard-coded folders in the current one."""
    monkeypatch.chdir(tmp_path)
    pruner = tcp.Pruner(model, workspace="mine")
    pruner.ana(closeness(model), progress=False)
    pruner.transform(pruner.prune(ratio=0.5))
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
    for path in (tmp_path / "mine").rglob("*.json*"):
        text = path.read_text()
        lines = text.splitlines() if path.suffix == ".jsonl" else [text]
        assert all(json.loads(line) for line in lines)


def test_another_process_in_the_workspace_is_told(pruner):
    other = tcp.Pruner(pruner.model, pruner.workspace.path)
    with (
        other.workspace.lock(),
        pytest.raises(PruningError, match="in use by process"),
    ):
        pruner.ana(closeness(pruner.model), progress=False)
