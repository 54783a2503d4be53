"""Measured latencies of segments at candidate widths, and their file."""

from __future__ import annotations

import dataclasses
import itertools
import json
import pathlib
from typing import Any

from tf_channel_prune.errors import PruningError
from tf_channel_prune.errors import StaleFileError
from tf_channel_prune.graph.files import write_text

FORMAT = 1
# Shares of the full width that are measured, by the number of widths that a
# segment's latency depends on. Down to a tenth; below that it is taken as flat.
SHARES = {
    0: (1.0,),
    1: (1.0, 0.7, 0.4, 0.1),
    2: (1.0, 0.7, 0.4, 0.1),
    3: (1.0, 0.5, 0.1),
}
FEW_SHARES = (1.0, 0.1)


@dataclasses.dataclass
class Entry:
    """Latencies of one segment on a grid of widths.

    Attributes:
        what: For people: the kinds of its operations.
        inputs: Shapes of what goes in at full width.
        sizes: Per coordinate, the measured widths, ascending.
        microseconds: One a grid point, the last coordinate fastest; None
            where nothing was measured yet.
    """

    what: str
    inputs: list[list[int]]
    sizes: list[list[int]]
    microseconds: list[float | None]

    @property
    def points(self) -> list[tuple[int, ...]]:
        """The grid points, in the order of the latencies."""
        return list(itertools.product(*(range(len(s)) for s in self.sizes)))

    def check(self, name: str) -> None:
        """Raises ValueError unless the grid and the latencies make sense."""
        for sizes in self.sizes:
            whole = all(isinstance(size, int) for size in sizes)
            if not sizes or not whole or sizes != sorted(set(sizes)):
                raise ValueError(f"{name}: sizes must be ascending")
        if len(self.microseconds) != len(self.points):
            raise ValueError(
                f"{name} has {len(self.microseconds)} latencies for "
                f"{len(self.points)} points"
            )
        for value in self.microseconds:
            if value is not None and not _is_time(value):
                raise ValueError(
                    f"{name}: {value!r} is not a time in microseconds"
                )


@dataclasses.dataclass
class SlimTime:
    """The measured latency of a whole model with some of its channels.

    Attributes:
        sizes: Of the prunable groups.
        kept: How many units each of them kept.
        microseconds: One sample.
    """

    sizes: list[int]
    kept: list[int]
    microseconds: float


@dataclasses.dataclass
class LatencyTable:
    """Measured latencies of the segments of one or several models.

    Times are of one sample, in microseconds. The file is JSON, one segment a
    line, so that another machine, or another program, can fill it in.

    Attributes:
        device: What it was measured on, in the words of who did.
        target: `litert`, `tensorflow`, or the name of a measuring function.
        threads: How many threads the target used; None for its default.
        versions: Of what was measured with.
        overhead: What running a model that does nothing takes; it is in every
            measured latency once.
        models: Per graph digest, the measured latency of the whole model.
        slim: Per graph digest, that of the model with about half of its
            latency gone.
        entries: Per segment key, its latencies.
    """

    device: str = ""
    target: str = "litert"
    threads: int | None = 1
    versions: dict[str, str] = dataclasses.field(default_factory=dict)
    overhead: float = 0.0
    models: dict[str, float] = dataclasses.field(default_factory=dict)
    slim: dict[str, SlimTime] = dataclasses.field(default_factory=dict)
    entries: dict[str, Entry] = dataclasses.field(default_factory=dict)

    @property
    def missing(self) -> int:
        """How many grid points are not measured yet."""
        return sum(e.microseconds.count(None) for e in self.entries.values())

    def to_json(self) -> str:
        """One segment a line, so that a diff is readable."""
        head = {
            "format": FORMAT,
            **{name: getattr(self, name) for name in _HEAD},
            "slim": {
                digest: dataclasses.asdict(one)
                for digest, one in self.slim.items()
            },
        }
        text = json.dumps(head, indent=2)[:-2]
        rows = [
            f"    {json.dumps(key)}: {json.dumps(dataclasses.asdict(entry))}"
            for key, entry in self.entries.items()
        ]
        return text + ',\n  "segments": {\n' + ",\n".join(rows) + "\n  }\n}\n"

    def write(self, path) -> None:
        """Writes the file whole or not at all."""
        write_text(path, self.to_json())

    @classmethod
    def read(cls, path) -> LatencyTable:
        """Reads a table file.

        Raises:
            PruningError: If it cannot be read.
            StaleFileError: If it is not a table of latencies.
        """
        try:
            text = pathlib.Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise PruningError(
                f"The latency table {path} cannot be read: {error}. Measure "
                "one with tcp.measure_latency(model, path)."
            ) from error
        try:
            return cls._checked(json.loads(text))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise StaleFileError(
                f"{path} is not a latency table: {error}. Move it away and "
                "measure again."
            ) from error

    @classmethod
    def _checked(cls, data) -> LatencyTable:
        if data["format"] != FORMAT:
            raise ValueError(f"format {data['format']!r}, expected {FORMAT}")
        table = cls(**{name: data[name] for name in _HEAD})
        for what in ("device", "target"):
            if not isinstance(getattr(table, what), str):
                raise ValueError(f"{what} is not a name")
        for what, value in {"overhead": table.overhead, **table.models}.items():
            if not _is_time(value):
                raise ValueError(f"{what} is {value!r}, not microseconds")
        for digest, row in data.get("slim", {}).items():
            one = table.slim[digest] = SlimTime(**row)
            if not _is_time(one.microseconds):
                raise ValueError(
                    f"slim: {one.microseconds!r} is not a time in microseconds"
                )
            if len(one.kept) != len(one.sizes) or not all(
                isinstance(count, int) for count in [*one.sizes, *one.kept]
            ):
                raise ValueError(f"slim: {one.kept!r} are not counts")
        for key, row in data["segments"].items():
            table.entries[key] = Entry(**row)
            table.entries[key].check(f"segment {key}")
        return table


def as_table(latency) -> LatencyTable | None:
    """A table of latencies that is given as one, as its file or not at all."""
    if latency is None or isinstance(latency, LatencyTable):
        return latency
    return LatencyTable.read(latency)


_HEAD = ("device", "target", "threads", "versions", "overhead", "models")


def _is_time(value: Any) -> bool:
    real = isinstance(value, (int, float)) and not isinstance(value, bool)
    return real and 0 <= value < float("inf")


def shares_for(coordinates: int) -> tuple[float, ...]:
    """Which shares of the full width are measured."""
    return SHARES.get(coordinates, FEW_SHARES)
