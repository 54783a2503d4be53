"""The plan file: readable, editable, replayable, checked."""

import json
import types

import numpy as np
import pytest

from tf_channel_prune.channels import ChannelGroup
from tf_channel_prune.errors import PruningError
from tf_channel_prune.errors import StaleFileError
from tf_channel_prune.planning import Plan

CHANNELS = types.SimpleNamespace(
    unit_count=6,
    prunable=[
        ChannelGroup("a", ("a",), 2, False, "", np.array([0, 1])),
        ChannelGroup("b", ("b",), 3, False, "", np.array([2, 3, 5])),
    ],
)
ALIVE = np.array([False, True, True, False, True, True])


def test_round_trip():
    plan = Plan.of(
        CHANNELS,
        ALIVE,
        request={"ratio": 0.5},
        achieved={"flops": 0.51},
        digests={"graph": "abc"},
    )
    assert plan.kept == {"a": [1], "b": [0, 2]}
    again = Plan.from_json(plan.to_json())
    assert again == plan
    np.testing.assert_array_equal(again.alive(CHANNELS), ALIVE)


def test_one_group_a_line():
    text = Plan.of(CHANNELS, ALIVE).to_json()
    assert '    "a": {"size": 2, "kept": [1]},\n' in text
    assert json.loads(text)["format"] == 1


def test_a_plan_without_groups_is_json_too():
    assert Plan.from_json(Plan({}, {}).to_json()) == Plan({}, {})


def test_groups_that_are_not_listed_stay_whole():
    plan = Plan.from_json('{"groups": {"a": {"size": 2, "kept": [0]}}}')
    assert plan.alive(CHANNELS).tolist() == [
        True,
        False,
        True,
        True,
        True,
        True,
    ]


@pytest.mark.parametrize(
    ("group", "message"),
    [
        ({"c": {"size": 2, "kept": [0]}}, "has a group 'c'"),
        ({"a": {"size": 4, "kept": [0]}}, "made from another model"),
        ({"a": {"size": 2, "kept": []}}, "at least one"),
        ({"a": {"size": 2, "kept": [0, 0]}}, "listed once"),
        ({"a": {"size": 2, "kept": [2]}}, "outside 0..1"),
        ({"a": {"size": 2, "kept": [-1]}}, "outside 0..1"),
        ({"a": {"size": 2, "kept": ["0"]}}, "outside 0..1"),
        ({"a": {"size": 2, "kept": [[0]]}}, "outside 0..1"),
    ],
)
def test_a_plan_that_does_not_fit_is_refused(group, message):
    plan = Plan.from_json(json.dumps({"groups": group}))
    with pytest.raises(PruningError, match=message):
        plan.alive(CHANNELS)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"groups": {"a": 3}}',
        '{"groups": {}, "achieved": {"flops": "much"}}',
        '{"groups": {}, "achieved": 0.5}',
    ],
)
def test_what_is_no_plan_is_refused(tmp_path, text):
    path = tmp_path / "plan.json"
    path.write_text(text)
    with pytest.raises(PruningError, match=r"plan\.json: Not a plan"):
        Plan.read(path)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(PruningError, match="cannot be read"):
        Plan.read(tmp_path / "none.json")


def test_another_graph_is_noticed():
    plan = Plan({}, {}, digests={"graph": "abc"})
    plan.check_graph("abc")
    Plan({}, {}).check_graph("abc")  # made by hand
    with pytest.raises(StaleFileError, match="another model"):
        plan.check_graph("abd")
