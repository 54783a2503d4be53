"""Which channel each position of an output depends on, read off runs.

Channels are told apart by the bits of their numbers. For each bit, all
channels that have it are changed together, and in another run all that do
not. An output that depends on one channel only moves in exactly one run of
each such pair, and these spell the channel's number; one that moves in both
runs of a pair depends on several channels.
"""

from __future__ import annotations

import numpy as np


class NotFound(Exception):
    """Why nothing can be said of an operation, for people."""


def halves(size: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Per bit of the positions of an axis, those without it and with it."""
    bits = range(max(1, (size - 1).bit_length()))
    numbers = np.arange(size)
    return [((numbers >> b) & 1 == 0, (numbers >> b) & 1 == 1) for b in bits]


def moved(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Where two arrays differ."""
    if before.shape != after.shape:
        raise NotFound("its outputs change their shape")
    same = before == after
    if np.issubdtype(before.dtype, np.floating):
        same |= np.isnan(before) & np.isnan(after)
    return ~same


def follows(pairs, size: int) -> tuple[int, np.ndarray] | None:
    """The axis of an output that follows an axis of an input, and how.

    Args:
        pairs: Per pair of `halves`, where the output moved in its two runs:
            boolean arrays of the output's shape.
        size: Of the input's axis.

    Returns:
        `(axis, index)`, where `index` gives for each position of the output's
        axis the position that it depends on, -1 for none. None if the output
        does not depend on the input at all.

    Raises:
        NotFound: If no axis or more than one can be read like that.
    """
    if not any(run.any() for pair in pairs for run in pair):
        return None
    found = []
    for axis in range(1, pairs[0][0].ndim):
        index = _along(pairs, axis)
        if index is not None and (index < size).all():
            found.append((axis, index))
    if len(found) > 1:
        raise NotFound("it spreads channels over several axes")
    if not found:
        raise NotFound("it mixes channels")
    return found[0]


def _along(pairs, axis) -> np.ndarray | None:
    """What each position of an axis depends on; None if on several."""
    index, any_run, all_pairs = 0, False, True
    for bit, pair in enumerate(pairs):
        others = tuple(a for a in range(pair[0].ndim) if a != axis)
        without, with_it = (run.any(axis=others) for run in pair)
        if (without & with_it).any():
            return None
        index = index + (with_it.astype(int) << bit)
        any_run = any_run | without | with_it
        all_pairs = all_pairs & (without | with_it)
    if (any_run != all_pairs).any():
        return None  # seen in some pairs of runs only
    return np.where(any_run, index, -1)


def draw(rng, shape, dtype: str) -> np.ndarray:
    """Random entries, large and small, so that thresholds are met."""
    if dtype == "bool":
        return rng.random(shape) < 0.5
    if "int" in dtype:
        return rng.integers(0, 2, shape).astype(dtype)
    if "float" not in dtype:
        raise NotFound(f"its input is {dtype}")
    scale = 3.0 ** rng.integers(-1, 3, shape)
    kind = "float32" if dtype == "bfloat16" else dtype
    return (rng.standard_normal(shape, "float32") * scale).astype(kind)


def redrawn(array, axis, chosen, rng) -> np.ndarray:
    """A copy with new entries at the chosen positions of an axis."""
    array = array.copy()
    view = np.moveaxis(array, axis, 0)
    if array.dtype == bool:
        view[chosen] = ~view[chosen]
    else:
        view[chosen] = draw(rng, view[chosen].shape, array.dtype.name)
    return array


def differ(first, second) -> bool:
    """Whether any two of some arrays differ."""
    return any(moved(a, b).any() for a, b in zip(first, second))
