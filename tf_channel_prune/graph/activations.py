"""What tensors hold on data, folded to one number per position of an axis."""

from __future__ import annotations

import dataclasses

import numpy as np

from tf_channel_prune.graph import run as running
from tf_channel_prune.graph.arrays import to_numpy
from tf_channel_prune.graph.compiling import compiled
from tf_channel_prune.graph.data import batches
from tf_channel_prune.graph.structure import Graph


@dataclasses.dataclass(frozen=True)
class Activations:
    """Per `(tensor number, axis)`, one number per position of the axis.

    Attributes:
        means: The mean absolute value over samples and all other axes.
        zeros: The share of entries that are exactly zero.
        samples: How many samples it was.
    """

    means: dict[tuple[int, int], np.ndarray]
    zeros: dict[tuple[int, int], np.ndarray]
    samples: int


def activations(
    graph: Graph,
    data,
    axes,
    samples: int = 512,
    batch_size: int = 128,
    seed: int = 0,
) -> Activations:
    """Runs samples through the model and looks at some tensors.

    Args:
        graph: A graph whose model has weights.
        data: See `batches`; targets are not used.
        axes: `(tensor number, axis)` pairs.
        samples: The most samples to use. Defaults to 512.
        batch_size: Defaults to 128.
        seed: Of the choice of samples.
    """
    axes = list(axes)
    numbers = sorted({number for number, _ in axes})

    def step(values):
        made = running.run(graph, dict(zip(graph.inputs, values)), keep=numbers)
        return [_fold(made[number], axis) for number, axis in axes]

    step = compiled(graph, step)
    total = [np.zeros(2) for _ in axes]
    count = 0
    for x, _ in batches(data, batch_size, samples, seed):
        given = running.inputs(graph, x)
        size = int(given[graph.inputs[0]].shape[0])
        sums = step([given[number] for number in graph.inputs])
        total = [
            old + size * to_numpy(new) if count else size * to_numpy(new)
            for old, new in zip(total, sums)
        ]
        count += size
    means = [value / max(count, 1) for value in total]
    return Activations(
        {pair: value[0] for pair, value in zip(axes, means)},
        {pair: value[1] for pair, value in zip(axes, means)},
        count,
    )


def _fold(tensor, axis):
    """Mean absolute value and share of zeros, shape (2, positions)."""
    from keras import ops

    others = [a for a in range(len(tensor.shape)) if a != axis]
    tensor = ops.cast(tensor, "float32")
    zero = ops.cast(ops.equal(tensor, 0.0), "float32")
    return ops.stack(
        [ops.mean(ops.abs(tensor), others), ops.mean(zero, others)]
    )
