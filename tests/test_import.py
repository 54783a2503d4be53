"""`import tf_channel_prune` costs next to nothing."""

import os
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent

HEAVY = (
    "tensorflow",
    "keras",
    "tf_keras",
    "tensorflow_model_optimization",
    "scipy",
    "matplotlib",
    "jinja2",
    "rich",
    "absl",
)
ROOMS_FOR_LATER = ("export", "report", "cli")

REPORT = """
import sys
import tf_channel_prune
print(*sorted(sys.modules))
"""


@pytest.fixture(scope="module")
def loaded():
    """The names of all modules after a bare import."""
    out = subprocess.run(
        [sys.executable, "-c", REPORT],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return out.split()


@pytest.mark.parametrize("module", HEAVY)
def test_libraries_are_imported_when_used(loaded, module):
    assert module not in loaded


@pytest.mark.parametrize("room", ROOMS_FOR_LATER)
def test_rooms_are_imported_when_used(loaded, room):
    assert f"tf_channel_prune.{room}" not in loaded


def test_functions_win_over_the_rooms_of_their_name():
    import tf_channel_prune as tcp
    import tf_channel_prune.cost.table
    import tf_channel_prune.transform.slim

    assert callable(tcp.cost) and callable(tcp.transform)


def test_every_public_name_exists():
    import tf_channel_prune as tcp

    assert [n for n in tcp.__all__ if not hasattr(tcp, n)] == []


FIRST_IMPORTS = """
import importlib
import os
import sys

import tensorflow  # once for all; its children go on from here

import tf_channel_prune

for name in sys.argv[1:]:
    child = os.fork()
    if child == 0:
        try:
            assert "tf_keras" not in sys.modules
            importlib.import_module(name)
        except BaseException as error:
            print(f"{name}: {error!r}", flush=True)
        os._exit(0)
    os.waitpid(child, 0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_any_module_may_be_the_first_to_import_tf_keras():
    """The masks' holder is imported in the middle of that very import."""
    top_level = re.compile(r"^(import|from) tf_keras", re.MULTILINE)
    names = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in sorted((ROOT / "tf_channel_prune").rglob("*.py"))
        if top_level.search(path.read_text())
    ]
    assert len(names) > 5
    done = subprocess.run(
        [sys.executable, "-c", FIRST_IMPORTS, *names],
        check=True,
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert done.stdout == ""
