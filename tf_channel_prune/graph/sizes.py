"""Sizes that are not known before a model runs: the batch, a length.

Python arithmetic on sizes, `ops.reshape(x, (batch * windows, ...))`, needs
numbers. So a call is recorded twice, with two sets of primes in their place:
what differs by just their ratio is a product with that size; what differs
otherwise cannot be said without it.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import re
from collections.abc import Iterator

# What the unknown sizes are in a first and in a second record.
FIRST = (97, 101, 103, 107, 109, 113, 127, 131, 137, 139)
SECOND = (89, 83, 79, 73, 71, 67, 61, 59, 53, 47)
# What they are when the record is put to the test: all equal, even, small.
TESTS = ((40,) * len(FIRST), (8,) * len(FIRST))

# So many sizes can be parted in two in 15 ways.
_LARGEST_BLOCK = 5
_MOST_TRIES = 20


class NotExactError(Exception):
    """A record depends on an unknown size in a way that cannot be said."""


@dataclasses.dataclass(frozen=True)
class Size:
    """A product of a number and of unknown sizes.

    Attributes:
        times: The number.
        of: Which unknown sizes, ascending; one that is squared comes twice.
    """

    times: int
    of: tuple[int, ...]

    def number(self, primes) -> int:
        return self.times * math.prod(primes[i] for i in self.of)

    @property
    def alone(self) -> bool:
        """Whether it is one unknown size and nothing else."""
        return self.times == 1 and len(self.of) == 1


def numbers(shapes, primes) -> list[tuple]:
    """Shapes with primes in place of unknown sizes."""
    return [
        tuple(n.number(primes) if isinstance(n, Size) else n for n in shape)
        for shape in shapes
    ]


def of_two(one: int, two: int, primes=SECOND):
    """What is `one` with the first primes and `two` with others.

    Returns:
        A number, a `Size`, or None if it is neither.
    """
    if one == two:
        return one
    if one == 0:
        return None
    times, of = one, []
    for i, prime in enumerate(FIRST):
        while times % prime == 0:
            times //= prime
            of.append(i)
    found = Size(times, tuple(of))
    return found if found.number(primes) == two else None


def may_depend(value, primes) -> bool:
    """Whether a number may come from a size."""
    return (
        isinstance(value, int)
        and value > 0
        and any(value % prime == 0 for prime in primes)
    )


def numbered(shapes) -> list[tuple]:
    """Names the unknown sizes of a call's tensors, the most general way.

    All first axes are the batch; all others are different.

    Args:
        shapes: For each tensor its shape, `None` for an unknown size and
            `Size` for one that is known to depend on others.

    Returns:
        The shapes with a `Size` in place of every `None`.

    Raises:
        NotExactError: If there are more than there are primes.
    """
    known = sorted({i for shape in shapes for i in _names(shape)})
    shapes = _renamed(shapes, {old: new for new, old in enumerate(known)})
    free = itertools.count(len(known))
    batch = None
    found = []
    for shape in shapes:
        if shape and shape[0] is None:
            batch = batch or Size(1, (next(free),))
            shape = (batch, *shape[1:])
        found.append(
            tuple(Size(1, (next(free),)) if n is None else n for n in shape)
        )
    if next(free) > len(FIRST):
        raise NotExactError("it has too many sizes that are not known")
    return found


def together(shapes, blocks) -> list[tuple]:
    """Shapes in which all unknown sizes of a block are its first one."""
    return _renamed(shapes, {i: block[0] for block in blocks for i in block})


def _renamed(shapes, names) -> list[tuple]:
    def renamed(size):
        if not isinstance(size, Size):
            return size
        of = sorted(names.get(i, i) for i in size.of)
        return Size(size.times, tuple(of))

    return [tuple(map(renamed, shape)) for shape in shapes]


def _names(shape) -> list[int]:
    """The unknown sizes in a shape."""
    return [i for size in shape if isinstance(size, Size) for i in size.of]


def first_that_runs(shapes, run):
    """The most general way to number sizes that a call takes.

    Which sizes are equal, shapes do not say. Whatever runs with all of them
    different holds for any sizes; where the call refuses that, some have to
    be equal: those without which it does not run.

    Args:
        shapes: Shapes that are `numbered`.
        run: Function of such shapes that raises where they do not fit.

    Returns:
        The shapes, and what `run` gives for them.
    """

    def attempt(blocks):
        found = together(shapes, blocks)
        return found, run(found)

    batch = {i for shape in shapes for i in _names(shape[:1])}
    lengths = {i for shape in shapes for i in _names(shape)} - batch
    waiting = [[(i,) for i in sorted(lengths)]]
    refused = None
    for _ in range(_MOST_TRIES):
        if not waiting:
            break
        blocks = waiting.pop()
        try:
            return _least(attempt, blocks, attempt(blocks))
        except NotExactError:
            raise
        except Exception as error:  # any user code may run here
            refused = refused or error
            waiting += reversed(_joined(blocks, str(error)))
    raise refused


def _least(attempt, blocks, found):
    """Parts the blocks again where the call runs without."""
    for parts in _parted(blocks):
        try:
            less = attempt(parts)
        except Exception:  # so they have to be equal
            continue
        return _least(attempt, parts, less)
    return found


def _joined(blocks, message) -> list[list]:
    """Ways to join two blocks, those first that a message names.

    A message names none at all where users write their own; there is one way
    left then.
    """
    said = [int(number) for number in re.findall(r"\d+", message)]
    named = [block for block in blocks if FIRST[block[0]] in said]
    named.sort(key=lambda block: said.index(FIRST[block[0]]))
    if len(named) > 1:
        return [
            [(*one, *two), *(b for b in blocks if b not in (one, two))]
            for one, two in itertools.combinations(named, 2)
        ]
    return [[tuple(itertools.chain(*blocks))]] if len(blocks) > 1 else []


def _parted(blocks) -> Iterator[list]:
    """Ways to make two of one block."""
    for block in blocks:
        if len(block) > _LARGEST_BLOCK:
            raise NotExactError("it has too many sizes that are not known")
        others = [b for b in blocks if b is not block]
        for count in range(1, len(block)):
            for some in itertools.combinations(block[1:], count):
                rest = tuple(i for i in block if i not in some)
                yield [*others, some, rest]
