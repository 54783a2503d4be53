"""Versions of Keras that the package works with, and those it does not."""

import configparser
import pathlib

import pytest

from tf_channel_prune.errors import PruningError
from tf_channel_prune.graph import keras_internals

ROOT = pathlib.Path(__file__).parents[2]


@pytest.mark.parametrize("version", ["3.12.0", "3.15.1", "4.0.0rc1"])
def test_new_enough(version):
    keras_internals.check_version(version)


@pytest.mark.parametrize("version", ["3.11.3", "3.5.0", "2.15.0"])
def test_too_old(version):
    with pytest.raises(PruningError, match=f"Keras {version} is too old"):
        keras_internals.check_version(version)


def test_setup_asks_for_the_same():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    required = setup["options"]["install_requires"].split()
    oldest = ".".join(map(str, keras_internals.OLDEST))
    assert f"keras>={oldest}" in required
    tested = (ROOT / "tests" / "oldest.txt").read_text().split()
    assert f"keras=={oldest}.0" in tested
