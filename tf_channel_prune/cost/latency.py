"""Latency as arithmetic: measured segments, linear between measured widths."""

from __future__ import annotations

import dataclasses
import itertools
import json
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from tf_channel_prune.cost.segments import Segment
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
        entries: Per segment key, its latencies.
    """

    device: str = ""
    target: str = "litert"
    threads: int | None = 1
    versions: dict[str, str] = dataclasses.field(default_factory=dict)
    overhead: float = 0.0
    models: dict[str, float] = dataclasses.field(default_factory=dict)
    entries: dict[str, Entry] = dataclasses.field(default_factory=dict)

    @property
    def missing(self) -> int:
        """How many grid points are not measured yet."""
        return sum(e.microseconds.count(None) for e in self.entries.values())

    def factor(self, digest: str, predicted: float) -> float:
        """What sums of segments are multiplied by, for one model.

        The ratio of the whole model's measured latency to the sum of its
        segments', all without overhead; 1 where the whole was not measured.
        """
        whole = self.models.get(digest)
        if whole is None or predicted <= 0:
            return 1.0
        return max(whole - self.overhead, 0.0) / predicted

    def to_json(self) -> str:
        """One segment a line, so that a diff is readable."""
        head = {
            "format": FORMAT,
            **{name: getattr(self, name) for name in _HEAD},
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
                "one with tcp.latency_table(model, path)."
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
        for what, value in {"overhead": table.overhead, **table.models}.items():
            if not _is_time(value):
                raise ValueError(f"{what} is {value!r}, not microseconds")
        for key, row in data["segments"].items():
            entry = Entry(**row)
            for sizes in entry.sizes:
                if not all(
                    isinstance(s, int) for s in sizes
                ) or sizes != sorted(set(sizes)):
                    raise ValueError(f"segment {key}: sizes must be ascending")
            if len(entry.microseconds) != len(entry.points):
                raise ValueError(
                    f"segment {key} has {len(entry.microseconds)} latencies "
                    f"for {len(entry.points)} points"
                )
            for value in entry.microseconds:
                if value is not None and not _is_time(value):
                    raise ValueError(
                        f"segment {key}: {value!r} is not a time in "
                        "microseconds"
                    )
            table.entries[key] = entry
        return table


_HEAD = ("device", "target", "threads", "versions", "overhead", "models")


def _is_time(value: Any) -> bool:
    real = isinstance(value, (int, float)) and not isinstance(value, bool)
    return real and 0 <= value < float("inf")


def shares_for(coordinates: int) -> tuple[float, ...]:
    """Which shares of the full width are measured."""
    return SHARES.get(coordinates, FEW_SHARES)


class LatencyTerms:
    """Latencies of a graph's segments as functions of the kept counts.

    Linear between measured widths along each coordinate, flat outside them.
    Measured noise must not make a smaller plan dearer, so along every width
    latencies are the largest of those up to it.

    Args:
        table: The measurements.
        parts: The segments of the graph.
        digest: The graph's.
        sizes: The full sizes of the prunable groups.

    Raises:
        PruningError: If a segment is not in the table, or not all of it.
    """

    def __init__(
        self,
        table: LatencyTable,
        parts: Sequence[Segment],
        digest: str,
        sizes: np.ndarray,
    ):
        self.nodes = np.array([part.main for part in parts], np.int64)
        grids = [_grid(table, part) for part in parts]
        dims = max((len(part.coordinates) for part in parts), default=0)
        longest = max((len(s) for knots, _ in grids for s in knots), default=1)
        # Unused coordinates have one knot, which every size is at.
        self._knots = np.full((len(parts), dims, longest), np.inf)
        self._knots[:, :, 0] = 0.0
        rows = np.zeros((len(parts) * dims, len(sizes)), np.float64)
        base = np.zeros(len(parts) * dims)
        for p, (part, (knots, _)) in enumerate(zip(parts, grids)):
            for d, coordinate in enumerate(part.coordinates):
                self._knots[p, d, : len(knots[d])] = knots[d]
                base[p * dims + d] = coordinate.constant
                for g, times in coordinate.groups:
                    rows[p * dims + d, g] = times
        from scipy.sparse import csr_array

        self._matrix, self._base = csr_array(rows), base
        self._values = np.zeros((len(parts), *[longest] * dims))
        for p, (_, values) in enumerate(grids):
            spot = (p, *(slice(0, n) for n in values.shape))
            self._values[spot + (0,) * (dims - values.ndim)] = values
        self._shape = (len(parts), dims)
        self._last = np.isfinite(self._knots).sum(axis=-1) - 1
        self._factor, self._share = 1.0, 0.0
        whole = float(self.values(sizes).sum())
        self._factor = table.factor(digest, whole)
        # The one overhead of the model, so that values add up to its latency.
        self._share = table.overhead / max(len(parts), 1)

    def values(self, counts) -> np.ndarray:
        """Microseconds of every segment with so many kept units."""
        sizes = (self._base + self._matrix @ np.asarray(counts)).reshape(
            self._shape
        )
        low = (sizes[..., None] >= self._knots).sum(axis=-1) - 1
        low = np.clip(low, 0, np.maximum(self._last - 1, 0))
        high = np.minimum(low + 1, self._last)
        at = np.take_along_axis
        left = at(self._knots, low[..., None], axis=-1)[..., 0]
        right = at(self._knots, high[..., None], axis=-1)[..., 0]
        gap = np.where(right > left, right - left, 1.0)
        part = np.where(right > left, (sizes - left) / gap, 0.0).clip(0.0, 1.0)
        total = np.zeros(len(sizes))
        rows = np.arange(len(sizes))
        for corner in itertools.product((0, 1), repeat=self._shape[1]):
            weight = np.ones(len(sizes))
            index = [rows]
            for d, upper in enumerate(corner):
                weight = weight * (part[:, d] if upper else 1 - part[:, d])
                index.append(high[:, d] if upper else low[:, d])
            total += weight * self._values[tuple(index)]
        return self._factor * total + self._share


def _grid(table: LatencyTable, part: Segment):
    """Knots and monotone latencies of one segment, without the overhead."""
    entry = table.entries.get(part.key)
    if entry is None or None in entry.microseconds:
        raise PruningError(
            f"The latency table has no latencies of {part.nodes[-1].name!r} "
            f"({part.what}), or not all: measure them on the target with "
            "tcp.latency_table(model, path)."
        )
    shape = tuple(len(sizes) for sizes in entry.sizes)
    values = np.array(entry.microseconds, np.float64).reshape(shape)
    values = np.maximum(values - table.overhead, 0.0)
    for axis in range(values.ndim):
        values = np.maximum.accumulate(values, axis=axis)
    return entry.sizes, values
