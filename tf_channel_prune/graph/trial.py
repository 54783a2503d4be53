"""Scores of variants of one model that differ from some node on.

What stands before the first changed node is run once a batch for all variants
of a group, from where the group before it began (see `prefixes.py`); only the
rest is run for each. On JAX the whole model, compiled, is run for every variant
instead: an operation by itself takes longer to start than most take to run, so
a part of a model costs more than all of it.

Normalisation layers use the statistics of the batch, so that a variant is
scored as it would be with its statistics measured anew (see
`recalibration.py`), at no further cost.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence
from contextlib import AbstractContextManager

import numpy as np

from tf_channel_prune.errors import PruningError
from tf_channel_prune.graph import run as running
from tf_channel_prune.graph.arrays import to_numpy
from tf_channel_prune.graph.compiling import compiled
from tf_channel_prune.graph.data import batches
from tf_channel_prune.graph.losses import losses_of
from tf_channel_prune.graph.prefixes import Prefixes
from tf_channel_prune.graph.recalibration import normalise
from tf_channel_prune.graph.structure import Graph
from tf_channel_prune.graph.structure import leaves

Variant = Callable[[], AbstractContextManager]


class Trials:
    """Runs variants of a model on data.

    Args:
        graph: The graph of a model whose weights the variants may change.
        data: See `batches`; with targets.
        metric: `accuracy`, `loss` (negative, so that larger is better), or a
            function of `(y, y_pred)` that gives one number a sample, larger
            for better.
        loss: For `loss`; defaults to the compiled model's.
        samples: The most samples to use. Defaults to all.
        batch_size: Of data given as arrays. Defaults to 250. With
            `statistics`, a batch must be large enough to have some.
        statistics: Whether normalisation layers use the batch's statistics.
            Defaults to True.
        seed: Of the choice of samples.

    Attributes:
        work: What has been run so far, in evaluations of the whole model on
            `samples` samples, by the nodes' costs.
    """

    def __init__(
        self,
        graph: Graph,
        data,
        metric="accuracy",
        loss=None,
        samples: int | None = None,
        batch_size: int = 250,
        statistics: bool = True,
        seed: int = 0,
        costs: np.ndarray | None = None,
    ):
        self.graph = graph
        self.batches = list(batches(data, batch_size, samples, seed))
        self.statistics = statistics
        self.score = _metric(graph, metric, loss)
        costs = np.ones(len(graph.nodes)) if costs is None else costs
        self._costs = np.cumsum([0.0, *costs])
        self.work = 0.0
        samples = [x for x, _ in self.batches]
        self._prefixes = Prefixes(graph, samples, self._run)
        self._whole = compiled(graph, self._outputs)
        self._at_once = running.backend(graph) == "jax"
        if not self.batches or self.batches[0][1] is None:
            raise PruningError(
                "The analysis needs samples with targets: give data=(x, y)."
            )

    def outcomes(self, start: int, variants: Sequence[Variant]) -> np.ndarray:
        """Scores, shape (variants, samples).

        Args:
            start: The index of the first node that any variant changes;
                on JAX it is not needed.
            variants: Each gives a context in which the model is changed.
        """
        if self._at_once:
            return np.array([self.whole(variant) for variant in variants])
        after = self.graph.nodes[start:]
        found: list[list] = [[] for _ in variants]
        ran = 0.0
        prefixes = self._prefixes.before(start)
        for (x, y), (prefix, at) in zip(self.batches, prefixes):
            ran += self._costs[start] - self._costs[at]
            for scores, variant in zip(found, variants):
                with variant():
                    made = self._run(prefix, after, ())
                outputs = [made[n] for n in self.graph.outputs]
                scores.append(self._scored(x, y, outputs))
        rest = self._costs[-1] - self._costs[start]
        ran = ran / len(self.batches) + len(variants) * rest
        self.work += ran / self._costs[-1]
        return np.array([np.concatenate(scores) for scores in found])

    def whole(self, variant: Variant) -> np.ndarray:
        """Scores of a variant that may differ anywhere, shape (samples,).

        The model is compiled for it, which pays when there are many variants.
        """
        found = []
        with variant():
            for x, y in self.batches:
                values = running.inputs(self.graph, x)
                given = [values[number] for number in self.graph.inputs]
                found.append(self._scored(x, y, self._whole(given)))
        self.work += 1.0
        return np.concatenate(found)

    def _outputs(self, given):
        values = dict(zip(self.graph.inputs, given))
        made = self._run(values, self.graph.nodes, ())
        return [made[number] for number in self.graph.outputs]

    def _scored(self, x, y, outputs):
        """One finite number a sample, shape (samples,)."""
        count = len(leaves(x)[0])
        try:
            scores = np.asarray(self.score(y, outputs))
        except (Exception, SystemExit) as error:  # the user's metric or loss
            raise PruningError(
                f"The metric raised {type(error).__name__}: {error}. Do the "
                "targets fit the model's outputs?"
            ) from error
        if scores.shape != (count,):
            raise PruningError(
                f"The metric gives one number a sample: expected the shape "
                f"({count},), got {scores.shape}."
            )
        if not np.isfinite(scores).all():
            raise PruningError(
                "The metric gave a number that is not finite. Look for NaN in "
                "the data, the metric or the weights."
            )
        return scores

    def _run(self, values, nodes, keep):
        call = self._normalise if self.statistics else None
        return running.run(self.graph, values, nodes, call, keep)

    def _normalise(self, node, args, kwargs):
        if "BatchNormalization" not in node.kinds:
            return None
        normalise(node, args, kwargs)
        return running.plain(self.graph, node, args, kwargs)


def _metric(graph, metric, loss):
    """A function of `(y, outputs)` that gives an array, one score a sample."""
    if metric == "accuracy":
        if len(graph.outputs) != 1:
            raise PruningError(
                'metric="accuracy" is of models with one output; give a '
                "function of (y, y_pred) with one number a sample."
            )
        return lambda y, outputs: _right(np.asarray(y), to_numpy(outputs[0]))
    if metric == "loss":
        losses = losses_of(graph, loss)
        return lambda y, outputs: -_per_sample(losses(y, outputs))
    if not callable(metric):
        raise PruningError(
            f"metric={metric!r}: expected accuracy, loss, or a function of "
            "(y, y_pred) with one number a sample."
        )

    def own(y, outputs):
        arrays = [to_numpy(output) for output in outputs]
        return _per_sample(
            [metric(y, arrays[0] if len(arrays) == 1 else arrays)]
        )

    return own


def _per_sample(values):
    """The sum over outputs of values folded to one number a sample."""
    arrays = [np.asarray(to_numpy(value), np.float64) for value in values]
    return sum(a.reshape(a.shape[0], -1).mean(axis=1) for a in arrays)


def _right(y, predicted):
    """1 where the class is right: labels, one-hot rows, or one probability."""
    if predicted.shape[-1] == 1:
        right = (predicted > 0.5) == (y.reshape(predicted.shape) > 0.5)
    else:
        if y.shape == predicted.shape:
            y = y.argmax(axis=-1)
        labels = predicted.argmax(axis=-1)
        right = labels == y.reshape(labels.shape)
    return right.reshape(right.shape[0], -1).mean(axis=1)
