"""`Pruner.prune` by ratio and threshold, with and without an analysis."""

import numpy as np
import pytest
from small_models import kept
from small_models import residual

import tf_channel_prune as tcp
from tf_channel_prune import criteria
from tf_channel_prune import graph as graphs
from tf_channel_prune.errors import PruningError
from tf_channel_prune.errors import TargetError
from tf_channel_prune.masking import Masks


def test_criterion_by_default(analysed):
    def used(pruner, **how):
        pruner.prune(ratio=0.3, divisor=1, **how)
        return pruner.plan.request["criterion"]

    assert used(analysed) == criteria.DEFAULT_WITH_CURVES
    assert used(analysed, allocation="global") == criteria.DEFAULT
    assert used(analysed, allocation="global", criterion="l1") == "l1"
    without = tcp.Pruner(analysed.model, analysed.workspace.path / "other")
    assert used(without) == criteria.DEFAULT


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
