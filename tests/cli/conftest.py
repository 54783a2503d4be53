"""A folder to run commands in."""

import sys

import pytest
from commands import FUNCTIONS
from small_models import residual


@pytest.fixture
def work(tmp_path, monkeypatch):
    """A folder with a model and functions, which is the current one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "mine.py").write_text(FUNCTIONS)
    (tmp_path / "beside.py").write_text("")
    (tmp_path / "broken.py").write_text("1 / 0")
    residual().save("dense.keras")
    return tmp_path
