"""Curves of an analysis, on numbers that can be checked in the head."""

import dataclasses

import numpy as np
import pytest

from tf_channel_prune.analysis import Sensitivity
from tf_channel_prune.analysis import removed_at
from tf_channel_prune.errors import PruningError

RESULT = Sensitivity(
    0.9,
    {
        "a": {0.25: 0.9, 0.5: 0.8, 0.75: 0.6},
        # The score recovers at 0.75: luck, not a reason to prune harder.
        "b": {0.25: 0.95, 0.5: 0.7, 0.75: 0.8},
    },
    {"a": 4, "b": 8},
)


@pytest.mark.parametrize(
    ("group", "share", "loss"),
    [
        ("a", 0.0, 0.0),
        ("a", 0.25, 0.0),
        ("a", 0.5, 0.1),
        ("a", 1.0, 0.3),  # the worst of all that was measured
        ("b", 0.25, 0.0),  # a gain is no loss
        ("b", 0.75, 0.2),  # monotone
        ("b", 0.875, 0.25),  # towards the worst of any group
    ],
)
def test_loss(group, share, loss):
    assert RESULT.loss(group, share) == pytest.approx(loss)


def test_loss_of_many_shares():
    shares = np.array([[0.0, 0.5], [0.75, 1.0]])
    np.testing.assert_allclose(RESULT.loss("a", shares), [[0, 0.1], [0.3, 0.3]])


@pytest.mark.parametrize("group", ["a", "b"])
def test_between_points_losses_only_grow(group):
    losses = RESULT.loss(group, np.linspace(0, 1, 201))
    assert (np.diff(losses) >= -1e-12).all()
    assert losses[0] == 0 and losses[-1] == pytest.approx(0.3)
    # Half-way between the points at 0.5 and 0.75, between their losses.
    low, middle, high = RESULT.loss(group, [0.5, 0.625, 0.75])
    assert low <= middle <= high


def test_a_curve_that_bends_is_met_better_than_by_straight_lines():
    at = [0.3, 0.5, 0.7, 0.9]
    curve = {share: 1 - share**4 for share in at}
    result = Sensitivity(1.0, {"a": curve}, {"a": 10})
    between = np.array([0.2, 0.4, 0.6, 0.8])
    lines = np.interp(between, [0, *at], [0, *(s**4 for s in at)])
    error = np.abs(result.loss("a", between) - between**4)
    assert error.max() < 0.5 * np.abs(lines - between**4).max()


# The criterion expects the fourth power of what goes: 1, 16, ..., 4096.
POWERS = [float(n**4) for n in range(1, 9)]


def test_between_points_a_curve_runs_as_the_criterion_expects():
    """One point says how much it matters, the criterion where it comes."""
    curve = {"a": {0.75: 1 - 0.75**4}}
    evenly = Sensitivity(1.0, curve, {"a": 8})
    told = Sensitivity(1.0, curve, {"a": 8}, {"a": POWERS})
    shares = np.array([0.125, 0.25, 0.375, 0.5, 0.625])
    assert np.abs(told.loss("a", shares) - shares**4).max() < 0.01
    assert np.abs(evenly.loss("a", shares) - shares**4).max() > 0.1
    for result in (told, evenly):  # what was measured stays
        assert result.loss("a", 0.75) == pytest.approx(0.75**4)


def test_what_is_expected_has_no_unit():
    curve = {"a": {0.5: 0.84, 0.75: 0.36}}
    shares = np.linspace(0, 1, 9)
    one, other = (
        Sensitivity(1.0, curve, {"a": 8}, {"a": [k * n for n in POWERS]})
        for k in (1, 1e-9)
    )
    np.testing.assert_allclose(one.loss("a", shares), other.loss("a", shares))


@pytest.mark.parametrize(
    "expected", [[0.0] * 8, [0.0] * 7 + [1.0], [1.0] * 8, [0.0] * 4 + [1.0] * 4]
)
def test_losses_only_grow_whatever_is_expected(expected):
    curve = {"a": {0.25: 0.9, 0.5: 0.8, 0.75: 0.6}}
    result = Sensitivity(1.0, curve, {"a": 8}, {"a": expected})
    losses = result.loss("a", np.linspace(0, 1, 201))
    assert np.isfinite(losses).all() and (np.diff(losses) >= -1e-12).all()
    found = result.loss("a", [0.0, 0.25, 0.5, 0.75, 1.0])
    np.testing.assert_allclose(found, [0, 0.1, 0.2, 0.4, 0.4], atol=1e-12)


def test_scaled_losses():
    twice = RESULT.scaled({"a": 2.0, "b": 1.0})
    np.testing.assert_allclose(
        twice.loss("a", [0.25, 0.5, 0.75]),
        2 * RESULT.loss("a", [0.25, 0.5, 0.75]),
    )
    assert twice.loss("b", 0.5) == pytest.approx(RESULT.loss("b", 0.5))
    told = Sensitivity(1.0, {"a": {0.5: 0.84}}, {"a": 8}, {"a": POWERS})
    np.testing.assert_allclose(
        told.scaled({"a": 2.0}).loss("a", 0.25), 2 * told.loss("a", 0.25)
    )


def test_points_lie_at_the_shares_that_really_went():
    """0.3 of 4 channels is one channel: a quarter."""
    result = Sensitivity(1.0, {"a": {0.3: 0.8}}, {"a": 4})
    assert result.measured("a") == 0.25
    assert result.loss("a", 0.25) == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("size", "ratio", "removed"),
    [(10, 0.1, 1), (4, 0.1, 0), (4, 0.125, 1), (3, 0.9, 2), (2, 0.9, 1)],
)
def test_removed_at(size, ratio, removed):
    assert removed_at(size, ratio) == removed


def test_unknown_group():
    with pytest.raises(PruningError, match="no group 'c'"):
        RESULT.loss("c", 0.5)


def test_json_round_trip():
    assert Sensitivity.from_json(RESULT.to_json()) == RESULT
    told = dataclasses.replace(RESULT, expected={"b": POWERS})
    assert Sensitivity.from_json(told.to_json()) == told


ROW = '{"baseline": 1, "groups": {"a": {"size": 2, "scores": {}, "expected": '


@pytest.mark.parametrize(
    "text",
    [
        "",
        "3",
        '{"baseline": 1}',
        ROW + "[1.0]}}}",
        ROW + "[2.0, 1.0]}}}",
        ROW + "[1.0, NaN]}}}",
        ROW + "3}}}",
    ],
)
def test_what_is_no_analysis_is_refused(text):
    with pytest.raises(PruningError, match="Not an analysis"):
        Sensitivity.from_json(text)


@pytest.mark.parametrize("scale", [1.0, -0.1132, 91.5, -23456.0])
def test_nine_ratios_fit_on_a_screen(scale):
    ratios = [i / 10 for i in range(1, 10)]
    curve = {ratio: scale * (1 - ratio / 100) for ratio in ratios}
    lines = str(Sensitivity(scale, {"three": curve}, {"three": 64}))
    assert "three" in lines
    assert max(map(len, lines.splitlines())) <= 80


def test_what_does_not_fit_is_wide_and_not_cut_off():
    ratios = [i / 10 for i in range(1, 10)]
    curve = {ratio: 1e-7 * (1 - ratio / 9) for ratio in ratios}
    text = str(Sensitivity(1e-7, {"three": curve}, {"three": 64}))
    assert "three" in text and "..." not in text


def test_prints_as_a_table():
    text = str(RESULT)
    assert "baseline 0.9" in " ".join(text.split())
    assert [
        line for line in text.splitlines() if " a " in line and "0.6" in line
    ]


def test_a_loss_instead_of_a_score_is_noticed():
    assert not RESULT.rises
    assert Sensitivity(0.1, {"a": {0.5: 0.4}}, {"a": 4}).rises
