"""Allocations on nets whose plans can be told by hand."""

import itertools

import keras
import numpy as np
import pytest

from tf_channel_prune.analysis import Sensitivity
from tf_channel_prune.api import channels_of
from tf_channel_prune.cost import CostTable
from tf_channel_prune.errors import PruningError
from tf_channel_prune.errors import TargetError
from tf_channel_prune.planning import Budget
from tf_channel_prune.planning import Limits
from tf_channel_prune.planning import Request
from tf_channel_prune.planning import loss_prices
from tf_channel_prune.planning import reachable
from tf_channel_prune.planning.allocation import isomorphic_classes
from tf_channel_prune.planning.budget import within
from tf_channel_prune.planning.knapsack import loss_of
from tf_channel_prune.planning.knapsack import pack
from tf_channel_prune.planning.limits import auto_divisor
from tf_channel_prune.planning.multipliers import descend
from tf_channel_prune.planning.search import Ranking

ONE = Limits(divisor=1)


@pytest.fixture(scope="module")
def chain():
    """Three 1x1 convolutions of 4, 4 and 6 channels; 3 in, 2 classes out."""
    x = keras.Input((1, 1, 3))
    h = keras.layers.Conv2D(4, 1, use_bias=False, name="a")(x)
    h = keras.layers.Conv2D(4, 1, use_bias=False, name="b")(h)
    h = keras.layers.Conv2D(6, 3, padding="same", use_bias=False, name="c")(h)
    h = keras.layers.Flatten()(h)
    return channels_of(keras.Model(x, keras.layers.Dense(2, name="out")(h)))


def _kept(channels, request, scores=None, **rest):
    if scores is None:
        scores = np.arange(channels.unit_count, 0, -1.0)
    alive = request.choose(channels, scores, **rest).alive
    return [int(alive[g.units].sum()) for g in channels.prunable]


def test_uniform_takes_the_same_share_of_all(chain):
    # All at a half: 2*3 + 2*2 + 9*2*3 + 3*2 of 12 + 16 + 216 + 12 products
    # leave 70 of 256, which is the most that can stay under 72 / 256.
    request = Request(1 - 72 / 256, limits=ONE, allocation="uniform")
    assert _kept(chain, request) == [2, 2, 3]


def test_global_ranks_by_score(chain):
    # The units of `c` have the lowest scores, then `b`'s, so `c` goes first.
    request = Request(0.5, limits=ONE, allocation="global")
    assert _kept(chain, request) == [4, 4, 2]


def test_isomorphic_ranks_only_within_a_structure(chain):
    # c's window is 3x3 and its consumer is a Dense layer; b feeds a 3x3.
    assert isomorphic_classes(chain) == [0, 1, 2]
    scores = np.arange(chain.unit_count, 0, -1.0)
    scores[chain.prunable[0].units] *= 1000  # another scale, another kind
    request = Request(1 - 72 / 256, limits=ONE, allocation="isomorphic")
    assert _kept(chain, request, scores) == [2, 2, 3]


def test_isomorphic_groups_share_a_ranking():
    x = keras.Input((4, 4, 3))
    h = keras.layers.Conv2D(4, 3, name="stem")(x)
    for name in "ab":
        h = keras.layers.Conv2D(4, 1, name=name)(h)
    h = keras.layers.Conv2D(4, 1, name="last")(h)
    h = keras.layers.GlobalAveragePooling2D()(h)
    channels = channels_of(keras.Model(x, keras.layers.Dense(2)(h)))
    assert isomorphic_classes(channels) == [0, 1, 1, 2]
    scores = np.ones(channels.unit_count)
    scores[channels.prunable[1].units] = [1, 2, 3, 4]
    scores[channels.prunable[2].units] = [5, 6, 7, 8]
    request = Request(0.05, limits=ONE, allocation="isomorphic")
    kept = _kept(channels, request, scores)
    assert kept[1] < 4 and kept[2] == 4


def test_shares_by_pattern(chain):
    request = Request(allocation={"a": 0.5, "[bc]": 0.25}, limits=ONE)
    assert _kept(chain, request) == [2, 3, 4]  # 25 % of 6 is met by 2 of 6


def test_shares_with_a_ratio_leave_the_rest_to_the_others(chain):
    request = Request(0.5, allocation={"c": 0.0}, limits=ONE)
    assert _kept(chain, request)[2] == 6


@pytest.mark.parametrize(
    "shares, message",
    [
        ({"conv9": 0.5}, "'conv9' fits no group"),
        ({"a": 1.0}, "below 1"),
        ({"a": 0.9}, "the limits keep 2"),
    ],
)
def test_bad_shares_are_refused(chain, shares, message):
    with pytest.raises(PruningError, match=message):
        _kept(chain, Request(allocation=shares, limits=Limits(2, divisor=1)))


def _analysis(channels, curves):
    sizes = {g.name: g.size for g in channels.prunable}
    return Sensitivity(1.0, curves, sizes)


CURVES = {
    "a": {0.25: 0.99, 0.5: 0.97, 0.75: 0.60},
    "b": {0.25: 0.90, 0.5: 0.89, 0.75: 0.88},
    "c": {0.25: 0.999, 0.5: 0.95, 0.75: 0.90},
}


@pytest.mark.parametrize("ratio", [0.1, 0.3, 0.5, 0.6, 0.8])
def test_the_knapsack_finds_the_least_loss(chain, ratio):
    sensitivity = _analysis(chain, CURVES)
    table = CostTable(chain)
    ranking = Ranking(
        chain, np.ones(chain.unit_count), ONE, prices=loss_prices(sensitivity)
    )
    caps = Budget.of(ratio).caps(table)
    least = min(
        loss_of(ranking, counts)
        for counts in itertools.product(*ranking.ladders)
        if within(table, counts, caps)
    )
    packing = pack(ranking, table, caps)
    assert within(table, packing.counts, caps)
    assert packing.loss == pytest.approx(least, rel=0.006, abs=1e-9)
    assert packing.bound <= least + 1e-9
    # Without the integer program, as for latencies.
    descent = descend(ranking, table, caps)
    assert within(table, descent, caps)
    assert loss_of(ranking, descent) >= least - 1e-9


def test_the_descent_is_near_the_best():
    # Six groups of eight: every plan can be tried by one count for all.
    x = keras.Input((1, 1, 3))
    h = x
    for _ in range(6):
        h = keras.layers.Conv2D(8, 1, use_bias=False)(h)
    h = keras.layers.Dense(2)(keras.layers.Flatten()(h))
    channels = channels_of(keras.Model(x, h))
    bends = {g.name: 1 + n for n, g in enumerate(channels.prunable)}
    curves = {
        name: {k / 8: 0.9 - 0.1 * (k / 8) ** bend for k in range(1, 8)}
        for name, bend in bends.items()
    }
    ranking = Ranking(
        channels,
        np.ones(channels.unit_count),
        ONE,
        prices=loss_prices(Sensitivity(0.9, curves, dict.fromkeys(curves, 8))),
    )
    table = CostTable(channels)
    for ratio in (0.3, 0.5, 0.7):
        caps = Budget.of(ratio).caps(table)
        best = pack(ranking, table, caps)
        assert best.bound >= best.loss * 0.98
        descent = loss_of(ranking, descend(ranking, table, caps))
        assert best.loss <= descent <= 1.1 * best.loss


def test_the_sum_of_losses_is_reported(chain):
    choice = Request(0.5, limits=ONE).choose(
        chain,
        np.ones(chain.unit_count),
        sensitivity=_analysis(chain, CURVES),
    )
    explanation = choice.explanation
    assert explanation.allocation == "sensitivity"
    assert explanation.bound <= explanation.loss <= explanation.bound * 1.01
    assert "no plan has less" in str(explanation)


def test_sensitivity_needs_an_analysis(chain):
    with pytest.raises(PruningError, match="call ana first"):
        _kept(chain, Request(0.5, allocation="sensitivity"))


def test_unknown_allocations_are_refused():
    with pytest.raises(PruningError, match="expected one of global"):
        Request(0.5, allocation="greedy")


LIMITS = {
    "one for all": (Limits(3, divisor=1), [3, 3, 3]),
    "by group": (Limits({"a": 3, "*": 2}, divisor=1), [3, 2, 2]),
    "by layer pattern": (Limits(divisor={"[ab]": 2, "c": 3}), [2, 2, 3]),
    "ratio": (Limits(max_ratio={"c": 0.5}, divisor=1), [1, 1, 3]),
}


@pytest.mark.parametrize("case", LIMITS)
def test_limits_by_group(chain, case):
    limits, expected = LIMITS[case]
    found = [int(limits.ladder(g)[-1]) for g in chain.prunable]
    assert found == expected
    table = CostTable(chain)
    (reach,) = reachable(chain, limits, table, ["params"])
    assert reach.least == table.total(expected, "params")
    deepest = Request(reach.ratio, of="params", limits=limits)
    assert _kept(chain, deepest) == expected


def test_a_limit_for_no_group_is_refused(chain):
    with pytest.raises(PruningError, match="min_channels: 'stem' fits no"):
        _kept(chain, Request(0.5, limits=Limits({"stem": 4})))


@pytest.mark.parametrize(
    "size, step",
    [(4, 1), (8, 2), (16, 4), (63, 4), (64, 8), (128, 16), (256, 32)],
)
def test_auto_divisor(size, step):
    assert auto_divisor(size) == step


def test_absolute_and_several_targets(chain):
    table = CostTable(chain)
    request = Request({"params": 100, "flops": 0.3}, limits=ONE)
    counts = _kept(chain, request)
    assert table.total(counts, "params") <= 100
    assert table.relative(counts, "flops") <= 0.7


@pytest.mark.parametrize(
    "ratio", [0, -1, 2, float("nan"), "half", {}, {"flops": -1}, None]
)
def test_bad_targets_are_refused(ratio):
    with pytest.raises(PruningError):
        Request(ratio).budget()


def test_reasons(chain):
    limits = Limits({"a": 4, "c": 3, "*": 1}, divisor=1)
    choice = Request(0.65, limits=limits, allocation={"b": 0.5}).choose(
        chain, np.arange(chain.unit_count, 0, -1.0)
    )
    why = choice.explanation.by_group()
    assert why["a"] == "left whole: min_channels=4 allows nothing smaller"
    assert why["b"] == "as asked for"
    assert why["c"].startswith("as far as min_channels=3 allows")
    text = str(choice.explanation)
    assert "cannot be pruned" in text
    (frozen,) = choice.explanation.frozen
    assert frozen.reason == "it reaches a model output"
    row = next(r for r in choice.explanation.rows if r.group == "b")
    # Half of b: 8 of its own 16 products and 108 of c's 216, of 256.
    assert row.saved == {"flops": pytest.approx(116 / 256)}


def test_shares_say_how_far_a_target_can_go(chain):
    request = Request(0.9, limits=ONE, allocation={"a": 0.0, "c": 0.0})
    # `b` alone can go to one of four: 3*4 + 4 + 9*6 + 6*2 of 256 are left.
    [reach] = request.reach(chain)
    assert reach.ratio == pytest.approx(1 - 82 / 256)
    for refuse in (request.check_reach, lambda c: _kept(c, request)):
        with pytest.raises(TargetError, match=r"0 to 0\.6797.* or allocation"):
            refuse(chain)
