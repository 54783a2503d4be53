"""Hard limits on how many channels a group may keep."""

from __future__ import annotations

import dataclasses
import fnmatch
import numbers
from collections.abc import Mapping

import numpy as np

from tf_channel_prune.channels import ChannelGroup
from tf_channel_prune.errors import PruningError
from tf_channel_prune.numbers import is_real
from tf_channel_prune.numbers import is_whole
from tf_channel_prune.numbers import make_plain


@dataclasses.dataclass(frozen=True)
class Limits:
    """What holds for every group, always.

    Each limit is one value, or a dictionary from patterns of group or layer
    names to values, of which the first that fits a group counts:
    `min_channels={"stem*": 16, "*": 4}`.

    Attributes:
        min_channels: The least that a group keeps (a smaller group is left
            whole). Defaults to 1.
        max_ratio: The largest share of a group that may go. Defaults to 1.0,
            which leaves `min_channels`.
        divisor: What a kept count is a multiple of, unless the group is left
            whole. `"auto"` takes `auto_divisor`. Defaults to `"auto"`.
    """

    min_channels: int | Mapping[str, int] = 1
    max_ratio: float | Mapping[str, float] = 1.0
    divisor: int | str | Mapping[str, int | str] = "auto"

    def __post_init__(self):
        make_plain(self)
        for value in _values(self.min_channels):
            if not is_whole(value) or value < 1:
                raise PruningError(
                    f"min_channels must be at least 1, got {value!r}."
                )
        for value in _values(self.max_ratio):
            if not is_real(value) or not 0 <= value <= 1:
                raise PruningError(
                    f"max_ratio is a share from 0 to 1, got {value!r}."
                )
        for value in _values(self.divisor):
            if value != "auto" and (not is_whole(value) or value < 1):
                raise PruningError(
                    'divisor must be "auto" or a positive integer, got '
                    f"{value!r}."
                )

    def check(self, groups) -> None:
        """Raises if a pattern fits no group: it would limit nothing."""
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Mapping):
                check_patterns(field.name, value, groups)

    def of(self, group: ChannelGroup) -> Limits:
        """The limits of one group, each a single value."""
        values = {}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Mapping):
                value = first_match(value, group, field.default)
            values[field.name] = value
        return Limits(**values)

    def step(self, size: int) -> int:
        """The divisor for a group of `size` channels."""
        if self.divisor == "auto":
            return auto_divisor(size)
        return self.divisor

    def ladder(self, group: ChannelGroup | int) -> np.ndarray:
        """The counts that a group may keep, from its size down.

        Args:
            group: A group, or its size where no limit depends on its name.
        """
        if not isinstance(group, numbers.Integral):
            ladder = self.of(group).ladder(group.size)
            below = ladder[[group.allowed(n) == n for n in ladder.tolist()]]
            return below if below.size else ladder[:1]
        size = int(group)
        step = self.step(size)
        # Rounding guards against 0.7 * 10 = 6.999...
        least = max(self.min_channels, size - int(size * self.max_ratio + 1e-9))
        first = size // step * step
        counts = np.arange(first, max(least, 1) - 1, -step)
        if first != size:
            counts = np.concatenate([[size], counts])
        return counts if counts.size else np.array([size])

    def as_dict(self) -> dict:
        """For the plan file."""
        return {
            field.name: dict(value) if isinstance(value, Mapping) else value
            for field in dataclasses.fields(self)
            for value in [getattr(self, field.name)]
        }


def auto_divisor(size: int) -> int:
    """What kept counts of a group of `size` channels are multiples of.

    The largest power of two up to an eighth of the size, from 4 (from 16
    channels on; 2 from 8, else 1) to 32. Measured with benchmarks/widths.py
    (see docs/results.md): TensorFlow trains odd widths up to twice as slowly
    as the next multiple of 4, and LiteRT's XNNPACK computes output channels
    in blocks of up to 32, so that a width between two blocks costs the next
    block's time.
    """
    if size < 16:
        return 2 if size >= 8 else 1
    step = 4
    while step < 32 and step * 2 <= size // 8:
        step *= 2
    return step


def matches(pattern: str, group: ChannelGroup) -> bool:
    """Whether a pattern fits a group's name or one of its layers'."""
    names = (group.name, *group.layers)
    return any(
        fnmatch.fnmatchcase(name, pattern)
        or fnmatch.fnmatchcase(name.rsplit("/", 1)[-1], pattern)
        or name == pattern  # a group's name may hold brackets
        for name in names
    )


def first_match(patterns: Mapping, group: ChannelGroup, default=None):
    """The value of the first pattern that fits a group."""
    for pattern, value in patterns.items():
        if matches(pattern, group):
            return value
    return default


def check_patterns(what: str, patterns: Mapping, groups) -> None:
    """Raises if a pattern fits none of the groups."""
    groups = list(groups)
    for pattern in patterns:
        if not isinstance(pattern, str):
            raise PruningError(
                f"{what} goes by patterns of group or layer names; got "
                f"{pattern!r}."
            )
        if not any(matches(pattern, group) for group in groups):
            names = ", ".join(repr(group.name) for group in groups[:5])
            raise PruningError(
                f"{what}: {pattern!r} fits no group that can be pruned. The "
                f"first groups are {names}."
            )


def _values(value):
    return value.values() if isinstance(value, Mapping) else [value]
