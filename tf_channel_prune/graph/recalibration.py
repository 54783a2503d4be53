"""Running statistics of normalisation layers, measured anew.

A pruned model's BatchNormalization layers still hold the statistics of the
dense one. Measuring them again on a few batches, without training, gives back
much of the accuracy, and ranks candidates as fine-tuning would (EagleEye: Li
et al., ECCV 2020, section 3.3, "adaptive batch normalization").
"""

from __future__ import annotations

import numpy as np

from tf_channel_prune.errors import PruningError
from tf_channel_prune.graph import run as running
from tf_channel_prune.graph.arrays import to_numpy
from tf_channel_prune.graph.compiling import compiled
from tf_channel_prune.graph.data import batches
from tf_channel_prune.graph.structure import Graph


class Recalibration:
    """Measures the statistics of one graph, as often as its weights change.

    Every layer sees its own batch's statistics, as in training; other layers
    behave as at inference. What is kept are the moments over all samples.

    Args:
        graph: The graph of a model; the model's statistics are overwritten.
    """

    def __init__(self, graph: Graph):
        self.graph = graph
        layers: dict[int, object] = {}
        self._axes: dict[int, list[int]] = {}
        for node in graph.nodes:
            if "BatchNormalization" in node.kinds:
                layers.setdefault(id(node.operation), node.operation)
        self.layers = list(layers.values())
        self._step = compiled(graph, self._moments)

    def __call__(self, data, samples=2048, batch_size=256, seed=0) -> int:
        """Measures and stores the statistics.

        Args:
            data: See `batches`; targets are not used.
            samples: The most samples to use. Defaults to 2,048.
            batch_size: Defaults to 256. A layer's input depends on the
                statistics of its batch in the layers before, so it should
                not be small.
            seed: Of the choice of samples.

        Returns:
            How many samples were used.
        """
        if not self.layers:
            return 0
        total, count = None, 0
        for x, _ in batches(data, batch_size, samples, seed):
            given = running.inputs(self.graph, x)
            size = int(given[self.graph.inputs[0]].shape[0])
            found = self._step([given[n] for n in self.graph.inputs])
            found = [size * to_numpy(one).astype("float64") for one in found]
            total = (
                found
                if total is None
                else [a + b for a, b in zip(total, found)]
            )
            count += size
        if not count:
            raise PruningError("The data to recalibrate on are empty.")
        for layer, sums in zip(self.layers, total):
            mean, square = sums / count
            variance = np.maximum(square - np.square(mean), 0.0)
            layer.moving_mean.assign(mean.astype("float32"))
            layer.moving_variance.assign(variance.astype("float32"))
        return count

    def _moments(self, values):
        """Per layer, the means of `x` and `x ** 2`, shape (2, channels)."""
        found: dict[int, list] = {}

        def call(node, args, kwargs):
            if "BatchNormalization" not in node.kinds:
                return None
            return self._normalise(node, args, kwargs, found)

        running.run(self.graph, dict(zip(self.graph.inputs, values)), call=call)
        return [_mean(found[id(layer)]) for layer in self.layers]

    def _normalise(self, node, args, kwargs, found):
        moments = normalise(node, args, kwargs)
        found.setdefault(id(node.operation), []).append(moments)
        return running.plain(self.graph, node, args, kwargs)


def normalise(node, args, kwargs):
    """Gives a normalisation layer the statistics of the batch it will see.

    Returns:
        The means of `x` and `x ** 2`, shape (2, channels).
    """
    from keras import ops

    layer = node.operation
    x = ops.cast(args[0] if args else kwargs["inputs"], "float32")
    axis = layer.axis
    axis = axis[0] if isinstance(axis, (list, tuple)) else axis
    axis %= len(x.shape)
    others = [a for a in range(len(x.shape)) if a != axis]
    mean, variance = ops.moments(x, others)
    layer.moving_mean.assign(ops.cast(mean, layer.moving_mean.dtype))
    layer.moving_variance.assign(
        ops.cast(variance, layer.moving_variance.dtype)
    )
    return ops.stack([mean, variance + ops.square(mean)])


def _mean(tensors):
    """A layer that is called several times has the mean of its calls."""
    return sum(tensors) / len(tensors)
