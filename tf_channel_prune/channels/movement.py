"""Labels under operations that move positions and compute nothing.

Each function runs the operation on the label vectors of one tensor. Where a
result would vary along two axes, the labels are united until it varies along
one, so that what stays is always a rectangle.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from tf_channel_prune.channels.labels import FIXED
from tf_channel_prune.channels.labels import Labels
from tf_channel_prune.channels.labels import LabelSpace


def transpose(labels: Labels, permutation) -> Labels:
    """`permutation` names the old axis of every new axis."""
    permutation = [p % len(labels.shape) for p in permutation]
    return dataclasses.replace(
        labels,
        shape=tuple(labels.shape[p] for p in permutation),
        axes={
            new: labels.axes[old]
            for new, old in enumerate(permutation)
            if old in labels.axes
        },
    )


def reshape(labels: Labels, shape, space: LabelSpace, why: str) -> Labels:
    """Labels after a reshape to `shape` (all axes, `None` where unknown)."""
    axes: dict[int, np.ndarray] = {}
    for old, new in segments(labels.shape, tuple(shape)):
        carriers = [a for a in old if a in labels.axes]
        if not carriers:
            continue
        if len(old) == len(new) == 1 and labels.shape[old[0]] == shape[new[0]]:
            axes[new[0]] = labels.axes[old[0]]
            continue
        placed = _through_segment(labels, old, new, shape, carriers, space, why)
        if placed is not None:
            axes[placed[0]] = placed[1]
    return dataclasses.replace(labels, shape=tuple(shape), axes=axes)


def _through_segment(labels, old, new, shape, carriers, space, why):
    """The new axis and vector that a group of mixed axes ends up with."""
    old_sizes = [labels.shape[a] for a in old]
    new_sizes = [shape[a] for a in new]
    if None in old_sizes or None in new_sizes:
        # Only one unknown size, standing first, leaves the rest countable.
        tail = _known_tail(labels, old, new, shape, carriers)
        if tail is None:
            for a in carriers:
                space.freeze(labels.axes[a], f"{why}: an unknown size")
            return None
        old_sizes, new_sizes = tail
    # Two prunable axes merge into one: a product, which one vector cannot
    # say. Keep the finer one.
    keep = max(carriers, key=lambda a: np.unique(labels.axes[a]).size)
    for a in carriers:
        if a != keep:
            space.freeze(
                labels.axes[a],
                f"{why} and merges it with another prunable axis",
            )
    view = [1] * len(old)
    view[old.index(keep)] = -1
    array = np.broadcast_to(labels.axes[keep].reshape(view), old_sizes)
    allowed = [i for i, a in enumerate(new) if shape[a] is not None]
    axis, vector = to_vector(array.reshape(new_sizes), space, why, allowed)
    return None if axis is None else (new[axis], vector)


def _known_tail(labels, old, new, shape, carriers):
    """Sizes with the unknown leading one replaced by 1, if that is exact."""
    old_sizes = [labels.shape[a] for a in old]
    new_sizes = [shape[a] for a in new]
    if old_sizes.count(None) > 1 or new_sizes.count(None) > 1:
        return None
    known_old = int(np.prod([s for s in old_sizes if s is not None]))
    known_new = int(np.prod([s for s in new_sizes if s is not None]))
    leading = old_sizes[0] is None and new_sizes[0] is None
    if leading and old[0] not in carriers and known_old % known_new == 0:
        return [1, *old_sizes[1:]], [known_old // known_new, *new_sizes[1:]]
    return None


def to_vector(array: np.ndarray, space: LabelSpace, why: str, allowed=None):
    """`(axis, vector)` of a label array, united until one axis suffices.

    Only axes in `allowed` (default: all) may carry the result.
    """
    varying = [
        axis
        for axis in range(array.ndim)
        if array.shape[axis] > 1 and (array != array.take([0], axis=axis)).any()
    ]
    if not varying:
        space.freeze(array.ravel()[:1], f"{why} leaves a single position")
        return None, None
    candidates = [a for a in varying if allowed is None or a in allowed]
    if not candidates:
        space.freeze(array.ravel(), f"{why} moves it to an unknown axis")
        return None, None
    axis = candidates[0]
    if len(candidates) > 1:
        axis = _finest(array, candidates)
    columns = np.moveaxis(array, axis, 0).reshape(array.shape[axis], -1)
    vector = columns[:, 0]
    if len(varying) > 1:
        for other in range(1, columns.shape[1]):
            space.unite(vector, columns[:, other], why)
        # A column with one fixed entry is fixed as a whole.
        vector = np.where((columns == FIXED).any(axis=1), FIXED, vector)
    return axis, vector


def _finest(array, varying) -> int:
    """The axis that leaves the most units when the others are united."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    def units(axis):
        columns = np.moveaxis(array, axis, 0).reshape(array.shape[axis], -1)
        names, flat = np.unique(columns, return_inverse=True)
        flat = flat.reshape(columns.shape)
        first = np.repeat(flat[:, 0], flat.shape[1] - 1)
        second = flat[:, 1:].ravel()
        graph = coo_array(
            (np.ones(first.size, bool), (first, second)),
            shape=(names.size, names.size),
        )
        number, classes = connected_components(graph, directed=False)
        fixed = names == FIXED
        return number - np.unique(classes[fixed]).size

    # On a tie the last axis: Keras' default place for channels.
    return max(varying, key=lambda axis: (units(axis), axis))


def segments(old, new):
    """Groups of old axes and new axes with equal products.

    Walks from both ends, so that one unknown size (the batch, or a `-1`)
    ends up in a group of its own where that is possible.
    """
    head = 0
    while (
        head < min(len(old), len(new))
        and old[head] == new[head]
        and (old[head] is not None or head == 0)
    ):
        head += 1
    pairs = [([a], [a]) for a in range(head)]
    tail = []
    o, n = len(old), len(new)
    while o > head and n > head:
        found = _last_segment(old, new, head, o, n)
        if found is None:
            break
        tail.append((list(range(found[0], o)), list(range(found[1], n))))
        o, n = found
    if _product(old[head:o]) != _product(new[head:n]):
        # The unknown batch takes part in it: (None, 49, c) to (-1, 7, c).
        head, pairs = 0, []
    rest = list(range(head, o)), list(range(head, n))
    middle = [rest] if rest[0] or rest[1] else []
    return pairs + middle + tail[::-1]


def _product(sizes):
    """The product of sizes, with the number of unknown ones beside it."""
    known = [s for s in sizes if s is not None]
    return int(np.prod(known)), len(sizes) - len(known)


def _last_segment(old, new, head, o, n):
    """Start of the shortest equal-product group that ends at `o`, `n`."""
    o, n = o - 1, n - 1
    if old[o] is None or new[n] is None:
        return (o, n) if old[o] is None and new[n] is None else None
    left, right = old[o], new[n]
    while left != right:
        if left < right:
            o -= 1
            if o < head or old[o] is None:
                return None
            left *= old[o]
        else:
            n -= 1
            if n < head or new[n] is None:
                return None
            right *= new[n]
    return o, n


def concatenate(parts: list[Labels], axis, shape, space, why) -> Labels:
    """Labels of tensors that are put one after another along `axis`."""
    axis %= len(shape)
    axes: dict[int, np.ndarray] = {}
    for a in sorted({a for part in parts for a in part.axes if a != axis}):
        first = next(p.axes[a] for p in parts if a in p.axes)
        for part in parts:
            space.unite(first, part.axes.get(a), _joined(why, part))
        axes[a] = first
    if any(axis in part.axes for part in parts):
        if any(part.shape[axis] is None for part in parts):
            for part in parts:
                space.freeze(part.axes.get(axis), f"{why}: an unknown size")
        else:
            axes[axis] = np.concatenate(
                [
                    part.axes.get(axis, np.zeros(part.shape[axis], int))
                    for part in parts
                ]
            )
    zero, fill = held_by_all(p for p in parts if p.axes)
    return Labels(tuple(shape), axes, zero, fill=fill)


def held_by_all(parts) -> tuple[bool, float | None]:
    """`(zero, fill)` of tensors of which each holds some of the channels."""
    levels = {part.dead for part in parts}
    if len(levels) != 1:
        return not levels, None
    (level,) = levels
    return level == 0, level


def _joined(why: str, part: Labels) -> str:
    return f"{why}, beside {part.origin}" if part.origin else why


def broadcast(parts: list[Labels], shape, space, why, zero) -> Labels:
    """Labels of tensors that meet element by element.

    A tensor of size 1 along an axis is stretched there and says nothing
    about which positions stay.
    """
    rank = len(shape)
    axes: dict[int, np.ndarray] = {}
    for axis in range(rank):
        here = []
        for part in parts:
            own = axis - (rank - len(part.shape))
            if own < 0:
                continue
            if part.shape[own] == 1 and shape[axis] != 1:
                space.freeze(
                    part.axes.get(own), f"{why} stretches its only position"
                )
                continue
            here.append((part, part.axes.get(own)))
        vectors = [vector for _, vector in here if vector is not None]
        if not vectors:
            continue
        first = vectors[0]
        for part, vector in here:
            space.unite(first, vector, _joined(why, part))
        if all(vector is not None for _, vector in here):
            axes[axis] = first
    origin = next((p.origin for p in parts if p.origin), "")
    return Labels(tuple(shape), axes, zero, origin)
