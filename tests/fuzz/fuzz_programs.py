"""Random models as programs: written line by line, and cut down to a few."""

from __future__ import annotations

import dataclasses
import random
import re

import fuzz_cells_by_rank  # noqa: F401
import fuzz_layers
import keras
import numpy as np
from fuzz_cells import CELLS
from keras import layers
from keras import ops

INPUTS = ["(6, 6, 3)", "(4, 8, 2)", "(6, 4)", "(5,)"]
LARGEST = 600  # elements of a tensor, without the batch


class Unsuitable(Exception):
    """A cell cannot use the tensors that it picked."""


@dataclasses.dataclass(frozen=True)
class Line:
    """One statement, and the tensors that it makes."""

    text: str
    makes: tuple[str, ...] = ()

    @property
    def left(self) -> list[str]:
        return names_in(self.text.split(" = ", 1)[0])

    @property
    def right(self) -> list[str]:
        return names_in(self.text.split(" = ", 1)[1])


def names_in(text: str) -> list[str]:
    return list(dict.fromkeys(re.findall(r"\bx\d+\b", text)))


def namespace() -> dict:
    """What a program may use."""
    own = {
        name: value
        for name, value in vars(fuzz_layers).items()
        if isinstance(value, type)
    }
    return {"keras": keras, "layers": layers, "ops": ops, "np": np, **own}


class Writer:
    """What a cell sees: the tensors so far, chance, and a pen."""

    Unsuitable = Unsuitable

    def __init__(self, rng: random.Random):
        self.rng = rng
        self.lines: list[Line] = []
        self.tensors: list[str] = []
        self.values = namespace()
        self._count = 0
        self.choice = rng.choice
        self.integer = rng.randint
        self.sample = rng.sample

    def chance(self, share) -> bool:
        return self.rng.random() < share

    def name(self) -> str:
        self._count += 1
        return f"x{self._count}"

    def line(self, text, makes=()) -> None:
        """Writes a statement and runs it."""
        exec(text, self.values)
        self.lines.append(Line(text, tuple(makes)))
        for name in makes:
            batch, *shape = self.shape(name)
            if batch is not None or not shape or None in shape:
                raise Unsuitable
            if not 0 < int(np.prod(shape)) <= LARGEST:
                raise Unsuitable
            self.tensors.append(name)

    def make(self, text, tensor=True) -> str:
        name = self.name()
        self.line(f"{name} = {text}", [name] if tensor else [])
        return name

    def shape(self, name) -> tuple:
        return tuple(self.values[name].shape)

    def rank(self, name) -> int:
        return len(self.shape(name))

    def channels(self, name) -> int:
        return self.shape(name)[-1]

    def width(self) -> int:
        return self.integer(2, 8)

    def array(self, shape) -> str:
        seed = self.integer(0, 99)
        return f"np.random.default_rng({seed}).standard_normal({shape})"

    def like(self, name) -> str:
        """A tensor of the same shape, perhaps itself."""
        return self._among(lambda other: self.shape(other) == self.shape(name))

    def same_but_last(self, name) -> str:
        return self._among(
            lambda other: self.shape(other)[:-1] == self.shape(name)[:-1]
        )

    def _among(self, suitable) -> str:
        return self.choice([t for t in self.tensors if suitable(t)][-6:])

    def grow(self) -> None:
        """One cell more; what does not fit leaves nothing behind."""
        names, weights = zip(*((n, c[2]) for n, c in CELLS.items()))
        function, rank, _ = CELLS[self.rng.choices(names, weights)[0]]
        fitting = [t for t in self.tensors if rank in (None, self.rank(t))]
        lines, tensors = len(self.lines), len(self.tensors)
        try:
            function(self, self.choice(fitting[-4:]))
        except Exception:  # any cell may pick what does not fit
            del self.lines[lines:]
            del self.tensors[tensors:]


def write(seed: int) -> list[Line]:
    """A random program; the same for the same seed."""
    keras.backend.clear_session()
    rng = random.Random(seed)
    writer = Writer(rng)
    inputs = [
        writer.make(f"keras.Input({rng.choice(INPUTS)})")
        for _ in range(1 if rng.random() < 0.7 else 2)
    ]
    for name in inputs:
        # Inputs are fixed: most of what follows starts from channels.
        writer.make(f"layers.Dense({writer.integer(3, 8)})({name})")
    for _ in range(rng.randint(3, 10)):
        writer.grow()
    used = {name for line in writer.lines for name in line.right}
    outputs = []
    for end in [t for t in writer.tensors if t not in used][-3:]:
        if rng.random() < 0.7:
            end = writer.make(f"layers.Dense(2)({end})")
        outputs.append(end)
    taken = inputs[0] if len(inputs) == 1 else f"[{', '.join(inputs)}]"
    writer.line(f"model = keras.Model({taken}, [{', '.join(outputs)}])")
    return writer.lines


def build(lines: list[Line]):
    """Runs a program."""
    keras.backend.clear_session()
    values = namespace()
    for line in lines:
        exec(line.text, values)
    return values["model"]


def shrunk(lines: list[Line], fails) -> list[Line]:
    """The program with fewer lines that still fails.

    A line goes, or what it makes becomes another name for one of the tensors
    that it uses.

    Args:
        lines: A program that fails.
        fails: Function of a program that says whether it fails.
    """
    changed = True
    while changed:
        changed = False
        for at in reversed(range(len(lines) - 1)):
            if at >= len(lines) - 1:
                continue
            for shorter in _without(lines, at):
                if fails(shorter):
                    lines, changed = shorter, True
                    break
    return lines


def _without(lines, at):
    """Programs in which line `at` is gone."""
    line, rest = lines[at], lines[at + 1 :]
    yield lines[:at] + rest
    mine = re.compile(r"\b(" + "|".join(line.left) + r")\b")
    for other in line.right:
        yield lines[:at] + [
            Line(mine.sub(other, r.text), r.makes) for r in rest
        ]


def printed(lines: list[Line]) -> str:
    """A program as a function that can be pasted into a test."""
    body = "\n".join(f"    {line.text}" for line in lines)
    return f"def failing():\n{body}\n    return model\n"
