"""Measures a model's segments at candidate widths into a table file."""

from __future__ import annotations

import pathlib

import numpy as np

from tf_channel_prune import criteria
from tf_channel_prune.channels import Channels
from tf_channel_prune.cost import CostTable
from tf_channel_prune.cost.latency_table import Entry
from tf_channel_prune.cost.latency_table import LatencyTable
from tf_channel_prune.cost.latency_table import SlimTime
from tf_channel_prune.cost.latency_table import shares_for
from tf_channel_prune.cost.segments import Segment
from tf_channel_prune.cost.segments import segments
from tf_channel_prune.errors import StaleFileError
from tf_channel_prune.errors import TargetError
from tf_channel_prune.graph import concrete_shapes
from tf_channel_prune.graph.digests import graph_digest
from tf_channel_prune.graph.parts import part
from tf_channel_prune.latency.targets import WHOLE_SECONDS
from tf_channel_prune.latency.targets import this_machine
from tf_channel_prune.latency.timing import fastest
from tf_channel_prune.planning import Request
from tf_channel_prune.planning.limits import auto_divisor
from tf_channel_prune.transform.slim import Cut

# What is removed where the whole model is measured beside the dense one.
HALF = 0.5


def fill(
    channels: Channels,
    path,
    target,
    device: str | None = None,
    progress: bool = True,
) -> LatencyTable:
    """Measures what a table does not have yet of a model.

    Every measurement is in the file before the next one begins.

    Args:
        channels: The labels of the model.
        path: The table's file; it is made if there is none, and may hold
            other models' segments.
        target: Where to measure; see `targets.target_for`.
        device: A name for the machine. Defaults to this one's processor; for
            a function, which measures anywhere, to what the file has.
        progress: Whether to show a progress bar. Defaults to True.

    Returns:
        The table.

    Raises:
        StaleFileError: If the file was measured on another device or target.
    """
    from tf_channel_prune.report.progress import progress_bar

    path = pathlib.Path(path)
    table = _table(path, target, device)
    parts = segments(channels, concrete_shapes(channels.graph).by_tensor)
    wanted = {p.key: p for p in parts}
    for key, segment in wanted.items():
        if key not in table.entries:
            table.entries[key] = _entry(channels, segment)
    digest = graph_digest(channels.graph)
    points = [
        (segment, n)
        for key, segment in wanted.items()
        for n, value in enumerate(table.entries[key].microseconds)
        if value is None
    ]
    with progress_bar("latency", len(points) + 2, progress) as advance:
        for segment, n in points:
            entry = table.entries[segment.key]
            made = _built(
                channels,
                _alive_at(channels, segment, entry, n),
                segment.nodes,
                segment.inputs,
                segment.outputs,
            )
            entry.microseconds[n] = round(target.time(made), 3)
            table.write(path)
            advance(segment.what)
        if digest not in table.models:
            dense = target.time(_whole(channels), WHOLE_SECONDS)
            table.models[digest] = round(dense, 3)
            table.write(path)
        advance("the whole model")
        known = table.slim.get(digest)
        if known is None or known.sizes != _counts(channels, 1):
            alive = _likely(channels, table)
            share = _share(channels, target, alive)
            table.slim[digest] = SlimTime(
                _counts(channels, 1),
                [int(alive[group.units].sum()) for group in channels.prunable],
                round(share * table.models[digest], 3),
            )
            table.write(path)
        advance("a slim model")
    return table


def _likely(channels, table) -> np.ndarray:
    """A plan that removes half of the latency, or half of every group."""
    costs = CostTable(channels, latency=table)
    try:
        request = Request(HALF, of="latency")
        scores = criteria.scores(channels)
        return request.choose(channels, scores, table=costs).alive
    except TargetError:
        alive = np.ones(channels.unit_count, bool)
        for group in channels.prunable:
            kept = group.allowed(_kept(group.size, HALF))
            alive[group.units[kept:]] = False
        return alive


def _whole(channels):
    return for_one_sample(channels, np.ones(channels.unit_count, bool))


def _share(channels, target, alive) -> float:
    """The latency of a slim model over the dense one's.

    In turns where the target can: a machine's speed changes by the minute.
    """
    models = [_whole(channels), for_one_sample(channels, alive)]
    if hasattr(target, "runner"):
        dense, slim = fastest(
            [target.runner(model) for model in models],
            2 * WHOLE_SECONDS,
            target.clock,
        )
    else:
        dense, slim = (target.time(model, WHOLE_SECONDS) for model in models)
    return slim / dense if dense > 0 else 1.0


def _table(path, target, device) -> LatencyTable:
    """The table in a file, or a new one."""
    if path.exists():
        table = LatencyTable.read(path)
        device = _device(device, target, table)
        own = (device, target.name, target.threads)
        theirs = (table.device, table.target, table.threads)
        if own != theirs:
            raise StaleFileError(
                f"{path} was measured on {theirs[0]!r} with {theirs[1]} and "
                f"threads={theirs[2]}, not on {own[0]!r} with {own[1]} and "
                f"threads={own[2]}: name another file, or say device=, "
                "target= and threads= as they were if nothing has changed."
            )
        return table
    return LatencyTable(
        _device(device, target),
        target.name,
        target.threads,
        target.versions(),
        round(target.time(_nothing()), 3),
    )


def _device(device, target, table=None) -> str:
    if device is not None:
        return str(device)
    # What has no runner is a function, which may measure on another machine.
    if table is not None and not hasattr(target, "runner"):
        return table.device
    return this_machine()


def _nothing():
    """A model that does next to nothing."""
    import keras

    given = keras.Input((4,))
    return keras.Model(given, keras.layers.ReLU()(given))


def _entry(channels: Channels, segment: Segment) -> Entry:
    """The grid of a segment, nothing measured."""
    shares = shares_for(len(segment.coordinates))
    sizes = []
    for coordinate in segment.coordinates:
        found = {coordinate.size(_counts(channels, share)) for share in shares}
        sizes.append(sorted(found))
    points = int(np.prod([len(s) for s in sizes], dtype=np.int64))
    inputs = [list(shape) for shape in segment.inputs.values()]
    return Entry(segment.what, inputs, sizes, [None] * points)


def _counts(channels, share) -> list[int]:
    """What is kept of each prunable group at a share, in divisor steps."""
    return [_kept(group.size, share) for group in channels.prunable]


def _kept(size, share) -> int:
    step = auto_divisor(size)
    return size if share == 1 else max(round(size * share / step), 1) * step


def _alive_at(channels, segment, entry, n) -> np.ndarray:
    """What stays at one point of a segment's grid."""
    alive = np.ones(channels.unit_count, bool)
    shares = shares_for(len(segment.coordinates))
    for d, coordinate in enumerate(segment.coordinates):
        size = entry.sizes[d][entry.points[n][d]]
        share = next(
            s for s in shares if coordinate.size(_counts(channels, s)) == size
        )
        for g, _ in coordinate.groups:
            group = channels.prunable[g]
            alive[group.units[_kept(group.size, share) :]] = False
    return alive


def _built(channels, alive, nodes, inputs, outputs):
    """Some calls of a graph as a model, with what stays."""
    cut = Cut(channels, alive)
    shapes = {
        number: _shape(cut.kept, number, shape)
        for number, shape in inputs.items()
    }
    return cut.built(part(channels.graph, nodes, shapes, outputs))


def _shape(kept, number, shape):
    """A full shape with what stays along every axis that has labels."""
    labels = kept.scope.tensors[number]
    return tuple(
        size if labels.axis(axis) is None else kept.size(number, axis)
        for axis, size in enumerate(shape)
    )


def for_one_sample(channels: Channels, alive: np.ndarray):
    """The whole model for one sample, with the units in `alive`.

    Sizes that the model leaves open are those that its costs are counted at.
    """
    graph = channels.graph
    known = concrete_shapes(graph).by_tensor
    inputs = {
        number: (1, *known.get(number, graph.tensors[number].shape)[1:])
        for number in graph.inputs
    }
    return _built(channels, alive, graph.nodes, inputs, graph.outputs)
