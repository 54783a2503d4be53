"""Plans that meet a budget: at random, and near those of loss curves."""

import functools

import keras
import numpy as np
import pytest
from small_models import residual

from tf_channel_prune.analysis import Sensitivity
from tf_channel_prune.api import channels_of
from tf_channel_prune.cost import CostTable
from tf_channel_prune.errors import TargetError
from tf_channel_prune.planning import Candidate
from tf_channel_prune.planning import Candidates
from tf_channel_prune.planning import Limits
from tf_channel_prune.planning import Request
from tf_channel_prune.planning.candidates import try_plans
from tf_channel_prune.planning.proposals import SPREAD
from tf_channel_prune.planning.proposals import NearPlans
from tf_channel_prune.planning.proposals import Problem
from tf_channel_prune.planning.proposals import RandomPlans
from tf_channel_prune.planning.proposals import climb
from tf_channel_prune.planning.proposals import proposals
from tf_channel_prune.planning.proposals import random_prices


@functools.cache
def model():
    channels = channels_of(residual())
    return channels, CostTable(channels)


@functools.cache
def chain():
    """Six groups of 16 channels."""
    x = h = keras.Input((8, 8, 3))
    for _ in range(6):
        h = keras.layers.Conv2D(16, 3, padding="same")(h)
    h = keras.layers.GlobalAveragePooling2D()(h)
    channels = channels_of(keras.Model(x, keras.layers.Dense(3)(h)))
    return channels, CostTable(channels)


def problem(ratio=0.4, limits=None, curves=None, of=model):
    channels, table = of()
    request = Request(ratio, limits=limits or Limits(2, divisor=1))
    scores = np.arange(channels.unit_count, dtype=float)
    return Problem(channels, scores, request, table, curves=curves)


def plan(number, seed=0, **options):
    return RandomPlans(problem(**options), seed).plan(number)


def parabolas(slopes, of=model):
    """Loss curves that grow with the square of the share."""
    channels, _ = of()
    sizes = {group.name: group.size for group in channels.prunable}
    return Sensitivity(
        1.0,
        {
            name: {r / 10: 1 - slope * (r / 10) ** 2 for r in range(1, 10)}
            for name, slope in zip(sizes, slopes)
        },
        sizes,
    )


def test_plans_are_in_budget_and_hardly_over_it():
    _, table = model()
    for number in range(1, 20):
        counts = table.counts(plan(number))
        removed = 1 - table.relative(counts, "flops")
        assert removed >= 0.4 and counts.min() >= 2
        for g, count in enumerate(counts):
            if count < table.sizes[g]:
                more = counts + (np.arange(len(counts)) == g)
                assert 1 - table.relative(more, "flops") < 0.4


def test_plans_differ_and_the_same_number_is_the_same_plan():
    plans = [plan(number) for number in range(1, 20)]
    assert len({p.tobytes() for p in plans}) >= 3
    np.testing.assert_array_equal(plan(7), plan(7))
    assert any(
        not np.array_equal(plan(n), plan(n, seed=1)) for n in range(1, 20)
    )


def test_paces_are_within_the_spread():
    channels, _ = model()
    half = {g.name: np.array([g.size / 2]) for g in channels.prunable}
    prices = random_prices(channels.prunable, 0, 1)
    found = [float(prices(g, half[g.name])[0]) for g in channels.prunable]
    assert all(0.5 / SPREAD <= price <= 0.5 for price in found)


def test_the_worst_channels_of_a_group_go():
    channels, _ = model()
    alive = plan(3)
    for group in channels.prunable:
        kept = np.flatnonzero(alive[group.units])
        # Scores ascend with the unit's number.
        assert kept.tolist() == list(range(group.size - len(kept), group.size))


def test_what_cannot_be_reached_is_refused():
    with pytest.raises(TargetError):
        plan(1, ratio=0.99, limits=Limits(6, divisor=1))


def test_without_curves_plans_are_random():
    assert isinstance(proposals(problem(), 0), RandomPlans)
    near = proposals(problem(curves=parabolas([0.1, 0.2, 0.3])), 0)
    assert isinstance(near, NearPlans)
    np.testing.assert_array_equal(near.plan(0), near.problem.first.alive)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_climbing_finds_what_curves_do_not_know(seed):
    """The curves call all groups alike; the truth is that one is dear."""
    channels, table = chain()
    dear = channels.prunable[2].units

    def score(alive, number):
        return float(alive[dear].sum())

    asked = problem(curves=parabolas([0.3] * 6, chain), of=chain)
    found = climb(NearPlans(asked, seed), score, 16)
    scores = [s for _, s in found]
    assert max(scores) > scores[0]
    for alive, _ in found:
        counts = table.counts(alive)
        assert table.removed(alive, "flops") >= 0.4 and counts.min() >= 2
    # Later ones go on from the best so far, and none is tried twice.
    assert np.mean(scores[8:]) > np.mean(scores[:4])
    assert len({alive.tobytes() for alive, _ in found}) == 16
    again = climb(NearPlans(asked, seed), score, 16)
    assert all(np.array_equal(a, b) for (a, _), (b, _) in zip(found, again))


def _third(scores):
    """The third plan after two that scored so."""
    curves = parabolas([0.3] * 6, chain)
    plans = NearPlans(problem(curves=curves, of=chain), 0)
    for number, score in enumerate(scores):
        plans.plan(number)
        plans.note(number, score)
    return plans.plan(2).tolist()


def test_the_best_plan_so_far_is_gone_on_from():
    stayed = _third([0.5, 0.1])
    assert _third([0.5, 0.5]) == stayed  # no better
    assert _third([0.5, 0.9]) != stayed


@pytest.mark.parametrize(("gain", "better"), [(0.005, False), (0.05, True)])
def test_a_plan_is_taken_where_it_is_better_than_by_chance(gain, better):
    """Every plan but the first is better by as much; 400 paired scores."""
    noise = np.random.default_rng(0).normal(0, 0.1, (8, 400))
    noise -= noise.mean(axis=1, keepdims=True)

    def score(alive, number):
        return noise[number] + gain * min(number, 1)

    asked = problem(curves=parabolas([0.3] * 6, chain), of=chain)
    found, alive = try_plans(asked, score, 8)
    assert (found.best.number > 0) == better
    assert np.array_equal(alive, asked.first.alive) != better
    for row in found.rows[1:]:
        assert row.score == pytest.approx(gain)
        # Of the difference of two that are independent: sqrt(2 / 400) / 10.
        assert row.error == pytest.approx(0.00707, rel=0.1)
    # One number a plan has no error: the best is taken.
    found, _ = try_plans(asked, lambda alive, n: score(alive, n).mean(), 8)
    assert found.best.number > 0 and found.rows[1].error == 0


def test_the_table_has_the_best_first():
    rows = tuple(
        Candidate(n, "random", score, {"flops": 0.5}, (1, 2))
        for n, score in enumerate([0.2, 0.9, 0.9])
    )
    found = Candidates(rows)
    assert found.best.number == 1
    text = str(found)
    assert text.index("0.9000") < text.index("0.2000")
    assert "flops removed" in text
