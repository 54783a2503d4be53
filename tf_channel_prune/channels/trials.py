"""Tries with dead channels whether what was found of an operation holds.

Some channels are dead and hold what masked channels hold in the operation's
inputs. A copy of the operation, made for the living channels, must give the
same outputs and the same gradients, and nothing may come out of the dead ones
that is not finite, forward or backward: zero times NaN is NaN, so masked
weights do not hold it back.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from tf_channel_prune.channels.labels import FIXED
from tf_channel_prune.channels.labels import LabelSpace
from tf_channel_prune.channels.moves import NotFound

COUNT = 3
# What dead channels hold, trial by trial, where it is not known: the same
# number everywhere, and (None) any numbers.
LEVELS = (0.0, 1.0, -0.7, None)
# Relative to the size of an array; the first where halves of numbers are lost.
TOLERANCES = {2: 2e-2, 4: 1e-4, 8: 1e-7}


@dataclasses.dataclass(frozen=True, eq=False)
class Source:
    """An axis of an input that has labels; `place` is the input's number."""

    place: int
    axis: int
    vector: np.ndarray


# By `(output position, output axis)`: pairs of a source and, for each
# position of the axis, the source's position that it depends on, -1 for none.
Follows = dict[tuple[int, int], list[tuple[Source, np.ndarray]]]


def joined(space: LabelSpace, pairs, vectors, why: str) -> np.ndarray:
    """The labels of an output's axis; those that meet in it are united.

    Args:
        space: Where the labels are from.
        pairs: Of `Follows`, for this axis.
        vectors: The labels of each source in `pairs`.
        why: The reason for uniting.
    """
    made = np.full(pairs[0][1].size, -1)
    for (_, index), vector in zip(pairs, vectors):
        here = np.where(index < 0, -1, vector[index])
        both = (made >= 0) & (here >= 0)
        space.unite(made[both], here[both], why)
        made = np.where(made < 0, here, made)
    return np.where(made < 0, FIXED, made)


class Trials:
    """Trials of one operation.

    Args:
        copy: Makes a `Tryout` for given input arrays.
        whole: The one for all channels.
        inputs: The numbers of the input tensors.
        sources: Their labelled axes.
        follows: What was found.
        levels: By input number, what a masked channel holds; None if that is
            not known.
    """

    def __init__(self, copy, whole, inputs, sources, follows, levels):
        self.copy = copy
        self.whole = whole
        self.levels = levels
        self.inputs = [
            (inputs[source.place], source.axis, source.vector)
            for source in sources
        ]
        space = LabelSpace()
        space.fresh(sum(vector.size for *_, vector in self.inputs))
        self.outputs = [
            (*key, joined(space, pairs, [s.vector for s, _ in pairs], ""))
            for key, pairs in follows.items()
        ]
        self.units = space.solve()
        self.free = [
            unit
            for unit in range(self.units.count)
            if unit not in self.units.frozen and self._used(unit)
        ]
        if len(self.free) < 2:
            raise NotFound("its channels can only go together")

    def _used(self, unit) -> bool:
        return any(
            (self.units.of_label[vector] == unit).any()
            for *_, vector in self.inputs
        )

    def run(self, arrays, random: dict[bool, bool]) -> list[float | None]:
        """Runs them all.

        Args:
            arrays: Makes random inputs of a seed.
            random: By mode (training or not), whether outputs are random.

        Returns:
            By output, what a masked channel holds there; None if that is not
            known.
        """
        known = all(self.levels[n] is not None for n, *_ in self.inputs)
        levels = (None,) if known else LEVELS
        held: list[set] = []
        for number in range(max(COUNT, len(levels))):
            given = arrays(20 + number)
            trial = _Trial(self, number, given, levels[number % len(levels)])
            for training, is_random in random.items():
                here = trial.compare(training, is_random)
                held = [a | b for a, b in zip(held or here, here)]
        return (
            [
                0.0
                if not values
                else values.pop()
                if len(values) == 1
                else None
                for values in held
            ]
            if known
            else [None] * len(held)
        )


class _Trial:
    """One choice of living channels."""

    def __init__(self, trials, number, arrays, level):
        self.trials = trials
        self.rng = np.random.default_rng(10 + number)
        self.alive = self._choice(number)
        self.arrays = arrays
        for tensor, axis, vector in trials.inputs:
            own = trials.levels[tensor]
            own = level if own is None else own
            if own is not None:
                view = np.moveaxis(arrays[tensor], axis, 0)
                view[~self._stays(vector)] = own
        self.slim_arrays = self._cut_inputs(arrays)
        self.slim = self._slim()

    def _choice(self, number) -> np.ndarray:
        """All units but one live, only one, then about half of them."""
        units, free = self.trials.units, self.trials.free
        count = {0: len(free) - 1, 1: 1}.get(number, (len(free) + 1) // 2)
        alive = np.ones(units.count + 1, bool)  # the last one: fixed
        alive[free] = False
        alive[self.rng.permutation(free)[:count]] = True
        return alive

    def _stays(self, vector) -> np.ndarray:
        return self.alive[self.trials.units.of_label[vector]]

    def _cut_inputs(self, arrays) -> dict:
        arrays = dict(arrays)
        for tensor, axis, vector in self.trials.inputs:
            if tensor in arrays:
                arrays[tensor] = np.compress(
                    self._stays(vector), arrays[tensor], axis=axis
                )
        return arrays

    def _cut(self, arrays) -> list:
        arrays = list(arrays)
        for position, axis, vector in self.trials.outputs:
            arrays[position] = np.compress(
                self._stays(vector), arrays[position], axis=axis
            )
        return arrays

    def _slim(self):
        """A copy for the living channels."""
        try:
            slim = self.trials.copy(self.slim_arrays)
            real = [y.shape for y in slim.run(self.slim_arrays)]
            stated = slim.stated(self.slim_arrays)
        except Exception as error:  # any user code may run here
            raise NotFound("it cannot be made for fewer channels") from error
        if not all(map(_fits, stated, real)):
            raise NotFound("it states its output's shape as a constant")
        return slim

    def compare(self, training, random) -> list[set]:
        """Compares values and gradients with those of the copy.

        Returns:
            By output, the numbers that dead channels hold in it.
        """
        run = self.trials.whole.slopes
        shapes = [y.shape for y in self.trials.whole.run(self.arrays, training)]
        factors = [self.rng.standard_normal(shape) for shape in shapes]
        outputs, slopes = run(self.arrays, factors, training)
        if random:
            # A copy may draw other numbers; but dead outputs must not matter.
            living = [self._masked(p, f) for p, f in enumerate(factors)]
            _, wanted = run(self.arrays, living, training)
            wanted, expected = self._cut_inputs(wanted), self._cut(outputs)
        else:
            expected, wanted = self.slim.slopes(
                self.slim_arrays, self._cut(factors), training
            )
        if not all(map(_close, self._cut(outputs), expected)):
            raise NotFound("made for fewer channels it computes otherwise")
        self._check_slopes(slopes, wanted)
        return [self._held(p, y) for p, y in enumerate(outputs)]

    def _check_slopes(self, slopes, wanted):
        for tensor, axis, vector in self.trials.inputs:
            if tensor in slopes:
                dead = np.compress(
                    ~self._stays(vector), slopes[tensor], axis=axis
                )
                if not np.isfinite(dead).all():
                    raise NotFound("masked channels have no finite gradient")
        found = self._cut_inputs(slopes)
        if not all(_close(found[tensor], wanted[tensor]) for tensor in found):
            raise NotFound("masked channels reach the gradients of others")

    def _masked(self, position, factor) -> np.ndarray:
        """Factors of an output, zero where it is dead."""
        for p, axis, vector in self.trials.outputs:
            if p == position:
                np.moveaxis(factor := factor.copy(), axis, 0)[
                    ~self._stays(vector)
                ] = 0
        return factor

    def _held(self, position, output) -> set:
        held = set()
        for p, axis, vector in self.trials.outputs:
            if p == position:
                dead = np.compress(~self._stays(vector), output, axis=axis)
                if not np.isfinite(dead).all():
                    raise NotFound("masked channels are not finite in it")
                held |= set(np.unique(dead).astype(float).tolist()[:2])
        return held


def _fits(stated, shape) -> bool:
    return len(stated) == len(shape) and all(
        s in (None, size) for s, size in zip(stated, shape)
    )


def _close(first, second) -> bool:
    """Whether two arrays agree up to the order of sums."""
    if first.shape != second.shape:
        return False
    if not np.issubdtype(first.dtype, np.floating):
        return np.array_equal(first, second)
    tolerance = TOLERANCES[first.dtype.itemsize]
    size = np.abs(second[np.isfinite(second)]).max(initial=0.0)
    return np.allclose(
        first.astype(float),
        second.astype(float),
        rtol=tolerance,
        atol=0.1 * tolerance * size,
        equal_nan=True,
    )
