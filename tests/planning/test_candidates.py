"""Random plans that meet a budget."""

import functools

import numpy as np
import pytest
from small_models import residual

from tf_channel_prune.api import channels_of
from tf_channel_prune.cost import CostTable
from tf_channel_prune.errors import TargetError
from tf_channel_prune.planning import Candidate
from tf_channel_prune.planning import Candidates
from tf_channel_prune.planning import Limits
from tf_channel_prune.planning import Request
from tf_channel_prune.planning.candidates import SPREAD
from tf_channel_prune.planning.candidates import random_plan
from tf_channel_prune.planning.candidates import random_prices


@functools.cache
def model():
    channels = channels_of(residual())
    return channels, CostTable(channels)


def plan(number, seed=0, ratio=0.4, limits=None):
    channels, table = model()
    request = Request(ratio, limits=limits or Limits(2, divisor=1))
    scores = np.arange(channels.unit_count, dtype=float)
    return random_plan(channels, scores, request, table, seed, number)


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
