"""How much is pruned at each step of a training.

A schedule is any callable `schedule(step) -> (prune now, ratio)`; those of
tensorflow-model-optimization are of this form and serve as they are.
"""

from __future__ import annotations

import dataclasses

from tf_channel_prune.errors import PruningError


@dataclasses.dataclass(frozen=True)
class Polynomial:
    """From `initial` to `ratio`, fast at first and slower towards the end.

    ratio + (initial - ratio) (1 - (step - begin) / (end - begin)) ^ power
    (Zhu and Gupta, 2017, "To prune, or not to prune", section 3, with
    power 3).

    Attributes:
        ratio: The share that is removed in the end.
        begin: The first step at which masks are set.
        end: The last one.
        frequency: Masks are set at every so many steps. Defaults to 100.
        power: Defaults to 3, the cubic schedule; 1 is linear.
        initial: The share that is removed at `begin`. Defaults to 0.
    """

    ratio: float
    begin: int
    end: int
    frequency: int = 100
    power: float = 3.0
    initial: float = 0.0

    def __post_init__(self):
        _check(self)
        if self.end <= self.begin:
            raise PruningError(
                f"A schedule ends after it begins; got begin={self.begin}, "
                f"end={self.end}."
            )

    def __call__(self, step: int) -> tuple[bool, float]:
        done = (step - self.begin) / (self.end - self.begin)
        left = (1 - min(max(done, 0.0), 1.0)) ** self.power
        ratio = self.ratio + (self.initial - self.ratio) * left
        return _due(self, step, self.end), ratio


@dataclasses.dataclass(frozen=True)
class OneShot:
    """All at once.

    Attributes:
        ratio: The share that is removed.
        begin: The step at which masks are set. Defaults to 0.
    """

    ratio: float
    begin: int = 0
    frequency = 1

    def __post_init__(self):
        _check(self)

    def __call__(self, step: int) -> tuple[bool, float]:
        return step == self.begin, self.ratio


@dataclasses.dataclass(frozen=True)
class Constant:
    """The same share all along; with soft pruning channels are exchanged.

    Attributes:
        ratio: The share that is removed.
        begin: The first step at which masks are set. Defaults to 0.
        end: The last one. Defaults to None: until training ends.
        frequency: Masks are set at every so many steps. Defaults to 100.
    """

    ratio: float
    begin: int = 0
    end: int | None = None
    frequency: int = 100

    def __post_init__(self):
        _check(self)

    def __call__(self, step: int) -> tuple[bool, float]:
        return _due(self, step, self.end), self.ratio


def final_ratio(schedule) -> float | None:
    """The largest ratio that a schedule asks for, where it says so."""
    for name in ("ratio", "final_sparsity", "target_sparsity"):
        value = getattr(schedule, name, None)
        if value is not None:
            return float(value)
    return None


def _due(schedule, step, end) -> bool:
    # The last step counts even where `frequency` would miss it: else the
    # target would not be reached.
    if step == end:
        return True
    after = step - schedule.begin
    return (
        after >= 0
        and (end is None or step < end)
        and after % schedule.frequency == 0
    )


def _check(schedule):
    if not 0 < schedule.ratio < 1:
        raise PruningError(
            "A schedule's ratio is the share to remove, between 0 and 1; got "
            f"{schedule.ratio!r}."
        )
    if schedule.begin < 0 or schedule.frequency < 1:
        raise PruningError(
            "A schedule begins at step 0 or later and has a frequency of at "
            f"least 1; got begin={schedule.begin}, "
            f"frequency={schedule.frequency}."
        )
