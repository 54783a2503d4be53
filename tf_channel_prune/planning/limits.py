"""Hard limits on how many channels a group may keep."""

from __future__ import annotations

import dataclasses

import numpy as np

from tf_channel_prune.errors import PruningError


@dataclasses.dataclass(frozen=True)
class Limits:
    """What holds for every group, always.

    Attributes:
        min_channels: The least that a group keeps (a smaller group is left
            whole). Defaults to 1.
        max_ratio: The largest share of a group that may go. Defaults to 1.0,
            which leaves `min_channels`.
        divisor: What a kept count is a multiple of, unless the group is left
            whole. `"auto"` takes 8 from 32 channels on, 4 from 16, 2 from 8,
            else 1. Defaults to `"auto"`.
    """

    min_channels: int = 1
    max_ratio: float = 1.0
    divisor: int | str = "auto"

    def __post_init__(self):
        if self.min_channels < 1:
            raise PruningError(
                f"min_channels must be at least 1, got {self.min_channels}."
            )
        if not 0 <= self.max_ratio <= 1:
            raise PruningError(
                f"max_ratio is a share from 0 to 1, got {self.max_ratio}."
            )
        if self.divisor != "auto" and (
            not isinstance(self.divisor, int) or self.divisor < 1
        ):
            raise PruningError(
                'divisor must be "auto" or a positive integer, got '
                f"{self.divisor!r}."
            )

    def step(self, size: int) -> int:
        """The divisor for a group of `size` channels."""
        if self.divisor != "auto":
            return self.divisor
        return 8 if size >= 32 else 4 if size >= 16 else 2 if size >= 8 else 1

    def ladder(self, size: int) -> np.ndarray:
        """The counts that a group of `size` may keep, from `size` down."""
        step = self.step(size)
        # Rounding guards against 0.7 * 10 = 6.999...
        least = max(self.min_channels, size - int(size * self.max_ratio + 1e-9))
        first = size // step * step
        counts = np.arange(first, max(least, 1) - 1, -step)
        if first != size:
            counts = np.concatenate([[size], counts])
        return counts if counts.size else np.array([size])
