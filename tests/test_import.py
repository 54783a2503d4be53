"""`import tf_channel_prune` costs next to nothing."""

import pathlib
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


@pytest.mark.parametrize("module", ["tf_keras_opening", "tf_ops"])
def test_a_module_may_be_the_first_to_import_tf_keras(module):
    """The masks' holder is imported in the middle of that very import."""
    code = (
        "import sys; import tf_channel_prune; "
        "assert 'tf_keras' not in sys.modules; "
        f"import tf_channel_prune.graph.{module}"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
