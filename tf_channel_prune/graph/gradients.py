"""Gradients of the loss, sample by sample, folded while they are made.

The square of a mean gradient says little about a trained model, whose mean
gradient is near zero; the mean of squares needs every sample's own gradient.
So samples go through one at a time, inside one compiled loop.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from tf_channel_prune.errors import PruningError
from tf_channel_prune.errors import what_it_says
from tf_channel_prune.graph import run as running
from tf_channel_prune.graph.data import batches
from tf_channel_prune.graph.losses import losses_of
from tf_channel_prune.graph.structure import Graph


@dataclasses.dataclass(frozen=True)
class Gradients:
    """What a loss says about the weights; `g` is one sample's gradient.

    Attributes:
        squares: Per weight key, the mean over samples of `g ** 2`, shaped
            like the weight.
        slices: Per `(weight key, axis)`, the mean over samples of
            `sum(g * w) ** 2`, where the sum runs over all entries of one
            slice; one number per slice number.
        samples: How many samples it was.
    """

    squares: dict[int, np.ndarray]
    slices: dict[tuple[int, int], np.ndarray]
    samples: int


def gradients(
    graph: Graph,
    data,
    loss=None,
    squares=(),
    slices=None,
    samples: int = 512,
    batch_size: int = 128,
    seed: int = 0,
) -> Gradients:
    """Runs samples through the model, forward and backward.

    Args:
        graph: A graph whose model has weights.
        data: See `batches`; with targets.
        loss: A loss, its Keras name or a function of `(y, y_pred)`. Defaults
            to the one that the model is compiled with.
        squares: Keys of the weights to give `squares` for.
        slices: Per `(weight key, axis)` to give `slices` for, the number of
            the slice that each position of the axis belongs to.
        samples: The most samples to use. Defaults to 512.
        batch_size: Samples that are loaded at once. Defaults to 128.
        seed: Of the choice of samples.

    Raises:
        PruningError: If there is no loss, or the backend is not TensorFlow.
    """
    if not running.is_tensorflow(graph):
        raise PruningError(
            "Criteria that need gradients run on the TensorFlow backend only. "
            "Set KERAS_BACKEND=tensorflow, or take a criterion on weights or "
            "activations."
        )
    work = _Work(graph, loss, squares, slices or {})
    total = work.zeros()
    count = 0
    for x, y in batches(data, batch_size, samples, seed):
        if y is None:
            raise PruningError(
                "This criterion needs targets: give data=(x, y), or batches "
                "of (x, y)."
            )
        sums, number = work.checked(x, y, total)
        total, count = sums, count + int(number)
    return work.result([np.asarray(t) / max(count, 1) for t in total], count)


class _Work:
    """The compiled loop over the samples of one batch."""

    def __init__(self, graph, loss, squares, slices):
        import tensorflow as tf

        self.tf = tf
        self.graph = graph
        self.losses = losses_of(graph, loss)
        self.square_keys = list(squares)
        self.slice_keys = list(slices)
        self.slice_numbers = [np.asarray(slices[k]) for k in self.slice_keys]
        self.slice_counts = [int(n.max()) + 1 for n in self.slice_numbers]
        keys = dict.fromkeys([*self.square_keys, *(k for k, _ in slices)])
        self.variables = {
            key: _tf_variable(graph.weights[key].variable) for key in keys
        }
        self._run = tf.function(self._batch, reduce_retracing=True)

    def zeros(self):
        tf = self.tf
        return [
            *(tf.zeros(self.variables[k].shape) for k in self.square_keys),
            *(tf.zeros(n) for n in self.slice_counts),
        ]

    def checked(self, x, y, total):
        """The sums with a batch's, and its size."""
        try:
            return self(x, y, total)
        except PruningError:
            raise
        except Exception as error:  # the user's loss: anything
            raise PruningError(
                f"The loss raised {type(error).__name__}: "
                f"{what_it_says(error)}. Do the targets fit the model's "
                "outputs?"
            ) from error

    def __call__(self, x, y, total):
        values = running.inputs(self.graph, x)
        values = [values[number] for number in self.graph.inputs]
        targets = self.tf.nest.map_structure(self.tf.convert_to_tensor, y)
        return self._run(values, targets, total), values[0].shape[0]

    def _batch(self, values, targets, total):
        tf = self.tf

        def body(i, total):
            def one(t):
                return t[i : i + 1]

            sums = self._sample(
                tf.nest.map_structure(one, values),
                tf.nest.map_structure(one, targets),
            )
            return i + 1, [a + b for a, b in zip(total, sums)]

        count = tf.shape(values[0])[0]
        _, total = tf.while_loop(
            lambda i, _: i < count,
            body,
            (tf.constant(0), total),
            parallel_iterations=1,
        )
        return total

    def _sample(self, values, targets):
        tf = self.tf
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            for variable in self.variables.values():
                tape.watch(variable)
            made = running.run(self.graph, dict(zip(self.graph.inputs, values)))
            outputs = [made[number] for number in self.graph.outputs]
            values = self.losses(targets, outputs)
            value = tf.add_n([tf.reduce_mean(one) for one in values])
        found = tape.gradient(
            value,
            self.variables,
            unconnected_gradients=tf.UnconnectedGradients.ZERO,
        )
        found = {
            key: tf.cast(tf.convert_to_tensor(g), tf.float32)
            for key, g in found.items()
        }
        return [
            *(tf.square(found[key]) for key in self.square_keys),
            *self._slice_squares(found),
        ]

    def _slice_squares(self, found):
        tf = self.tf
        products = {
            key: found[key] * tf.cast(self.variables[key], tf.float32)
            for key in dict.fromkeys(key for key, _ in self.slice_keys)
        }
        for (key, axis), numbers, count in zip(
            self.slice_keys, self.slice_numbers, self.slice_counts
        ):
            others = [a for a in range(products[key].shape.rank) if a != axis]
            sums = tf.reduce_sum(products[key], others)
            yield tf.square(tf.math.unsorted_segment_sum(sums, numbers, count))

    def result(self, means, count) -> Gradients:
        split = len(self.square_keys)
        return Gradients(
            dict(zip(self.square_keys, means[:split])),
            dict(zip(self.slice_keys, means[split:])),
            count,
        )


def _tf_variable(variable):
    """The TensorFlow variable inside a Keras 3 variable, or itself."""
    import tensorflow as tf

    return variable if isinstance(variable, tf.Variable) else variable.value
