"""Where a run goes, and the size of its steps."""

from __future__ import annotations

import dataclasses
import math

from tf_channel_prune.errors import PruningError
from tf_channel_prune.finetune.rounds import Round
from tf_channel_prune.numbers import check_between
from tf_channel_prune.numbers import check_count
from tf_channel_prune.numbers import make_plain

STEPS = ("geometric", "linear")


@dataclasses.dataclass(frozen=True)
class Target:
    """Where a run goes, and how.

    Attributes:
        ratio: The share of the dense cost to remove, or None.
        max_drop: Instead of a ratio: the smallest model that loses at most
            this much of the score.
        rounds: Into how many rounds a ratio is divided. Defaults to 3.
        tolerance: The loss of score against the baseline that a round may
            end with. Defaults to `max_drop`, or to 0.02 with a ratio.
        step: The share that a round removes first, with `max_drop`. Defaults
            to 0.2.
        retries: How often a step in a row is halved. Defaults to 3.
        steps: `geometric`: every round removes the same share of what is
            left; `linear`: the same share of the whole. Defaults to
            `geometric`.
    """

    ratio: float | None = None
    max_drop: float | None = None
    rounds: int = 3
    tolerance: float | None = None
    step: float = 0.2
    retries: int = 3
    steps: str = "geometric"

    def __post_init__(self):
        make_plain(self)
        if (self.ratio is None) == (self.max_drop is None):
            raise PruningError("Give one of ratio and max_drop.")
        if self.ratio is not None:
            what = "ratio is the share of the cost to remove"
            check_between(self.ratio, 0, 1, what)
        check_between(self.step, 0, 1, "step is a share")
        check_count(self.rounds, 1, "rounds")
        check_count(self.retries, 0, "retries")
        name = "max_drop" if self.tolerance is None else "tolerance"
        what = f"{name} is the loss of score that is allowed"
        check_between(self.allowed, 0, math.inf, what, ends=True)
        if self.steps not in STEPS:
            raise PruningError(
                f"steps={self.steps!r}: expected one of {', '.join(STEPS)}."
            )

    @property
    def allowed(self) -> float:
        """The loss of score that a round may end with."""
        if self.tolerance is not None:
            return self.tolerance
        return 0.02 if self.max_drop is None else self.max_drop


class Steps:
    """Which ratio a round asks for, from how the rounds before went.

    Rounds are steps of equal length on an axis on which nothing removed is 0:
    the negative logarithm of the cost that is left (`geometric`), or the cost
    that is gone (`linear`). A step that is refused is tried again with half
    of its length.
    """

    def __init__(self, target: Target):
        self.target = target
        self._at = 0.0
        self._failures = 0
        if target.ratio is None:
            self._goal = math.inf
            self._step = self._place(target.step)
        else:
            self._goal = self._place(target.ratio)
            self._step = self._goal / target.rounds

    @property
    def reached(self) -> bool:
        """Whether the target is met."""
        return self._at >= self._goal - 1e-6

    @property
    def started(self) -> bool:
        """Whether anything has been removed."""
        return self._at > 0

    @property
    def remaining(self) -> int:
        """How many rounds are to come, if none is refused; at least 1."""
        if not math.isfinite(self._goal):
            return 1
        rounds = (self._goal - self._at) / self._step
        return max(1, math.ceil(rounds - 1e-3))

    def next(self) -> float | None:
        """The next ratio, or None at the end of the run."""
        if self.reached or self._failures > self.target.retries:
            return None
        return self._ratio(self._following())

    def note(self, done: Round) -> None:
        """Takes a round into account."""
        if done.accepted:
            self._at = self._place(done.achieved)
            self._failures = 0
        else:
            self._step = (self._following() - self._at) / 2
            self._failures += 1

    def _following(self):
        following = self._at + self._step
        if self.target.ratio is None and self._ratio(following) >= 1:
            # Linear steps would ask for all of the cost, or more.
            following = (self._at + 1) / 2
        # A last step that would leave a sliver goes all the way.
        return self._goal if following >= self._goal - 1e-3 else following

    def _place(self, ratio):
        if self.target.steps == "linear":
            return ratio
        return -math.log1p(-ratio) if ratio < 1 else math.inf

    def _ratio(self, place):
        if self.target.steps == "linear":
            return place
        return -math.expm1(-place)
