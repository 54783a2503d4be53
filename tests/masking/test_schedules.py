"""Schedules, by hand and beside tensorflow-model-optimization's."""

import pytest

from tf_channel_prune.errors import PruningError
from tf_channel_prune.masking.schedules import Constant
from tf_channel_prune.masking.schedules import OneShot
from tf_channel_prune.masking.schedules import Polynomial
from tf_channel_prune.masking.schedules import final_ratio


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        # 0.8 (1 - (1 - t) ^ 3) at t = 0, 1/4, 1/2, 3/4, 1
        (
            Polynomial(0.8, begin=2, end=10, frequency=2),
            {2: 0.0, 4: 0.4625, 6: 0.7, 8: 0.7875, 10: 0.8},
        ),
        (
            Polynomial(0.8, begin=0, end=4, frequency=2, power=1, initial=0.4),
            {0: 0.4, 2: 0.6, 4: 0.8},
        ),
        # the last step counts although 3 does not divide it
        (
            Polynomial(0.5, begin=0, end=4, frequency=3, power=1),
            {0: 0.0, 3: 0.375, 4: 0.5},
        ),
        (OneShot(0.3, begin=5), {5: 0.3}),
        (
            Constant(0.3, begin=1, end=8, frequency=3),
            {1: 0.3, 4: 0.3, 7: 0.3, 8: 0.3},
        ),
        (Constant(0.3, begin=9, frequency=2), {9: 0.3, 11: 0.3}),
    ],
)
def test_when_and_how_much(schedule, expected):
    due = {}
    for step in range(13):
        now, ratio = schedule(step)
        if now:
            due[step] = pytest.approx(ratio)
    assert due == expected


def test_the_schedules_of_tfmot_agree():
    tfmot = pytest.importorskip("tensorflow_model_optimization")
    theirs = tfmot.sparsity.keras.PolynomialDecay(0.2, 0.8, 3, 23, frequency=5)
    ours = Polynomial(0.8, begin=3, end=23, frequency=5, initial=0.2)
    for step in range(30):
        now, ratio = theirs(step)
        assert bool(now) == ours(step)[0]
        assert float(ratio) == pytest.approx(ours(step)[1], abs=1e-6)
    assert final_ratio(theirs) == final_ratio(ours) == 0.8


@pytest.mark.parametrize(
    "make",
    [
        lambda: OneShot(1.5),
        lambda: Constant(0.5, frequency=0),
        lambda: Polynomial(0.5, begin=5, end=5),
        lambda: Polynomial(0.5, begin=-1, end=5),
    ],
)
def test_nonsense_is_refused(make):
    with pytest.raises(PruningError):
        make()
