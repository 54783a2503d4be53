"""The search: never past a limit, never under the request, hardly over it."""

import types

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from tf_channel_prune.channels import ChannelGroup
from tf_channel_prune.errors import PruningError
from tf_channel_prune.errors import TargetError
from tf_channel_prune.planning import Limits
from tf_channel_prune.planning import plan_for_ratio
from tf_channel_prune.planning import plan_for_threshold


def chain(*sizes):
    """Groups of these sizes, as `Channels` has them."""
    groups, start = [], 0
    for number, size in enumerate(sizes):
        units = np.arange(start, start + size)
        name = f"g{number}"
        groups.append(ChannelGroup(name, (name,), size, False, "", units))
        start += size
    return types.SimpleNamespace(
        prunable=groups, groups=groups, unit_count=start
    )


class ChainCost:
    """Convolutions in a chain: each costs its inputs times its outputs."""

    uncounted = ()

    def __init__(self, channels, ends=(3, 10)):
        self.sizes = np.array([g.size for g in channels.prunable])
        self.ends = ends

    def total(self, counts, of):
        widths = np.array([self.ends[0], *counts, self.ends[1]], float)
        return float((widths[1:] * widths[:-1]).sum())


def counts_of(channels, alive):
    return [int(alive[g.units].sum()) for g in channels.prunable]


def plan(channels, scores, ratio, limits=None, **rest):
    alive = plan_for_ratio(
        channels,
        np.asarray(scores, float),
        ratio,
        limits=limits or Limits(divisor=1),
        table=ChainCost(channels),
        **rest,
    )
    return counts_of(channels, alive), alive


def test_by_hand():
    """One group of 4 between 3 and 10: 52, and 13 less a channel."""
    channels = chain(4)
    counts, alive = plan(channels, [4, 1, 3, 2], 0.25)
    assert counts == [3]
    assert alive.tolist() == [True, False, True, True]
    counts, alive = plan(channels, [4, 1, 3, 2], 0.26)
    assert counts == [2]
    assert alive.tolist() == [True, False, True, False]


def test_max_ratio_holds_under_global_ranking():
    """All scores of the first group are lowest; it must keep its half."""
    channels = chain(64, 64)
    scores = np.r_[np.linspace(0, 1, 64), np.linspace(10, 11, 64)]
    limits = Limits(max_ratio=0.5, divisor=1)
    counts, _ = plan(channels, scores, 0.6, limits)
    assert 32 <= counts[0] <= 33
    assert 32 < counts[1] < 64


def test_divisor_is_part_of_the_search():
    """Rounding after the search would miss the target."""
    channels = chain(64, 96, 40)
    scores = np.random.default_rng(0).random(channels.unit_count)
    cost = ChainCost(channels)
    for ratio in (0.1, 0.3, 0.55, 0.8):
        counts, _ = plan(channels, scores, ratio, Limits(divisor=8))
        assert all(count % 8 == 0 for count in counts)
        full = cost.total(cost.sizes, "flops")
        assert cost.total(counts, "flops") <= full * (1 - ratio)


def test_a_group_ranked_wholly_prunable_goes_to_its_minimum():
    channels = chain(8, 8)
    scores = np.r_[np.full(8, 0.01), np.arange(1.0, 9.0)]
    # 3 * 8 + 8 * 8 + 8 * 10 = 168; with one channel left 3 + 8 + 80 = 91.
    counts, _ = plan(channels, scores, 0.45)
    assert counts == [1, 8]


def test_ties_are_shared_and_the_target_is_met():
    channels = chain(16, 16, 16)
    counts, _ = plan(channels, np.ones(48), 0.5)
    assert max(counts) - min(counts) <= 1
    assert max(counts) < 16


def test_twelve_channels_at_divisor_eight_become_eight():
    counts, _ = plan(chain(12), np.arange(12), 0.3, Limits(divisor=8))
    assert counts == [8]


def test_unreachable_says_what_can_be_reached():
    channels = chain(4)
    limits = Limits(min_channels=2, divisor=1)
    with pytest.raises(TargetError, match=r"0 to 0\.5000 of 52"):
        plan(channels, [4, 1, 3, 2], 0.6, limits)


def test_unreachable_says_why_most_channels_stay_whole():
    channels = chain(4)
    limits = Limits(min_channels=2, divisor=1)
    units = np.arange(4, 12)
    frozen = ChannelGroup("whole", ("whole",), 8, True, "it is odd", units)
    channels.groups = [*channels.prunable, frozen]
    with pytest.raises(TargetError, match=r"8 of 12 .* 'whole': it is odd\."):
        plan(channels, [4, 1, 3, 2], 0.6, limits)


def test_the_dead_stay_dead_and_count():
    channels = chain(4)
    alive = np.array([False, True, True, True])
    # The first channel is gone, whatever its score; a quarter is met.
    counts, after = plan(channels, [9, 1, 3, 2], 0.25, alive=alive)
    assert counts == [3] and not after[0]
    counts, after = plan(channels, [9, 1, 3, 2], 0.5, alive=alive)
    assert after.tolist() == [False, False, True, True]


def test_prices_decide_how_many_and_scores_decide_which():
    """The second group is free, whatever its scores."""
    channels = chain(4, 4)
    scores = [1, 2, 3, 4, 90, 70, 80, 60]

    def prices(group, counts):
        return np.full(len(counts), 5.0 if group.name == "g0" else 0.0)

    counts, alive = plan(channels, scores, 0.5, prices=prices)
    assert counts == [4, 1]
    assert alive[4]


def test_threshold_is_the_largest_cut_within_the_price():
    channels = chain(4, 4)
    prices = {"g0": [0.0, 0.1, 0.2], "g1": [0.3, 0.2, 0.4]}
    alive = plan_for_threshold(
        channels,
        np.arange(8.0),
        0.2,
        lambda group, counts: np.array(prices[group.name]),
        Limits(divisor=1),
    )
    # The second group's first rung costs 0.3; that its next is cheaper does
    # not help.
    assert counts_of(channels, alive) == [1, 4]


@pytest.mark.parametrize(
    "ratio", [0, -0.5, float("nan"), float("inf"), "half", None]
)
def test_wrong_ratios_are_refused(ratio):
    with pytest.raises(PruningError, match="ratio is the share"):
        plan(chain(4), np.ones(4), ratio)


@pytest.mark.parametrize("threshold", [-0.1, float("nan"), "low"])
def test_wrong_thresholds_are_refused(threshold):
    with pytest.raises(PruningError, match="threshold is the loss"):
        plan_for_threshold(chain(4), np.ones(4), threshold, None)


def test_scores_that_are_not_finite_are_refused():
    with pytest.raises(PruningError, match="not finite"):
        plan(chain(4), [1, 2, np.nan, 3], 0.25)


@st.composite
def problems(draw):
    sizes = draw(st.lists(st.integers(2, 40), min_size=1, max_size=6))
    channels = chain(*sizes)
    # Few different scores, so that there are ties.
    scores = draw(
        st.lists(
            st.integers(0, 9),
            min_size=channels.unit_count,
            max_size=channels.unit_count,
        )
    )
    dead = draw(st.sets(st.sampled_from(range(channels.unit_count))))
    alive = np.ones(channels.unit_count, bool)
    alive[list(dead)] = False
    for group in channels.prunable:  # something of each group is left
        alive[group.units[0]] = True
    limits = Limits(
        draw(st.integers(1, 12)),
        draw(st.floats(0, 1)),
        draw(st.sampled_from(["auto", 1, 2, 3, 8, 16])),
    )
    ratio = draw(st.floats(0.01, 0.99))
    return channels, np.array(scores, float), ratio, limits, alive


@hypothesis.given(problems())
@hypothesis.settings(deadline=None, max_examples=200)
def test_within_limits_and_close_to_the_request(problem):
    channels, scores, ratio, limits, living = problem
    table = ChainCost(channels)
    full = table.total(table.sizes, "flops")
    budget = full * (1 - ratio) + 1e-6
    had = counts_of(channels, living)
    ladders = [
        [n, *(c for c in limits.ladder(g.size) if c < n)]
        for g, n in zip(channels.prunable, had)
    ]
    least = [ladder[-1] for ladder in ladders]
    try:
        counts, alive = plan(channels, scores, ratio, limits, alive=living)
    except TargetError:
        assert table.total(least, "flops") > budget
        return
    assert not alive[~living].any()
    assert all(count in ladder for count, ladder in zip(counts, ladders))
    assert table.total(counts, "flops") <= budget
    for g, (count, ladder) in enumerate(zip(counts, ladders)):
        if count < ladder[0]:
            higher = list(counts)
            higher[g] = ladder[ladder.index(count) - 1]
            assert table.total(higher, "flops") > budget
    for group in channels.prunable:
        kept = scores[group.units[alive[group.units]]]
        gone = (living & ~alive)[group.units]
        if gone.any():
            assert scores[group.units[gone]].max() <= kept.min()
