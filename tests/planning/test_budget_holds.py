"""Hard limits under random groups, targets, divisors, limits, allocations."""

import functools
import json
import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from tf_channel_prune.analysis import Sensitivity
from tf_channel_prune.api import channels_of
from tf_channel_prune.cost import PRODUCT_METRICS
from tf_channel_prune.cost import CostTable
from tf_channel_prune.cost import LatencyTable
from tf_channel_prune.cost.latency_table import Entry
from tf_channel_prune.cost.segments import segments
from tf_channel_prune.errors import TargetError
from tf_channel_prune.planning import Budget
from tf_channel_prune.planning import Limits
from tf_channel_prune.planning import Request
from tf_channel_prune.planning.allocation import NAMES
from tf_channel_prune.planning.budget import within


@functools.lru_cache(maxsize=64)
def net(widths, residual):
    """Convolutions in a row; two of them may meet in an addition."""
    x = keras.Input((8, 8, 3))
    h = x
    outputs = []
    for number, width in enumerate(widths):
        name = f"c{number}"
        h = keras.layers.Conv2D(width, 3, padding="same", name=name)(h)
        h = keras.layers.ReLU()(h)
        outputs.append(h)
    if residual:
        side = keras.layers.Conv2D(widths[-1], 1)(outputs[0])
        h = keras.layers.Add()([h, side])
    h = keras.layers.GlobalAveragePooling2D()(h)
    channels = channels_of(keras.Model(x, keras.layers.Dense(4)(h)))
    return channels, CostTable(channels, latency=latencies(channels))


def latencies(channels):
    """A table of made-up latencies, with steps and noise as real ones have."""
    rng = np.random.default_rng(0)
    made = LatencyTable("made up", overhead=1.0)
    for part in segments(channels, {}):
        sizes = [
            sorted({part_size // k for k in (1, 2, 4) if part_size // k})
            for part_size in (
                c.size([g.size for g in channels.prunable])
                for c in part.coordinates
            )
        ]
        entry = Entry(part.what, [], sizes, [])
        for point in entry.points:
            widths = [own[k] for own, k in zip(sizes, point)]
            blocks = np.prod([np.ceil(width / 8) for width in widths])
            entry.microseconds.append(float(blocks + rng.uniform(1, 2)))
        made.entries[part.key] = entry
    return made


def analysis(channels, seed):
    """Random curves, not monotone: as bad as a small test set makes them."""
    rng = np.random.default_rng(seed)
    curves = {
        group.name: {r / 10: float(rng.uniform(0.2, 1.0)) for r in (1, 5, 9)}
        for group in channels.prunable
    }
    return Sensitivity(0.9, curves, {g.name: g.size for g in channels.prunable})


targets = st.one_of(
    st.tuples(st.floats(0.02, 0.9), st.sampled_from(PRODUCT_METRICS)),
    st.fixed_dictionaries(
        {"flops": st.floats(0.02, 0.7), "params": st.floats(0.02, 0.7)}
    ).map(lambda ratio: (ratio, "flops")),
    st.floats(500, 5000).map(lambda most: ({"params": most}, "flops")),
    st.tuples(st.floats(0.05, 0.6), st.just("latency")),
    st.fixed_dictionaries(
        {
            "latency": st.floats(5, 60),  # microseconds
            "flops": st.floats(0.02, 0.7),
            "activation_memory": st.floats(0.02, 0.5),
        }
    ).map(lambda ratio: (ratio, "flops")),
)


def by_group(values):
    """One limit for all, or some for the first group and for the others."""
    return st.one_of(
        values,
        st.tuples(values, values).map(lambda two: {"c0": two[0], "*": two[1]}),
    )


@settings(max_examples=120, deadline=None)
@given(
    widths=st.lists(st.integers(2, 40), min_size=2, max_size=4).map(tuple),
    residual=st.booleans(),
    target=targets,
    min_channels=by_group(st.integers(1, 12)),
    max_ratio=by_group(st.floats(0.0, 1.0)),
    divisor=by_group(st.one_of(st.just("auto"), st.integers(1, 9))),
    allocation=st.sampled_from(NAMES),
    seed=st.integers(0, 1000),
)
def test_limits_and_target_hold(
    widths, residual, target, min_channels, max_ratio, divisor, allocation, seed
):
    channels, table = net(widths, residual)
    limits = Limits(min_channels, max_ratio, divisor)
    ratio, of = target
    request = Request(ratio, of=of, limits=limits, allocation=allocation)
    scores = np.random.default_rng(seed).random(channels.unit_count).round(1)
    caps = Budget.of(ratio, of).caps(table)
    least = np.array([limits.ladder(g)[-1] for g in channels.prunable])
    known = analysis(channels, seed)
    if not within(table, least, caps):
        with pytest.raises(TargetError, match="cannot be reached"):
            request.choose(channels, scores, None, known, table)
        return
    alive = request.choose(channels, scores, None, known, table).alive
    counts = table.counts(alive)
    assert within(table, counts, caps)
    for group, count in zip(channels.prunable, counts.tolist()):
        if count == group.size:
            continue
        own = limits.of(group)
        assert count >= own.min_channels
        assert count % own.step(group.size) == 0
        assert group.size - count <= group.size * own.max_ratio + 1e-9
    for g, group in enumerate(channels.prunable):
        higher = limits.ladder(group)
        higher = higher[higher > counts[g]]
        if higher.size:
            more = np.array(counts)
            more[g] = higher[-1]
            assert not within(table, more, caps), (
                f"{group.name} could keep {higher[-1]} instead of {counts[g]}"
            )


PROGRAM = """
import json
import numpy as np
from tests_planning import analysis, net
from tf_channel_prune.planning import Request
from tf_channel_prune.planning.allocation import NAMES
from tf_channel_prune.planning.proposals import Problem, climb, proposals
channels, table = net((12, 20, 16), True)
scores = np.random.default_rng(0).random(channels.unit_count).round(1)
for name in NAMES:
    for ratio in (0.5, {"latency": 0.2, "flops": 0.4, "params": 3000}):
        choice = Request(ratio, allocation=name).choose(
            channels, scores, None, analysis(channels, 0), table
        )
        print(name, np.flatnonzero(choice.alive).tolist())
        print(json.dumps(choice.explanation.by_group()))
for curves in (None, analysis(channels, 0)):
    problem = Problem(channels, scores, Request(0.4), table, None, curves)
    plans = proposals(problem, 0)
    for alive, score in climb(plans, lambda alive, n: scores[alive].sum(), 6):
        print(np.flatnonzero(alive).tolist())
"""


def test_the_same_plan_from_two_processes(tmp_path):
    # The module by a name that the other process can import.
    (tmp_path / "tests_planning.py").write_text(
        pathlib.Path(__file__).read_text(encoding="utf-8")
    )
    outputs = []
    for seed in ("0", "12345"):
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={
                **os.environ,
                "PYTHONHASHSEED": seed,
                "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path]),
            },
        )
        assert done.returncode == 0, done.stderr
        outputs.append(done.stdout)
    assert outputs[0] == outputs[1]
    assert json.loads(outputs[0].splitlines()[1])
