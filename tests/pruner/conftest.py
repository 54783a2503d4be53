"""A small model, and a `Pruner` before and after its analysis."""

import pytest
from small_models import closeness
from small_models import residual

import tf_channel_prune as tcp


@pytest.fixture
def model():
    return residual()


@pytest.fixture
def pruner(model, tmp_path):
    return tcp.Pruner(model, workspace=tmp_path / "space")


@pytest.fixture
def analysed(pruner):
    pruner.ana(closeness(pruner.model), progress=False)
    return pruner
