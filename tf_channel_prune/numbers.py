"""Numbers that users give: checked, and made Python's own."""

from __future__ import annotations

import dataclasses
import numbers
from collections.abc import Mapping
from typing import Any

from tf_channel_prune.errors import PruningError


def plain(value):
    """A value with Python's own numbers, which may have been NumPy's.

    Here, where values come in, and not where files are written: names of
    files, digests and messages are made of them too, and must be the same
    for `numpy.float64(0.5)` as for 0.5.

    Args:
        value: A number, or a dictionary, list or tuple with numbers in it;
            anything else is given back as it is.
    """
    if isinstance(value, Mapping):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        made = tuple if isinstance(value, tuple) else list
        return made(plain(inner) for inner in value)
    if isinstance(value, bool):
        return value
    if isinstance(value, numbers.Integral):
        return int(value)
    return float(value) if isinstance(value, numbers.Real) else value


def make_plain(record: Any) -> None:
    """Makes the fields of a dataclass `plain`, also of a frozen one.

    To be called first in `__post_init__`.
    """
    for field in dataclasses.fields(record):
        value = plain(getattr(record, field.name))
        object.__setattr__(record, field.name, value)


def is_real(value) -> bool:
    """Whether a value is a number; True and False are not."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def is_whole(value) -> bool:
    """Whether a value is a whole number; True and False are not."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def check_between(value, low, high, what: str, ends: bool = False) -> None:
    """Raises unless `low < value < high`; with `ends`, unless `<=`.

    Args:
        what: What the value is, as the start of a sentence.
    """
    fine = is_real(value) and (
        low <= value <= high if ends else low < value < high
    )
    if not fine:
        limits = (
            f"above {low}"
            if high == float("inf")
            else (f"between {low} and {high}")
        )
        also = f"{low} or " if ends else ""
        raise PruningError(f"{what}, {also}{limits}; got {value!r}.")


def check_count(value, least: int, what: str) -> int:
    """The value, where it is a whole number of at least `least`.

    Args:
        what: The value's name.

    Raises:
        PruningError: If it is not.
    """
    if not is_whole(value) or value < least:
        raise PruningError(
            f"{what} must be a whole number of at least {least}; got {value!r}."
        )
    return int(value)
