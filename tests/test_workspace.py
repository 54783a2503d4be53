"""Files are written whole or not at all, and never mixed up."""

import json
import subprocess
import sys

import pytest

from tf_channel_prune.errors import PruningError
from tf_channel_prune.errors import StaleFileError
from tf_channel_prune.workspace import Workspace

ORIGIN = {"graph": "g", "weights": "w", "groups": "x", "criterion": "l2"}


def test_nothing_is_made_before_something_is_written(tmp_path):
    space = Workspace(tmp_path / "runs" / "one")
    assert space.results(ORIGIN).known == {}
    assert not (tmp_path / "runs").exists()


def test_results_are_on_disk_one_by_one(tmp_path):
    results = Workspace(tmp_path).results(ORIGIN)
    results.add("", 0, 0.9)
    results.add("a", 3, 0.8)
    lines = results.path.read_text().splitlines()
    assert json.loads(lines[0])["origin"] == ORIGIN
    assert json.loads(lines[2]) == {"group": "a", "removed": 3, "score": 0.8}
    again = Workspace(tmp_path).results(ORIGIN)
    assert again.known == {("", 0): 0.9, ("a", 3): 0.8}
    assert again.ratios is None
    again.finish((0.1, 0.5), {"a": 8})
    again.finish((0.1, 0.5), {"a": 8})
    assert len(results.path.read_text().splitlines()) == 4
    known = Workspace(tmp_path).results(ORIGIN)
    assert (known.ratios, known.sizes) == ((0.1, 0.5), {"a": 8})


@pytest.mark.parametrize("cut", range(1, 50))
def test_a_line_cut_by_a_kill_is_lost_alone(tmp_path, cut):
    results = Workspace(tmp_path).results(ORIGIN)
    results.add("", 0, 0.9)
    whole = results.path.stat().st_size
    results.add("a", 3, 0.8)
    results.path.write_bytes(results.path.read_bytes()[:-cut])
    again = Workspace(tmp_path).results(ORIGIN)
    assert again.known.get(("a", 3)) is None
    expected = {("", 0): 0.9} if results.path.stat().st_size >= whole else {}
    assert again.known == expected
    again.add("b", 1, 0.7)
    after = Workspace(tmp_path).results(ORIGIN).known
    assert after == {**expected, ("b", 1): 0.7}


@pytest.mark.parametrize("name", ORIGIN)
def test_results_of_another_origin_are_noticed_and_kept(tmp_path, name):
    space = Workspace(tmp_path)
    space.results(ORIGIN).add("", 0, 0.9)
    other = {**ORIGIN, name: "other"}
    assert space.results(other).known == {}
    [differs] = space.other_results(other).values()
    assert differs == [name]
    space.results(other).add("", 0, 0.5)
    assert space.results(ORIGIN).known == {("", 0): 0.9}


@pytest.mark.parametrize(
    "text", ["no json\n", "[]\n", '{"origin": 1}\n', '{"\xe9": 1}\n']
)
def test_a_file_that_is_no_analysis_is_not_in_the_way(tmp_path, text):
    space = Workspace(tmp_path)
    space.results(ORIGIN).add("", 0, 0.9)
    notes = tmp_path / "analysis" / "notes.jsonl"
    notes.write_text(text, encoding="latin-1")
    assert space.other_results(ORIGIN) == {"notes.jsonl": ["format"]}


@pytest.mark.parametrize(
    "text", ["{}\n", "no json\n", '{"origin": 1}\n{}\n', '{"\xe9": 1}\n']
)
def test_a_file_that_is_no_analysis_is_refused(tmp_path, text):
    results = Workspace(tmp_path).results(ORIGIN)
    results.add("", 0, 0.9)
    results.path.write_text(text, encoding="latin-1")
    with pytest.raises(StaleFileError, match="Move it away"):
        Workspace(tmp_path).results(ORIGIN)
    assert results.path.read_text(encoding="latin-1") == text


def test_plans_never_overwrite_another(tmp_path):
    space = Workspace(tmp_path)
    one = space.save_plan("1", "flops-0.5")
    two = space.save_plan("2", "flops-0.5")
    assert one != two
    assert space.save_plan("1", "flops-0.5") == one
    assert (one.read_text(), two.read_text()) == ("1", "2")


def test_a_plan_that_was_edited_stays_and_is_not_taken_for_the_other(tmp_path):
    space = Workspace(tmp_path)
    first = space.save_plan("1", "flops-0.5")
    assert space.is_as_saved(first)
    first.write_text("mine")
    second = space.save_plan("1", "flops-0.5")
    assert second.name == f"{first.stem}-2.json"
    assert space.save_plan("1", "flops-0.5") == second
    second.write_bytes(b"\xff mine too")
    third = space.save_plan("1", "flops-0.5")
    assert third.name == f"{first.stem}-3.json"
    assert (first.read_text(), third.read_text()) == ("mine", "1")
    saved = [space.is_as_saved(path) for path in (first, second, third)]
    assert saved == [False, False, True]


def test_the_path_is_the_users_and_stays_where_it_was(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Workspace("~/runs").path == tmp_path / "runs"
    monkeypatch.chdir(tmp_path)
    space = Workspace("space")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    assert space.save_plan("1", "a").parent == tmp_path / "space" / "plans"


def test_names_that_no_file_can_have_are_one_sentence(tmp_path):
    with pytest.raises(PruningError, match="There is no plan"):
        Workspace(tmp_path).find_plan("x" * 999)
    with (
        pytest.raises(PruningError, match="cannot be written"),
        Workspace(tmp_path / ("x" * 999)).lock(),
    ):
        pass


def test_a_plan_is_found_by_path_and_by_name(tmp_path, monkeypatch):
    space = Workspace(tmp_path / "space")
    path = space.save_plan("1", "flops-0.5")
    monkeypatch.chdir(tmp_path)
    for given in (path, str(path), path.name, path.stem):
        assert space.find_plan(given).samefile(path)
    with pytest.raises(PruningError, match=r"no plan other\.json"):
        space.find_plan("other.json")


HOLD = """
import sys, time
from tf_channel_prune.workspace import Workspace
with Workspace(sys.argv[1]).lock():
    print("held", flush=True)
    time.sleep(60)
"""


def test_one_process_at_a_time_and_a_kill_frees_it(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE
    ) as other:
        assert other.stdout.readline() == b"held\n"
        message = f"in use by process {other.pid}"
        with (
            pytest.raises(PruningError, match=message),
            Workspace(tmp_path).lock(),
        ):
            pass
        other.kill()
    with Workspace(tmp_path).lock():
        pass


def test_a_lock_may_be_taken_twice_by_its_owner(tmp_path):
    space = Workspace(tmp_path)
    with space.lock():
        with space.lock():
            pass
        with pytest.raises(PruningError), Workspace(tmp_path).lock():
            pass
    with Workspace(tmp_path).lock():
        pass


def test_what_is_in_the_way_is_one_sentence(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(PruningError, match="is a file"):
        Workspace(blocked)
