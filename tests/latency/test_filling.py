"""A table of latencies is measured point by point, and goes on after a kill."""

import functools

import keras
import numpy as np
import pytest
from small_models import residual

import tf_channel_prune as tcp
from tf_channel_prune import latency
from tf_channel_prune.api import channels_of
from tf_channel_prune.cli.functions import load_function
from tf_channel_prune.cost import CostTable
from tf_channel_prune.errors import PruningError
from tf_channel_prune.errors import StaleFileError
from tf_channel_prune.errors import TargetError
from tf_channel_prune.masking import Masks


class Counting:
    """A target whose microseconds are the weights of a model, and 5."""

    name = "counting"
    threads = 1

    def __init__(self, most=None):
        self.calls = 0
        self.most = most

    def versions(self):
        return {"counting": "1"}

    def time(self, model, seconds=0.0):
        if self.calls == self.most:
            raise KeyboardInterrupt
        self.calls += 1
        return 5.0 + model.count_params()


@pytest.fixture(scope="module")
def channels():
    return channels_of(residual())


@pytest.fixture(scope="module")
def path(channels, tmp_path_factory):
    path = tmp_path_factory.mktemp("latency") / "table.json"
    latency.fill(channels, path, Counting(), "a phone", progress=False)
    return path


def test_the_table_predicts_what_the_target_measures(channels, path):
    found = tcp.LatencyTable.read(path)
    assert found.device == "a phone" and found.versions == {"counting": "1"}
    assert found.missing == 0
    costs = CostTable(channels, latency=found)
    assert costs.metrics[-1] == "latency"
    params = costs.total(costs.sizes, "params")
    assert costs.total(costs.sizes, "latency") == pytest.approx(params + 5)
    # Weights are bilinear in the widths, and so is what is predicted.
    half = np.maximum(costs.sizes // 2, 1)
    assert costs.total(half, "latency") == pytest.approx(
        costs.total(half, "params") + 5, rel=0.05
    )
    by_node = costs.by_node(costs.sizes, "latency")
    assert by_node.sum() == pytest.approx(params + 5)


class SlowAlone(Counting):
    """Parts of the model take 30 microseconds more than in it."""

    def time(self, model, seconds=0.0):
        # The least that is measured, and the whole model.
        small = not model.count_params() or len(model.layers) > 5
        return super().time(model) + (0.0 if small else 30.0)


def test_what_parts_take_alone_is_taken_off(channels, path, tmp_path):
    other = tmp_path / "table.json"
    found = latency.fill(channels, other, SlowAlone(), progress=False)
    costs = CostTable(channels, latency=found)
    half = np.maximum(costs.sizes // 2, 1)
    expected = [costs.total(c, "params") + 5 for c in (costs.sizes, half)]
    assert costs.total(costs.sizes, "latency") == pytest.approx(expected[0])
    assert costs.total(half, "latency") == pytest.approx(expected[1], rel=0.1)
    found.slim.clear()
    uneven = CostTable(channels, latency=found)
    assert uneven.total(half, "latency") > 1.1 * expected[1]


def test_a_second_call_measures_nothing(channels, path):
    before = path.read_text()
    target = Counting()
    latency.fill(channels, path, target, "a phone", progress=False)
    assert target.calls == 0 and path.read_text() == before


def test_a_killed_measurement_goes_on(channels, path, tmp_path):
    other = tmp_path / "table.json"
    killed = Counting(most=4)
    with pytest.raises(KeyboardInterrupt):
        latency.fill(channels, other, killed, "a phone", progress=False)
    # The overhead and three points are known.
    points = sum(
        len(e.points) for e in tcp.LatencyTable.read(path).entries.values()
    )
    assert tcp.LatencyTable.read(other).missing == points - 3
    rest = Counting()
    latency.fill(channels, other, rest, "a phone", progress=False)
    assert rest.calls == points - 3 + 3
    assert other.read_text() == path.read_text()


def test_devices_and_targets_are_not_mixed(channels, path):
    with pytest.raises(StaleFileError, match="'a phone' with counting"):
        latency.fill(channels, path, Counting(), "a watch", progress=False)


def test_a_latency_is_a_target(path):
    model = residual()
    sparse = tcp.prune(
        model, 0.4, of="latency", latency=path, divisor=1, min_channels=2
    )
    slim = tcp.transform(sparse)
    measured = Counting().time(slim) / Counting().time(model)
    assert 0.55 <= measured <= 0.63
    most = tcp.prune(
        model,
        {"latency": 500.0, "flops": 0.3},
        latency=tcp.LatencyTable.read(path),
        divisor=1,
    )
    assert 5 + tcp.transform(most).count_params() <= 510
    assert tcp.sparsity(most, "flops") >= 0.3


def test_what_cannot_be_reached_is_refused(path):
    with pytest.raises(TargetError, match="latency reachable"):
        tcp.prune(residual(), {"latency": 6.0}, latency=path)


def test_without_a_table_it_says_how_to_make_one():
    with pytest.raises(PruningError, match="measure_latency"):
        tcp.prune(residual(), 0.5, of="latency")
    with pytest.raises(PruningError, match="no latencies of"):
        empty = tcp.LatencyTable("nowhere")
        tcp.prune(residual(), 0.5, of="latency", latency=empty)


def test_a_pruner_plans_with_its_own_table(path, tmp_path):
    pruner = tcp.Pruner(residual(), tmp_path)
    with pytest.raises(PruningError, match="measure_latency"):
        pruner.prune(0.3, of="latency")
    (tmp_path / "latency.json").write_text(path.read_text())
    sparse = pruner.prune(0.3, of="latency", divisor=1)
    assert 0.3 <= pruner.plan.achieved["latency"] < 0.4
    assert pruner.plan.request["of"] == "latency"
    # A sparse model has the same segments: it can go on from there.
    again = pruner.prune(0.5, of="latency", divisor=1, model=sparse)
    assert pruner.plan.achieved["latency"] >= 0.5
    assert not (Masks(again).alive() & ~Masks(sparse).alive()).any()


def test_this_machine_measures_a_tiny_model(tmp_path):
    x = keras.Input((4, 4, 2))
    h = keras.layers.Conv2D(8, 3, name="conv")(x)
    model = keras.Model(x, keras.layers.Dense(2)(keras.layers.Flatten()(h)))
    path = tmp_path / "table.json"
    made = tcp.measure_latency(model, path, progress=False)
    assert made.target == "litert" and made.missing == 0
    assert "tensorflow" in made.versions
    sparse = tcp.prune(model, {"flops": 0.4, "latency": 1e6}, latency=path)
    found = tcp.compare_latency(sparse, path, seconds=0.1)
    assert found.predicted > 0 and found.measured > 0
    assert "of the dense model's; measured" in str(found)


def test_a_function_measures_files(tmp_path):
    def size(file):
        with open(file, "rb") as opened:
            return len(opened.read()) / 1000

    target = latency.target_for(size)
    x = keras.Input((4,))
    small = keras.Model(x, keras.layers.Dense(2)(x))
    large = keras.Model(x, keras.layers.Dense(2000)(x))
    assert target.time(small) < target.time(large)
    with pytest.raises(PruningError, match="microseconds of one sample"):
        latency.target_for(lambda file: "fast").time(small)
    with pytest.raises(PruningError, match="target='gpu'"):
        latency.target_for("gpu")


def test_functions_are_told_apart_by_their_files(tmp_path):
    names = set()
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        file = tmp_path / folder / "place.py"
        file.write_text("def measure(path):\n    return 1.0\n")
        function = load_function(f"{file}:measure", "target")
        names.add(latency.target_for(function).name)
        partial = functools.partial(function)
        assert latency.target_for(partial).name in names
    assert names == {
        f"{tmp_path}/{folder}/place.py:measure" for folder in ("one", "two")
    }
    assert latency.target_for(len).name == "builtins:len"
    assert latency.target_for(Phone()).name == f"{__file__}:Phone"


class Phone:
    def __call__(self, path):
        return 1.0


class OnThisMachine(Counting):
    """A target that can run models here."""

    def runner(self, model):
        raise AssertionError


def test_the_device_is_this_one_unless_it_is_named(channels, path):
    message = "measured on 'a phone'.*say device="
    with pytest.raises(StaleFileError, match=message):
        latency.fill(channels, path, OnThisMachine(), progress=False)
    latency.fill(channels, path, OnThisMachine(), "a phone", progress=False)
    # A function measures wherever it did before.
    latency.fill(channels, path, Counting(), progress=False)


def test_a_target_that_raises_is_one_sentence():
    x = keras.Input((4,))
    model = keras.Model(x, keras.layers.Dense(2)(x))

    def raises(path):
        raise OSError("the phone is off")

    with pytest.raises(PruningError, match="raised OSError: the phone is off"):
        latency.target_for(raises).time(model)
    assert latency.target_for(lambda path: np.float32(2)).time(model) == 2.0


@pytest.mark.parametrize("threads", [0, -1, 1.5, "two"])
def test_threads_are_counted(threads):
    with pytest.raises(PruningError, match="threads must be"):
        latency.target_for("litert", threads)


def test_a_run_plans_with_a_table(path, tmp_path):
    pruner = tcp.Pruner(residual(), tmp_path)
    slim = pruner.run(
        train=lambda model: None,
        ratio=0.3,
        of="latency",
        latency=path,
        rounds=1,
        limits={"divisor": 1},
        analyse=False,
        progress=False,
    )
    assert pruner.history.rounds[0].achieved >= 0.3
    assert slim.count_params() < 0.8 * pruner.model.count_params()
