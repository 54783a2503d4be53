"""Prices from an analysis: the loss, and no further than was measured."""

import types

import numpy as np
import pytest

from tf_channel_prune.analysis import Sensitivity
from tf_channel_prune.errors import PruningError
from tf_channel_prune.planning import Request
from tf_channel_prune.planning import loss_prices
from tf_channel_prune.planning import measured_prices

RESULT = Sensitivity(1.0, {"a": {0.25: 0.9, 0.5: 0.8}}, {"a": 8})
GROUP = types.SimpleNamespace(name="a", size=8)
COUNTS = np.array([8, 7, 6, 4, 3])


def test_loss_prices():
    found = loss_prices(RESULT)(GROUP, COUNTS)
    np.testing.assert_allclose(found, [0, 0.05, 0.1, 0.2, 0.2])


def test_measured_prices_end_where_the_analysis_did():
    found = measured_prices(RESULT)(GROUP, COUNTS)
    np.testing.assert_allclose(found, [0, 0.05, 0.1, 0.2, np.inf])


def test_a_threshold_needs_an_analysis():
    with pytest.raises(PruningError, match=r"call ana\(evaluate\) first"):
        Request(threshold=0.1).plan(None, None)


@pytest.mark.parametrize(
    ("request_", "fields"),
    [
        (Request(0.5, of="params"), {"ratio": 0.5, "of": "params"}),
        (Request(threshold=0.1), {"threshold": 0.1}),
    ],
)
def test_what_was_asked_is_told(request_, fields):
    limits = {"min_channels": 1, "max_ratio": 1.0, "divisor": "auto"}
    assert request_.as_dict() == {**fields, **limits}
