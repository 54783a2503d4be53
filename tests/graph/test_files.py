"""Files are written whole or not at all."""

import pytest

from tf_channel_prune.errors import PruningError
from tf_channel_prune.graph import files


def test_a_write_that_fails_leaves_the_old_file(tmp_path):
    path = tmp_path / "plans" / "one.json"
    files.write_text(path, "old")

    def broken(to):
        to.write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(PruningError, match=r"one\.json cannot be written: No"):
        files.write_whole(path, broken)
    assert path.read_text() == "old"
    assert [p.name for p in path.parent.iterdir()] == ["one.json"]


def test_what_is_in_the_way_is_one_sentence(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(PruningError, match="cannot be written"):
        files.write_text(blocked / "plan.json", "1")


@pytest.mark.parametrize("letter", ["x", "é"])
def test_long_names(tmp_path, letter):
    """As long as a file's name may be, and longer."""
    files.write_text(tmp_path / (120 * letter + ".json"), "1")
    with pytest.raises(PruningError, match="cannot be written"):
        files.write_text(tmp_path / (260 * letter + ".json"), "1")
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("name", ["slim", "slim.txt", "slim.keras.bak"])
def test_a_model_needs_a_suffix_that_keras_knows(name):
    with pytest.raises(PruningError, match=r"\.keras or \.h5"):
        files.write_model(name, None)
