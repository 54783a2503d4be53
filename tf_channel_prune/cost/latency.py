"""Latency as arithmetic: measured segments, linear between measured widths."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from tf_channel_prune.cost.latency_table import LatencyTable
from tf_channel_prune.cost.segments import Segment
from tf_channel_prune.errors import PruningError


class LatencyTerms:
    """Latencies of a graph's segments as functions of the kept counts.

    Linear between measured widths along each coordinate, flat outside them.
    Measured noise must not make a smaller plan dearer, so along every width
    latencies are the largest of those up to it.

    A segment that runs alone takes a little more or less than inside the
    model, whatever its width: its inputs are laid out anew, its calls are
    dispatched. Where the whole model was measured, dense and with about half
    of its latency gone, each segment is relieved of the same time and all are
    multiplied by the same factor, so that both sums are what was measured.

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
        self._values = np.zeros((len(parts), *[longest] * dims))
        # Sizes are an affine function of the counts.
        self._times = np.zeros((len(parts), dims, len(sizes)))
        self._base = np.zeros((len(parts), dims))
        for p, (part, (knots, values)) in enumerate(zip(parts, grids)):
            for d, coordinate in enumerate(part.coordinates):
                self._knots[p, d, : len(knots[d])] = knots[d]
                self._base[p, d] = coordinate.constant
                for g, times in coordinate.groups:
                    self._times[p, d, g] = times
            spot = (p, *(slice(0, n) for n in values.shape))
            self._values[spot + (0,) * (dims - values.ndim)] = values
        self._last = np.isfinite(self._knots).sum(axis=-1) - 1
        self._of_group = [
            np.flatnonzero(self._times[..., g].any(axis=1))
            for g in range(len(sizes))
        ]
        self._alone, self._factor, self._share = 0.0, 1.0, 0.0
        self._fit(table, digest, sizes)
        # The one overhead of the model, so that values add up to its latency.
        self._share = table.overhead / max(len(parts), 1)

    def _fit(self, table, digest, sizes):
        """Takes the sums to what was measured of the whole model."""
        dense = self.values(sizes)
        whole = table.models.get(digest)
        if whole is None or dense.sum() <= 0:
            return
        whole = max(whole - table.overhead, 0.0)
        slim = table.slim.get(digest)
        if slim is not None and slim.sizes == list(sizes) and whole > 0:
            half = self.values(slim.kept)
            share = max(slim.microseconds - table.overhead, 0.0) / whole
            self._alone = _alone(dense, half, share)
        self._factor = whole / np.maximum(dense - self._alone, 0.0).sum()

    def values(self, counts) -> np.ndarray:
        """Microseconds of every segment with so many kept units."""
        sizes = self._base + self._times @ np.asarray(counts)
        return self._at(sizes[None], np.arange(len(sizes)))[0]

    def alternatives(self, counts, group: int, options) -> np.ndarray:
        """See `CostTable.alternatives`."""
        rows = self._of_group[group]
        times = self._times[rows]
        sizes = self._base[rows] + times @ np.asarray(counts)
        steps = np.asarray(options) - counts[group]
        sizes = sizes + steps[:, None, None] * times[None, :, :, group]
        return self._at(sizes, rows).sum(axis=1)

    def _at(self, sizes, rows) -> np.ndarray:
        """Microseconds, shape (n, rows), at sizes of shape (n, rows, dims)."""
        knots, last = self._knots[rows], self._last[rows]
        low = (sizes[..., None] >= knots).sum(axis=-1) - 1
        low = np.clip(low, 0, np.maximum(last - 1, 0))
        high = np.minimum(low + 1, last)
        spot = (np.arange(len(rows))[:, None], np.arange(sizes.shape[-1]))
        left, right = knots[(*spot, low)], knots[(*spot, high)]
        gap = np.where(right > left, right - left, 1.0)
        part = np.where(right > left, (sizes - left) / gap, 0.0).clip(0.0, 1.0)
        total = np.zeros(sizes.shape[:-1])
        for corner in itertools.product((0, 1), repeat=sizes.shape[-1]):
            weight = np.ones(sizes.shape[:-1])
            index = [np.broadcast_to(rows, sizes.shape[:-1])]
            for d, upper in enumerate(corner):
                weight = weight * (part[..., d] if upper else 1 - part[..., d])
                index.append((high if upper else low)[..., d])
            total += weight * self._values[tuple(index)]
        return self._factor * np.maximum(total - self._alone, 0.0) + self._share


def _alone(dense, slim, share: float) -> float:
    """The time that makes a slim model take that share of the dense sum.

    Negative where segments take more inside the model than alone.

    Args:
        dense, slim: Microseconds of every segment alone.
        share: Of the whole model, as measured.
    """
    from scipy.optimize import brentq

    def gap(alone):
        left = np.maximum(slim - alone, 0.0).sum()
        return left / np.maximum(dense - alone, 0.0).sum() - share

    # Half of the sum stays at least; at the other end all times are nearly
    # the same.
    mean = float(dense.mean())
    low, high = -10.0 * mean, 0.5 * mean
    if gap(low) <= 0 or gap(high) >= 0:
        return low if gap(low) <= 0 else high
    return float(brentq(gap, low, high))


def _grid(table: LatencyTable, part: Segment):
    """Knots and monotone latencies of one segment, without the overhead."""
    entry = table.entries.get(part.key)
    if entry is None or None in entry.microseconds:
        raise PruningError(
            f"The latency table has no latencies of {part.nodes[-1].name!r} "
            f"({part.what}), or not all: measure them on the target with "
            "tcp.measure_latency(model, path)."
        )
    shape = tuple(len(sizes) for sizes in entry.sizes)
    values = np.array(entry.microseconds, np.float64).reshape(shape)
    values = np.maximum(values - table.overhead, 0.0)
    for axis in range(values.ndim):
        values = np.maximum.accumulate(values, axis=axis)
    return entry.sizes, values
