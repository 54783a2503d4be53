"""Prices from an analysis: the loss, and no further than was measured."""

import types

import numpy as np

from tf_channel_prune.analysis import Sensitivity
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
