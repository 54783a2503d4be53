"""Ladders: the counts that a group may keep."""

import pytest

from tf_channel_prune.errors import PruningError
from tf_channel_prune.planning import Limits


@pytest.mark.parametrize(
    ("size", "limits", "ladder"),
    [
        (4, Limits(divisor=1), [4, 3, 2, 1]),
        (4, Limits(divisor=1, min_channels=3), [4, 3]),
        # A group smaller than the minimum is left whole.
        (4, Limits(divisor=1, min_channels=5), [4]),
        (64, Limits(divisor=8, max_ratio=0.5), [64, 56, 48, 40, 32]),
        # 0.7 * 10 is 6.999... in floats; 7 of 10 may go.
        (10, Limits(divisor=1, max_ratio=0.7), [10, 9, 8, 7, 6, 5, 4, 3]),
        (10, Limits(max_ratio=0), [10]),
        # Rounding never raises a count above the size of the group.
        (28, Limits(divisor=16), [28, 16]),
        # The first rung of 12 channels in eights is 8, not 12.
        (12, Limits(divisor=8), [12, 8]),
        (5, Limits(divisor=8), [5]),
        # "auto": 8 from 64 channels on, 4 from 16, 2 from 8, else 1.
        (70, Limits(), [70, 64, 56, 48, 40, 32, 24, 16, 8]),
        (16, Limits(), [16, 12, 8, 4]),
        (9, Limits(), [9, 8, 6, 4, 2]),
        (3, Limits(), [3, 2, 1]),
    ],
)
def test_ladder(size, limits, ladder):
    assert limits.ladder(size).tolist() == ladder


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"min_channels": 0}, "min_channels must be at least 1"),
        ({"max_ratio": 1.5}, "max_ratio is a share"),
        ({"divisor": 0}, "divisor must be"),
        ({"divisor": "eight"}, "divisor must be"),
        ({"min_channels": True}, "min_channels must be at least 1"),
        ({"max_ratio": "0.5"}, "max_ratio is a share"),
    ],
)
def test_wrong_limits_are_refused(wrong, message):
    with pytest.raises(PruningError, match=message):
        Limits(**wrong)
