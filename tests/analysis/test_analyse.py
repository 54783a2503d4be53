"""The loop of an analysis, with a measure that needs no model."""

import types

import numpy as np
import pytest

from tf_channel_prune.analysis import analyse
from tf_channel_prune.analysis import assemble
from tf_channel_prune.analysis import check_ratios
from tf_channel_prune.analysis import score_of
from tf_channel_prune.analysis import sizes_of
from tf_channel_prune.analysis import steps
from tf_channel_prune.channels import ChannelGroup
from tf_channel_prune.errors import PruningError

CHANNELS = types.SimpleNamespace(
    unit_count=7,
    prunable=[
        ChannelGroup("a", ("a",), 4, False, "", np.array([0, 1, 2, 3])),
        ChannelGroup("b", ("b",), 2, False, "", np.array([5, 6])),
    ],
)
SCORES = np.array([3.0, 1.0, 2.0, 4.0, 0.0, 1.0, 2.0])
RATIOS = (0.1, 0.25, 0.5, 0.6, 0.9)


class Kept:
    """Results in memory."""

    def __init__(self, known=()):
        self.known = dict(known)

    def add(self, group, removed, score):
        self.known[group, removed] = score


def test_steps():
    """The lowest go first; a count is tried once; one channel stays."""
    listed = [
        (s.group, s.ratio, s.dead.tolist())
        for s in steps(CHANNELS, SCORES, RATIOS)
    ]
    assert listed == [
        ("", 0.0, []),
        ("a", 0.25, [1]),
        ("a", 0.5, [1, 2]),  # 0.6 of 4 is 2 as well
        ("a", 0.9, [1, 2, 0]),
        ("b", 0.25, [5]),
    ]


def run(results, measure):
    todo = steps(CHANNELS, SCORES, RATIOS)
    analyse(todo, CHANNELS.unit_count, measure, results)
    return assemble(sizes_of(CHANNELS), results.known, RATIOS)


def test_curves():
    result = run(Kept(), lambda alive: alive.sum() / 7)
    assert result.baseline == 1.0
    assert result.curves["a"] == {
        0.1: 1.0,
        0.25: 6 / 7,
        0.5: 5 / 7,
        0.6: 5 / 7,
        0.9: 4 / 7,
    }
    assert set(result.curves["b"].values()) == {1.0, 6 / 7}
    assert result.sizes == {"a": 4, "b": 2}


def test_each_result_is_kept_before_the_next_is_begun():
    results = Kept()
    kept = []

    def measure(alive):
        kept.append(len(results.known))
        return 0.5

    run(results, measure)
    assert kept == [0, 1, 2, 3, 4]


def test_known_results_are_not_evaluated_again():
    results = Kept({("", 0): 0.9, ("a", 1): 0.8})
    calls = []
    result = run(results, lambda alive: calls.append(alive) or 0.5)
    assert len(calls) == 3
    assert result.baseline == 0.9
    assert result.curves["a"][0.25] == 0.8


def fail(alive):
    raise ValueError("no data")


@pytest.mark.parametrize(
    ("evaluate", "message"),
    [
        (lambda: float("nan"), "returned nan on 'a'"),
        (lambda: float("inf"), "returned inf on 'a'"),
        (lambda: None, "returned a NoneType"),
        (lambda: [0.1, 0.9], "returned a list"),
        (lambda: "0.9", "returned a str"),
        (lambda: True, "returned a bool"),
        (lambda: np.array([0.9]), "returned a ndarray"),
        (lambda: fail(None), "raised ValueError on 'a': no data"),
    ],
)
def test_what_is_no_score_is_refused(evaluate, message):
    with pytest.raises(PruningError, match=message):
        score_of(evaluate, "'a'")


@pytest.mark.parametrize("value", [0.5, 1, np.float32(0.5), np.array(0.5)])
def test_numbers_are_scores(value):
    assert score_of(lambda: value, "'a'") == float(value)


def test_a_failure_names_group_and_ratio_and_keeps_the_rest():
    results = Kept()

    def measure(alive):
        return fail(alive) if alive.sum() == 5 else 0.5

    with pytest.raises(PruningError, match=r"group 'a' pruned at ratio 0\.5"):
        run(results, measure)
    assert list(results.known) == [("", 0), ("a", 1)]


@pytest.mark.parametrize("ratios", [[], [0.0], [0.5, 1.0], [float("nan")]])
def test_wrong_ratios_are_refused(ratios):
    with pytest.raises(PruningError, match="ratios is a list of shares"):
        check_ratios(ratios)
    assert check_ratios([0.5, 0.1, 0.5]) == (0.1, 0.5)
