"""Clocks that move in steps, or stand still, do not make a model fast."""

import itertools
import time

import pytest

from tf_channel_prune import latency
from tf_channel_prune.latency.timing import LEAST_READINGS
from tf_channel_prune.latency.timing import SPAN
from tf_channel_prune.latency.timing import fastest
from tf_channel_prune.latency.timing import processor_clock


class Machine:
    """Time that passes only in work, and a clock that it is read by."""

    def __init__(self):
        self.now = 0.0
        self.calls = 0

    def work(self, seconds):
        def run():
            self.calls += 1
            self.now += seconds

        return run


@pytest.fixture
def machine(monkeypatch):
    machine = Machine()
    monkeypatch.setattr(time, "perf_counter", lambda: machine.now)
    return machine


def test_a_short_call_is_repeated_until_the_clock_moves(machine):
    def ticks():
        return machine.now // 5e-5 * 5e-5

    (found,) = fastest([machine.work(1e-6)], 0.1, ticks)
    assert found == pytest.approx(1.0, rel=0.3)


def test_a_reading_of_nothing_is_none(machine):
    still = itertools.cycle([True, True, True, False])
    seen = [0.0]

    def clock():
        if not next(still):
            seen[0] = machine.now
        return seen[0]

    (found,) = fastest([machine.work(1e-3)], 0.1, clock)
    assert found >= 1e3 * (1 - 1e-9)


def test_a_clock_that_never_moves_gives_way_to_wall_time(machine):
    runners = [machine.work(2e-3), machine.work(1e-3)]
    found = fastest(runners, 0.1, lambda: 0.0)
    assert found == pytest.approx([2e3, 1e3])


def test_a_long_call_is_not_repeated(machine):
    assert fastest([machine.work(2 * SPAN)], 0, lambda: machine.now) == [
        pytest.approx(2e6 * SPAN)
    ]
    assert machine.calls == LEAST_READINGS + 3


def test_a_processor_clock_in_ticks_gives_way_to_wall_time():
    def ticks():
        return time.perf_counter() // 0.01 * 0.01

    assert processor_clock(ticks) is time.perf_counter
    assert processor_clock(lambda: 0.0) is time.perf_counter
    fine = itertools.count(step=1e-6).__next__
    assert processor_clock(fine) is fine


def test_waiting_does_not_count_in_one_thread():
    clock = latency.target_for("litert").clock
    if clock is time.perf_counter:
        pytest.skip("processor time is counted in ticks here")

    def wait():
        time.sleep(0.01)

    def work():
        end = time.thread_time() + 0.01
        while time.thread_time() < end:
            pass

    waited, worked = fastest([wait, work], 0.1, clock)
    assert waited < worked
    assert latency.target_for("litert", 2).clock is time.perf_counter
