"""How long a call takes: the fastest of many readings.

Whatever else a machine does can only add to a reading, so the smallest is the
nearest. That holds only where no reading is too small, and clocks do err that
way: one that moves in steps, or stands still for a microsecond, reads nothing
for a short call. So a call that is short is repeated until a reading is long
beside such steps, and a reading of nothing is none.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import numpy as np

# Of every runner, however long one takes.
LEAST_READINGS = 5
# What a reading lasts at least, in seconds, and the steps that a clock may
# move in to be off by little in one.
SPAN = 2e-4
FINEST_STEP = SPAN / 50

Clock = Callable[[], float]


def fastest(
    runners, seconds: float, clock: Clock = time.perf_counter
) -> list[float]:
    """The fastest run of each, in microseconds, run in turns.

    Args:
        runners: Functions without arguments.
        seconds: How long to measure, for all of them together; each is read
            at least `LEAST_READINGS` times.
        clock: What a run is timed with, in seconds; wall time takes its place
            where it never moves.
    """
    repeats = [_repeats(run) for run in runners]
    readings = [[] for _ in runners]
    end = time.perf_counter() + seconds
    done = 0
    while done < LEAST_READINGS or time.perf_counter() < end:
        for run, count, own in zip(runners, repeats, readings, strict=True):
            start = clock()
            for _ in range(count):
                run()
            taken = clock() - start
            if taken > 0:
                own.append(taken / count)
        done += 1
    if clock is not time.perf_counter and not all(readings):
        return fastest(runners, seconds, time.perf_counter)
    return [1e6 * min(own) for own in readings]


def processor_clock(clock: Clock = time.thread_time) -> Clock:
    """The calling thread's processor time, or wall time where that is coarse.

    Some systems count processor time in ticks of milliseconds, whatever
    resolution they claim; so the steps are looked at.

    Args:
        clock: What to look at.
    """
    steps = np.diff(np.unique([clock() for _ in range(2000)]))
    fine = steps.size and steps.min() <= FINEST_STEP
    return clock if fine else time.perf_counter


def _repeats(run) -> int:
    """How often to run for a reading of `SPAN`; it warms up too."""
    run()
    taken = math.inf
    for _ in range(2):
        start = time.perf_counter()
        run()
        taken = min(taken, time.perf_counter() - start)
    return max(math.ceil(SPAN / max(taken, 1e-8)), 1)
