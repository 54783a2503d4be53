"""Reading how channels move off arrays in which something moved."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np

from tf_channel_prune.channels.labels import FIXED


class NotFound(Exception):
    """Why nothing can be said of an operation, for people."""


@dataclasses.dataclass
class Source:
    """An axis whose positions are told apart: of an input or of a weight.

    `number` is the input's tensor number, or the weight's position among the
    weights of the copy; a weight has a `name` too.
    """

    number: int
    axis: int
    size: int
    name: str = ""

    @property
    def weight(self) -> bool:
        return bool(self.name)


class Moves:
    """In which runs the elements of the outputs moved.

    Args:
        shapes: The outputs' shapes.
    """

    def __init__(self, shapes):
        self.shapes = shapes
        self._moved: dict[tuple, np.ndarray] = {}

    @staticmethod
    def halves(size: int):
        """`(bit, value, chosen positions)` of every run."""
        numbers = np.arange(size)
        for bit in range(_bits(size)):
            for value in (0, 1):
                yield bit, value, (numbers >> bit) & 1 == value

    def note(self, source: Source, bit, value, before, after) -> None:
        """Adds one run; all samples of a batch count together."""
        for position, (a, b) in enumerate(zip(before, after)):
            key = (id(source), position, bit, value)
            here = moved(a, b).any(axis=0)
            self._moved[key] = here | self._moved.get(key, False)

    def follows(self, source: Source, position: int):
        """The axis of an output that follows a source, and how.

        Returns:
            `(axis, index)`, where `index` gives for each position of the
            axis the position of the source that it depends on, -1 for none.
            None if the output does not depend on the source at all.

        Raises:
            NotFound: If no axis or more than one can be read like that.
        """
        shape = self.shapes[position]
        found = []
        for axis in range(1, len(shape)):
            index = self._along(source, position, axis - 1)
            if index is not None:
                found.append((axis, index))
        if found and all((index < 0).all() for _, index in found):
            return None
        if len(found) > 1:
            raise NotFound("it spreads channels over several axes")
        if not found:
            raise NotFound("it mixes channels")
        return found[0]

    def _along(self, source, position, axis) -> np.ndarray | None:
        """What each position of an axis depends on; None if on several."""
        index, pairs = 0, []
        for bit in range(_bits(source.size)):
            zero, one = (
                np.moveaxis(
                    self._moved[id(source), position, bit, value], axis, 0
                )
                for value in (0, 1)
            )
            others = tuple(range(1, zero.ndim))
            zero, one = zero.any(axis=others), one.any(axis=others)
            if (zero & one).any():
                return None
            index = index + (one.astype(int) << bit)
            pairs.append(zero | one)
        depends = np.any(pairs, axis=0)
        if (depends != np.all(pairs, axis=0)).any():
            return None  # seen in some pairs of runs only
        return np.where(depends, index, -1)


class Classes:
    """Which positions of which sources can only go together."""

    def __init__(self, follows, sources, labels):
        self._offsets, total = {}, 0
        for source in sources:
            self._offsets[id(source)] = total
            total += source.size
        self._parent = list(range(total))
        by_label: dict[int, int] = {}
        for source in sources:
            vector = labels(source)
            if vector is not None:
                for i, label in enumerate(vector.tolist()):
                    here = self._offsets[id(source)] + i
                    self._unite(by_label.setdefault(label, here), here)
        self._used = {
            id(source) for pairs in follows.values() for source, _ in pairs
        } | {id(source) for source in sources if not source.weight}
        for pairs in follows.values():
            for first, second in itertools.pairwise(pairs):
                for i, j in zip(first[1].tolist(), second[1].tolist()):
                    if i >= 0 and j >= 0:
                        self._unite(
                            self._offsets[id(first[0])] + i,
                            self._offsets[id(second[0])] + j,
                        )
        self._fixed = {
            self._root(self._offsets[id(source)] + i)
            for source in sources
            if (vector := labels(source)) is not None
            for i in np.flatnonzero(vector == FIXED).tolist()
        }

    def _root(self, i):
        while self._parent[i] != i:
            i = self._parent[i]
        return i

    def _unite(self, i, j):
        a, b = self._root(i), self._root(j)
        self._parent[max(a, b)] = min(a, b)

    def alive(self, seed) -> dict[int, bool]:
        """A random choice of classes that stay."""
        rng = np.random.default_rng(seed)
        roots = sorted({self._root(i) for i in range(len(self._parent))})
        keep = rng.random(len(roots)) < 0.6
        keep[rng.integers(len(roots))] = True
        chosen = dict(zip(roots, keep.tolist()))
        chosen.update(dict.fromkeys(self._fixed, True))
        return chosen

    def stays(self, source, alive) -> np.ndarray | None:
        """Which positions of a source stay; None where it is not cut."""
        if id(source) not in self._used:
            return None
        start = self._offsets[id(source)]
        return np.array(
            [alive[self._root(start + i)] for i in range(source.size)]
        )

    def outputs(self, pairs, alive) -> np.ndarray:
        """Which positions of an output's axis stay."""
        stays = np.ones(pairs[0][1].size, bool)
        for source, index in pairs:
            own = self.stays(source, alive)
            stays &= np.where(index < 0, True, own[index])
        return stays


def draw(rng, shape, dtype: str) -> np.ndarray:
    if dtype == "bool":
        return rng.random(shape) < 0.5
    if "int" in dtype:
        return rng.integers(0, 2, shape).astype(dtype)
    if "float" not in dtype:
        raise NotFound(f"its input is {dtype}")
    # Large and small, so that thresholds are met on both sides.
    scale = 3.0 ** rng.integers(-1, 3, shape)
    kind = "float32" if dtype == "bfloat16" else dtype
    return (rng.standard_normal(shape) * scale).astype(kind)


def redraw(array, axis, chosen, rng):
    """New numbers at the chosen positions of an axis, in place."""
    view = np.moveaxis(array, axis, 0)
    new = draw(rng, view[chosen].shape, array.dtype.name)
    if array.dtype.name == "bool":
        new = ~view[chosen]
    view[chosen] = new


def moved(before, after) -> np.ndarray:
    """Where two arrays differ."""
    if before.shape != after.shape:
        raise NotFound("its outputs change their shape")
    same = before == after
    if np.issubdtype(before.dtype, np.floating):
        same |= np.isnan(before) & np.isnan(after)
    return ~same


def _bits(size: int) -> int:
    return max(1, (size - 1).bit_length())
