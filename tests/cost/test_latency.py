"""Latencies as arithmetic: on tables that are small enough to do by hand."""

import json
import types

import numpy as np
import pytest

from tf_channel_prune.cost import LatencyTable
from tf_channel_prune.cost.latency import LatencyTerms
from tf_channel_prune.cost.latency_table import Entry
from tf_channel_prune.cost.latency_table import SlimTime
from tf_channel_prune.cost.segments import Coordinate
from tf_channel_prune.errors import PruningError
from tf_channel_prune.errors import StaleFileError


def part(key, *coordinates, main=0):
    node = types.SimpleNamespace(name=f"node of {key}")
    return types.SimpleNamespace(
        key=key, what="Conv2D", coordinates=coordinates, main=main, nodes=[node]
    )


def table(overhead=0.0, models=None, **entries):
    made = {
        key: Entry("Conv2D", [[1, 8]], sizes, latencies)
        for key, (sizes, latencies) in entries.items()
    }
    return LatencyTable(
        "here", overhead=overhead, models=models or {}, **{"entries": made}
    )


ONE = Coordinate(0, ((0, 1),))
OTHER = Coordinate(2, ((1, 2),))  # twice a count, and 2 that always stay


@pytest.mark.parametrize(
    "count, expected",
    [(4, 30.0), (8, 50.0), (6, 40.0), (5, 35.0), (2, 20.0), (1, 20.0)],
)
def test_between_two_widths_it_is_linear_and_outside_flat(count, expected):
    made = table(a=([[2, 4, 8]], [20.0, 30.0, 50.0]))
    terms = LatencyTerms(made, [part("a", ONE)], "", np.array([8]))
    assert terms.values([count])[0] == pytest.approx(expected)


def test_two_widths_make_a_plane():
    made = table(a=([[2, 4], [4, 10]], [10.0, 20.0, 30.0, 60.0]))
    terms = LatencyTerms(made, [part("a", ONE, OTHER)], "", np.array([4, 4]))
    corners = [terms.values(c)[0] for c in ([2, 1], [2, 4], [4, 1], [4, 4])]
    assert corners == [10.0, 20.0, 30.0, 60.0]
    # Halfway between 2 and 4, a third of the way between 4 and 10.
    assert terms.values([3, 2])[0] == pytest.approx(
        (10 * 2 + 20) / 6 + (30 * 2 + 60) / 6
    )


def test_noise_never_makes_fewer_channels_dearer():
    made = table(a=([[2, 4, 8]], [20.0, 15.0, 50.0]))
    terms = LatencyTerms(made, [part("a", ONE)], "", np.array([8]))
    assert terms.values([4])[0] == 20.0


def test_values_add_up_to_the_measured_whole():
    made = table(
        overhead=5.0,
        models={"graph": 65.0},
        a=([[4, 8]], [15.0, 25.0]),
        b=([[4, 8]], [10.0, 15.0]),
    )
    parts = [part("a", ONE), part("b", ONE)]
    terms = LatencyTerms(made, parts, "graph", np.array([8]))
    # Without overhead: 20 + 10 at full width, measured 60; 10 + 5 at half.
    assert terms.values([8]).sum() == pytest.approx(65.0)
    assert terms.values([4]).sum() == pytest.approx(2 * 15 + 5)
    other = LatencyTerms(made, parts, "another graph", np.array([8]))
    assert other.values([8]).sum() == pytest.approx(35.0)


@pytest.mark.parametrize(
    "half, expected, alone",
    [
        (35.0, 35.0, 0.0),  # as the segments say
        (20.0, 20.0, 5.0),  # (10 - 5) + (5 - 5) of (20 - 5) + (10 - 5)
        (50.0, 50.0, -15.0),
        # At most half of the mean is taken off: (10 - 7.5) of 12.5 + 2.5.
        (4.0, 15.0, 7.5),
    ],
)
def test_values_add_up_to_the_model_at_half_its_widths(half, expected, alone):
    made = table(
        overhead=5.0,
        models={"graph": 65.0},
        a=([[4, 8]], [15.0, 25.0]),
        b=([[4, 8]], [10.0, 15.0]),
    )
    made.slim["graph"] = SlimTime([8], [4], half)
    parts = [part("a", ONE), part("b", ONE)]
    terms = LatencyTerms(made, parts, "graph", np.array([8]))
    assert terms.values([8]).sum() == pytest.approx(65.0)
    assert terms.values([4]).sum() == pytest.approx(expected)
    factor = 60.0 / (max(20 - alone, 0) + max(10 - alone, 0))
    assert terms.values([8])[0] == pytest.approx(factor * (20 - alone) + 2.5)
    options = terms.alternatives([8], 0, [8, 6, 4])
    assert options[[0, 2]] == pytest.approx([65.0, expected])
    # Of other groups: as if it had not been measured.
    made.slim["graph"] = SlimTime([9], [4], half)
    other = LatencyTerms(made, parts, "graph", np.array([8]))
    assert other.values([4]).sum() == pytest.approx(35.0)


def test_alternatives_differ_by_what_the_totals_differ_by():
    made = table(
        a=([[2, 4], [4, 10]], [10.0, 20.0, 30.0, 60.0]),
        b=([[1, 4]], [5.0, 9.0]),
    )
    parts = [part("a", ONE, OTHER), part("b", ONE)]
    terms = LatencyTerms(made, parts, "", np.array([4, 4]))
    options = np.array([4, 3, 2])
    for counts in ([4, 4], [3, 2]):
        found = terms.alternatives(counts, 0, options)
        totals = [terms.values([n, counts[1]]).sum() for n in options]
        np.testing.assert_allclose(np.diff(found), np.diff(totals))


def test_what_is_not_measured_is_named():
    made = table(a=([[2, 4]], [1.0, None]))
    assert made.missing == 1
    for key in ("a", "b"):
        with pytest.raises(PruningError, match=f"node of {key}.*measure"):
            LatencyTerms(made, [part(key, ONE)], "", np.array([4]))


def test_a_table_is_a_file(tmp_path):
    made = table(0.5, {"graph": 3.25}, a=([[2, 4]], [1.5, None]))
    made.write(tmp_path / "t.json")
    assert LatencyTable.read(tmp_path / "t.json") == made
    assert sum('"a"' in s for s in made.to_json().splitlines()) == 1


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda d: d.update(format=9), "format 9"),
        (lambda d: d.pop("device"), "device"),
        (lambda d: d.update(device=3), "device is not a name"),
        (lambda d: d.update(overhead=-1), "overhead is -1"),
        (lambda d: d["models"].update(graph="fast"), "graph is 'fast'"),
        (lambda d: d["segments"]["a"]["sizes"][0].reverse(), "ascending"),
        (lambda d: d["segments"]["a"]["microseconds"].pop(), "1 latencies"),
        (
            lambda d: d["segments"]["a"].update(microseconds=[1, "x"]),
            "'x' is not a time",
        ),
        (lambda d: d["segments"]["a"].update(more=1), "more"),
    ],
)
def test_a_file_that_is_no_table_is_told(tmp_path, change, message):
    path = tmp_path / "t.json"
    data = json.loads(table(a=([[2, 4]], [1.5, 2.0])).to_json())
    change(data)
    path.write_text(json.dumps(data))
    with pytest.raises(StaleFileError, match=message):
        LatencyTable.read(path)


def test_a_missing_file_says_how_to_make_one(tmp_path):
    with pytest.raises(PruningError, match="measure_latency"):
        LatencyTable.read(tmp_path / "none.json")
