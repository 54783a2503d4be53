"""`tcp.prune` by allocation, data and targets; `tcp.recalibrate`; jobs."""

import keras
import numpy as np
import pytest

import tf_channel_prune as tcp
from tf_channel_prune.graph.files import write_model
from tf_channel_prune.masking import Masks
from tf_channel_prune.masking.jobs import evaluate_masked


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 240)
    x = rng.normal(0, 0.3, (240, 6, 6, 2))
    x[np.arange(240), y, y, 0] += 2.0
    return x.astype("float32"), y


@pytest.fixture(scope="module")
def model(data):
    keras.utils.set_random_seed(1)
    image = keras.Input((6, 6, 2))
    h = image
    for name, width in (("one", 8), ("two", 12)):
        h = keras.layers.Conv2D(width, 3, padding="same", name=name)(h)
        h = keras.layers.BatchNormalization(name=f"{name}_bn")(h)
        h = keras.layers.ReLU()(h)
    h = keras.layers.Flatten()(h)
    made = keras.Model(image, keras.layers.Dense(3)(h))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    made.compile("adam", loss, metrics=["accuracy"])
    made.fit(*data, epochs=4, verbose=0)
    return made


def _kept(sparse):
    masks = Masks(sparse)
    alive = masks.alive()
    return {g.name: int(alive[g.units].sum()) for g in masks.channels.prunable}


@pytest.mark.parametrize(
    "options, expected",
    [
        ({"allocation": {"two": 0.5}}, {"one": 8, "two": 6}),
        (
            {"allocation": {"two": 0.0}, "ratio": 0.3},
            {"one": 4, "two": 12},
        ),
        ({"ratio": 0.5, "allocation": "uniform"}, {"one": 4, "two": 10}),
    ],
)
def test_allocations(model, options, expected):
    assert _kept(tcp.prune(model, **options)) == expected


def test_the_reach_is_told_before(model, capsys):
    tcp.prune(model, ratio={"flops": 0.3, "params": 2000})
    told = capsys.readouterr().out
    assert "flops reachable: 0 to 0." in told and "params reachable" in told


@pytest.mark.parametrize("criterion", ["l1", "taylor", "apoz"])
def test_data_make_loss_curves(model, data, criterion, capsys):
    sparse = tcp.prune(model, 0.5, criterion=criterion, data=data, divisor=1)
    told = capsys.readouterr().out
    assert "Loss curves: " in told
    better, none = "the best by accuracy has", "none is better by accuracy than"
    assert (better in told) != (none in told)
    assert "Plans: of 16 that cost as much, " in told
    slim = tcp.transform(sparse, samples=data[0][:8])
    before, after = tcp.cost(model), tcp.cost(slim)
    assert after.flops <= 0.5 * before.flops


def test_batches_that_can_be_read_once_will_do(model, data):
    x, y = data
    batches = ((x[i : i + 60], y[i : i + 60]) for i in range(0, 240, 60))
    sparse = tcp.prune(
        model, 0.5, criterion="taylor", data=batches, candidates=3
    )
    assert tcp.sparsity(sparse, of="flops") >= 0.5


def test_the_best_of_the_tried_plans_is_taken(model, data, capsys):
    """By a metric that knows more than the loss."""
    tried = []

    def metric(y, predicted):
        tried.append(predicted[:, 0])
        return predicted[:, 0]

    how = {"data": data, "divisor": 1, "progress": False}
    plain = tcp.prune(model, 0.4, candidates=1, **how)
    assert "Plans: " not in capsys.readouterr().out
    best = tcp.prune(model, 0.4, metric=metric, candidates=8, **how)
    assert len(tried) == 8  # one batch a plan
    scores = [batch.mean() for batch in tried]
    assert max(scores) > scores[0]
    assert f"has {max(scores):.4g}" in capsys.readouterr().out
    assert _kept(best) != _kept(plain)
    for sparse in (plain, best):
        assert tcp.sparsity(sparse, of="flops") >= 0.4
    again = tcp.prune(model, 0.4, metric=metric, candidates=8, **how)
    assert _kept(again) == _kept(best)


@pytest.mark.parametrize("count", [0, 1.5, "many"])
def test_candidates_are_counted(model, data, count):
    with pytest.raises(tcp.PruningError, match="candidates must be"):
        tcp.prune(model, 0.4, data=data, candidates=count)


def test_recalibration_gives_accuracy_back(model, data):
    sparse = tcp.prune(model, 0.5, allocation="uniform")
    before = [w.copy() for w in sparse.get_weights()]
    again = tcp.recalibrate(sparse, data[0])
    for old, new in zip(before, sparse.get_weights()):
        np.testing.assert_array_equal(old, new)
    x, y = data
    loss = sparse.evaluate(x, y, verbose=0)[0]
    assert again.evaluate(x, y, verbose=0)[0] < loss
    assert _kept(again) == _kept(sparse)
    # What is masked stays zero, so the slim model is the same.
    tcp.transform(again, samples=x[:8])


def test_recalibration_of_a_dense_model_is_a_copy(model, data):
    again = tcp.recalibrate(model, (data[0], None))
    mean = np.asarray(again.get_layer("one_bn").moving_mean)
    hidden = np.asarray(model.get_layer("one")(data[0]))
    np.testing.assert_allclose(mean, hidden.mean((0, 1, 2)), rtol=1e-3)
    assert again.get_layer("one_bn") is not model.get_layer("one_bn")


def test_pruner_analyses_on_data(model, data, tmp_path):
    pruner = tcp.Pruner(model, tmp_path)
    curves = pruner.ana(data=data, progress=False)
    assert 0.5 < curves.baseline <= 1.0
    assert pruner.sensitivity() == curves
    points = sum(map(len, curves.curves.values()))
    assert points < 18
    # Nothing is scored again, with or without the data.
    assert tcp.Pruner(model, tmp_path).ana(data=data, progress=False) == curves
    pruner.prune(ratio=0.5)
    assert pruner.plan.request["by"] == "analysis"
    assert set(pruner.plan.why) == {"one", "two"}
    assert "pays" in pruner.plan.explain()
    again = type(pruner.plan).from_json(pruner.plan.to_json())
    assert again == pruner.plan


def test_a_killed_analysis_on_data_goes_on(model, data, tmp_path):
    pruner = tcp.Pruner(model, tmp_path)
    whole = tcp.Pruner(model, tmp_path / "whole").ana(
        data=data, metric="loss", progress=False
    )

    class Killed(Exception):
        pass

    results = pruner.workspace.results(pruner._subject.origin(None, "loss"))
    add, calls = type(results).add, []

    def killing(self, *line):
        add(self, *line)
        calls.append(line)
        if len(calls) == 3:
            raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(results), "add", killing)
        with pytest.raises(Killed):
            pruner.ana(data=data, metric="loss", progress=False)
    assert pruner.sensitivity() is None
    rest = pruner.ana(data=data, metric="loss", progress=False)
    assert rest.baseline == whole.baseline
    for name, curve in whole.curves.items():
        shared = curve.keys() & rest.curves[name].keys()
        assert shared and all(
            curve[r] == pytest.approx(rest.curves[name][r], abs=1e-5)
            for r in shared
        )


def weight_left(model):
    """A score that needs no data."""
    return float(np.abs(np.asarray(model.get_layer("two").layer.kernel)).sum())


def test_several_processes_give_the_same_curves(model, tmp_path):
    ratios = [0.3, 0.6]
    alone = tcp.Pruner(model, tmp_path / "alone").ana(
        weight_left, ratios, progress=False
    )
    several = tcp.Pruner(model, tmp_path / "several").ana(
        weight_left, ratios, progress=False, jobs=2
    )
    for name, curve in alone.curves.items():
        assert several.curves[name] == pytest.approx(curve)


def test_an_evaluation_is_a_plain_function(model, tmp_path):
    file = tmp_path / "sparse.keras"
    sparse = tcp.make_sparse(model)
    write_model(file, sparse)
    units = Masks(sparse).channels.prunable[1].units
    whole = evaluate_masked(str(file), [], weight_left)
    assert whole == pytest.approx(weight_left(sparse))
    left = evaluate_masked(str(file), units[:6].tolist(), weight_left)
    assert 0 < left < whole


def _raises(y, predicted):
    raise ZeroDivisionError("in vain")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"share": 2}, "at most 1"),
        ({"share": "all"}, "at most 1"),
        ({"metric": _raises}, "ZeroDivisionError: in vain"),
        ({"metric": lambda y, p: np.zeros(3)}, r"expected the shape \(240,\)"),
        ({"metric": lambda y, p: 1.0}, "The metric raised IndexError"),
        ({"metric": lambda y, p: y * np.nan}, "not finite"),
    ],
)
def test_a_metric_is_one_finite_number_a_sample(
    model, data, tmp_path, options, message
):
    pruner = tcp.Pruner(model, tmp_path)
    with pytest.raises(tcp.PruningError, match=message):
        pruner.ana(data=data, progress=False, **options)
    assert pruner.sensitivity() is None


def _by_loss(data):
    return lambda model: -model.evaluate(*data, verbose=0)[0]


def _used(pruner, **how):
    pruner.prune(ratio=0.5, divisor=1, **how)
    return pruner.plan.request["criterion"], pruner.plan.request["by"]


def test_an_analysis_on_data_says_which_channels_go(model, data, tmp_path):
    """Whoever prunes by it later needs no data."""
    with_data = tcp.Pruner(model, tmp_path, data=data)
    with_data.ana(data=data, progress=False)
    assert _used(with_data) == ("thinet", "analysis")
    without = tcp.Pruner(model, tmp_path)
    found = without.sensitivity()
    assert found == with_data.sensitivity()
    assert {name: len(one) for name, one in found.expected.items()} == (
        found.sizes
    )
    assert _used(without) == ("thinet", "analysis")
    assert without.plan.kept == with_data.plan.kept
    assert _used(without, allocation="global")[0] == tcp.criteria.DEFAULT


def test_an_analysis_takes_the_loss_of_its_pruner(model, data, tmp_path):
    """Unless it is given one."""
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    found = []
    for name, mine, given in (("a", loss, None), ("b", None, loss)):
        plain = keras.models.clone_model(model)
        plain.set_weights(model.get_weights())
        pruner = tcp.Pruner(plain, tmp_path / name, loss=mine)
        options = {} if given is None else {"loss": given}
        found.append(
            pruner.ana(data=data, metric="loss", progress=False, **options)
        )
    assert found[0] == found[1]


def test_one_call_plans_by_the_curves_of_an_analysis(model, data, tmp_path):
    """Also by what the criterion expects between their points."""
    pruner = tcp.Pruner(model, tmp_path)
    curves = pruner.ana(data=data, metric="loss", progress=False)
    assert curves.expected
    ratios = [i / 20 for i in range(2, 17)]
    by_ana = [_kept(pruner.prune(ratio=ratio, divisor=1)) for ratio in ratios]
    how = {"data": data, "divisor": 1, "candidates": 1, "progress": False}
    assert [_kept(tcp.prune(model, ratio, **how)) for ratio in ratios] == by_ana


class Looks(tcp.criteria.L1):
    """Counts how often it looks at data."""

    name = ""
    uses_data = True
    looked = 0  # of the class: attributes of its own make it another one

    def score(self, channels, data=None, loss=None):
        Looks.looked += 1
        return super().score(channels)


def test_data_are_looked_at_again_for_other_weights(model, data, tmp_path):
    by = Looks()
    pruner = tcp.Pruner(model, tmp_path, data=data)
    pruner.ana(data=data, criterion=by, progress=False)
    sparse = pruner.prune(ratio=0.2, divisor=1, criterion=by)
    assert by.looked == 1
    pruner.prune(ratio=0.4, divisor=1, criterion=by, model=sparse)
    assert by.looked == 2
    without = tcp.Pruner(model, tmp_path)
    without.prune(ratio=0.4, divisor=1, criterion=by, model=sparse)
    assert by.looked == 2


def test_an_analysis_goes_on_in_the_order_it_began_with(model, data, tmp_path):
    """Other data, or an augmentation of them, would order channels anew."""

    calls = []

    def stops(y, predicted):
        calls.append(1)
        if len(calls) > 4:
            raise ValueError("stopped")
        return predicted[:, 0]

    pruner = tcp.Pruner(model, tmp_path)
    with pytest.raises(tcp.PruningError, match="stopped"):
        pruner.ana(data=data, metric=stops, progress=False)
    (file,) = (tmp_path / "analysis").glob("*.jsonl")
    before = file.read_text()
    noise = np.random.default_rng(1).normal(size=data[0].shape)
    pruner.ana(
        data=(noise.astype("float32"), data[1]),
        metric=lambda y, predicted: predicted[:, 0],
        progress=False,
    )
    assert file.read_text().startswith(before)
    assert file.read_text().count("scores") == before.count("scores") == 1


def test_the_weights_decide_where_data_can_be_read_but_once(
    model, data, tmp_path
):
    batches = ((data[0][i : i + 60], data[1][i : i + 60]) for i in (0, 60))
    pruner = tcp.Pruner(model, tmp_path, data=batches)

    pruner.ana(_by_loss(data), ratios=[0.5], progress=False)
    assert _used(pruner) == ("l1", "analysis")


def test_an_analysis_takes_batches_that_can_be_read_but_once(
    model, data, tmp_path
):
    x, y = data
    batches = ((x[i : i + 60], y[i : i + 60]) for i in range(0, 240, 60))
    pruner = tcp.Pruner(model, tmp_path)
    pruner.ana(data=batches, progress=False)
    assert _used(pruner) == ("thinet", "analysis")


def test_both_defaults_are_found(model, data, tmp_path, caplog):
    pruner = tcp.Pruner(model, tmp_path)
    pruner.ana(_by_loss(data), ratios=[0.5], progress=False)
    assert _used(pruner) == ("l1", "analysis")
    pruner.ana(data=data, progress=False)
    caplog.clear()
    assert _used(pruner) == ("thinet", "analysis")
    assert _used(pruner, criterion="l1") == ("l1", "analysis")
    assert "not used" not in caplog.text
    assert pruner.sensitivity("l1").expected == {}
