"""Labels under operations that pick, repeat or add positions of one axis."""

from __future__ import annotations

import dataclasses

import numpy as np

from tf_channel_prune.channels.labels import Labels


def along(labels: Labels, axis: int, vector, size: int) -> Labels:
    """The labels with another vector (None: fixed) and size along an axis."""
    axis %= len(labels.shape)
    shape = list(labels.shape)
    shape[axis] = size
    axes = labels.without(axis)
    if vector is not None:
        axes[axis] = vector
    return dataclasses.replace(labels, shape=tuple(shape), axes=axes)


def dropped(labels: Labels, *gone: int) -> Labels:
    """The labels without some axes (each of one position)."""
    rank = len(labels.shape)
    gone = {axis % rank for axis in gone}
    stay = [axis for axis in range(rank) if axis not in gone]
    return dataclasses.replace(
        labels,
        shape=tuple(labels.shape[axis] for axis in stay),
        axes={
            new: labels.axes[old]
            for new, old in enumerate(stay)
            if old in labels.axes
        },
    )


def inserted(labels: Labels, axis: int, size: int | None = 1) -> Labels:
    """The labels with a new axis, without labels, at `axis`."""
    shape = list(labels.shape)
    shape.insert(axis, size)
    return dataclasses.replace(
        labels,
        shape=tuple(shape),
        axes={a + (a >= axis): vector for a, vector in labels.axes.items()},
    )


def renumbered(stays: np.ndarray | None, positions) -> np.ndarray:
    """Where positions of an axis are when only some positions stay.

    Args:
        stays: Boolean per position; None if all stay.
        positions: Position numbers; those that go must not be among them.
    """
    positions = np.asarray(positions, int)
    if stays is None:
        return positions
    return (np.cumsum(stays) - 1)[positions]


def as_slice(positions: np.ndarray) -> slice | None:
    """The slice that picks these positions, if there is one."""
    if positions.size == 0:
        return None
    if positions.size == 1:
        return slice(int(positions[0]), int(positions[0]) + 1, None)
    steps = np.diff(positions)
    step = int(steps[0])
    if step == 0 or (steps != step).any():
        return None
    # A downward slice to the very first position must end at None, not -1.
    stop = int(positions[-1]) + (1 if step > 0 else -1)
    return slice(
        int(positions[0]),
        None if stop < 0 else stop,
        None if step == 1 else step,
    )
