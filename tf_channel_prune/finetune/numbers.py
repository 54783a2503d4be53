"""Checks of numbers that users give."""

from __future__ import annotations

import numbers

from tf_channel_prune.errors import PruningError


def check_between(value, low, high, what: str, ends: bool = False) -> None:
    """Raises unless `low < value < high`; with `ends`, unless `<=`.

    Args:
        what: What the value is, as the start of a sentence.
    """
    fine = (
        isinstance(value, numbers.Real)
        and not isinstance(value, bool)
        and (low <= value <= high if ends else low < value < high)
    )
    if not fine:
        limits = (
            f"above {low}"
            if high == float("inf")
            else (f"between {low} and {high}")
        )
        also = f"{low} or " if ends else ""
        raise PruningError(f"{what}, {also}{limits}; got {value!r}.")


def check_count(value, least: int, what: str) -> None:
    """Raises unless the value is a whole number of at least `least`."""
    whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not whole or value < least:
        raise PruningError(
            f"{what} must be a whole number of at least {least}; got {value!r}."
        )
