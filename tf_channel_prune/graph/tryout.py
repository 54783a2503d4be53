"""Runs one operation on arrays, apart from the model that it is in."""

from __future__ import annotations

import contextlib

import numpy as np

from tf_channel_prune.graph import flavours
from tf_channel_prune.graph import randomness
from tf_channel_prune.graph import run as running
from tf_channel_prune.graph.arrays import to_numpy
from tf_channel_prune.graph.structure import Graph
from tf_channel_prune.graph.structure import Node
from tf_channel_prune.graph.structure import TensorRef
from tf_channel_prune.graph.structure import map_arguments


class Tryout:
    """A copy of an operation, which runs on arrays.

    The model's own layer is not called. Every run draws the same random
    numbers, and leaves the caller's random numbers alone.

    Args:
        graph: The graph that holds the node.
        node: What to run. A layer must have no weights.
        arrays: An array for every input tensor, by number.

    Attributes:
        adds_loss: Whether the layer adds to the model's loss when it runs.

    Raises:
        Exception: Whatever the operation raises on such inputs.
    """

    def __init__(self, graph: Graph, node: Node, arrays: dict):
        self._graph = graph
        self._node = node
        self._internals = flavours.internals(graph)
        self._operation = node.operation
        self._states = []
        with randomness.repeated(0):
            if node.is_layer:
                self._operation = self._internals.made_like(
                    node.operation, dict(node.config)
                )
            self._call(self._tensors(arrays), False)
        if node.is_layer:
            # What is no weight: seeds, which every run starts from.
            variables = self._operation.variables
            self._states = [(v, np.array(to_numpy(v))) for v in variables]
        self.adds_loss = bool(getattr(self._operation, "losses", ()))

    def run(self, arrays: dict, training=False, seed=0) -> list[np.ndarray]:
        """The outputs for these inputs."""
        with self._same_numbers(seed):
            outputs = self._call(self._tensors(arrays), training)
        return [to_numpy(y) for y in outputs]

    def slopes(self, arrays: dict, factors, training=False) -> tuple:
        """The outputs, and the gradients of their weighted sum.

        Args:
            arrays: The inputs.
            factors: An array per output to weigh it by; those of outputs that
                are not floating-point numbers are not used.
            training: Whether it runs as in training.

        Returns:
            `(outputs, gradients)`, the gradients by number for every input
            of floating-point numbers.
        """
        tensors = self._tensors(arrays)
        inputs = {n: tensors[n] for n, a in arrays.items() if _is_float(a)}

        def made(values):
            return self._call({**tensors, **values}, training)

        def weight(outputs):
            """Pairs of an output and what it is weighed by."""
            return [
                (y, self._internals.to_tensor(factor.astype(_dtype(y))))
                for y, factor in zip(outputs, factors)
                if "float" in _dtype(y)
            ]

        with self._same_numbers(0):
            outputs, found = _GRADIENTS[running.backend(self._graph)](
                made, weight, inputs
            )
        gradients = {
            n: np.zeros_like(arrays[n]) if g is None else to_numpy(g)
            for n, g in found.items()
        }
        return [to_numpy(y) for y in outputs], gradients

    def stated(self, arrays: dict) -> list[tuple]:
        """Shapes of the outputs as the operation states them to Keras.

        Sizes that the graph leaves open are open here as well.
        """
        internals = self._internals

        def fill(value):
            if not isinstance(value, TensorRef):
                return value
            tensor = self._graph.tensors[value.index]
            sizes = arrays[value.index].shape
            shape = [
                s if t is not None else t for s, t in zip(sizes, tensor.shape)
            ]
            return internals.symbol(tuple(shape), tensor.dtype)

        with internals.symbolic():
            args, kwargs = map_arguments(
                fill, (self._node.args, self._node.kwargs)
            )
            made = internals.outputs_of(self._operation, args, kwargs)
            return [tuple(internals.tensor_facts(y)[0]) for y in made]

    def _tensors(self, arrays):
        return {n: self._internals.to_tensor(a) for n, a in arrays.items()}

    @contextlib.contextmanager
    def _same_numbers(self, seed):
        with randomness.repeated(seed):
            for variable, value in self._states:
                moved = seed if np.issubdtype(value.dtype, np.integer) else 0
                variable.assign(value + np.asarray(moved, value.dtype))
            yield

    def _call(self, tensors, training):
        def fill(value):
            if isinstance(value, TensorRef):
                return tensors[value.index]
            return value

        args, kwargs = map_arguments(fill, (self._node.args, self._node.kwargs))

        def call():
            return self._operation(*args, **kwargs)

        if not self._node.is_layer:
            result = call()
        else:
            kwargs.pop("training", None)
            result = _in_mode(self._internals, call, training)
        return running.flat(self._graph, result)


def _in_mode(internals, function, training):
    """What a function gives when layers in it train, or do not."""

    class Call(internals.kind.layers.Layer):
        def call(self, x, training=None):
            return function()

    around = Call(name="call", autocast=False)
    return around(
        internals.to_tensor(np.zeros(1, "float32")), training=training
    )


def _is_float(array) -> bool:
    return np.issubdtype(array.dtype, np.floating)


def _dtype(tensor) -> str:
    return str(getattr(tensor.dtype, "name", tensor.dtype)).rpartition(".")[2]


def _tensorflow(made, weight, inputs):
    import tensorflow as tf

    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(list(inputs.values()))
        outputs = made(inputs)
    pairs = weight(outputs)
    found = tape.gradient(
        [y for y, _ in pairs], inputs, [factor for _, factor in pairs]
    )
    return outputs, {
        n: g if g is None else tf.convert_to_tensor(g) for n, g in found.items()
    }


def _torch(made, weight, inputs):
    import torch

    leaves = {n: t.detach().requires_grad_() for n, t in inputs.items()}
    outputs = made(leaves)
    pairs = [pair for pair in weight(outputs) if pair[0].requires_grad]
    if not pairs:
        return outputs, dict.fromkeys(leaves)
    found = torch.autograd.grad(
        [y for y, _ in pairs],
        list(leaves.values()),
        [factor for _, factor in pairs],
        allow_unused=True,
    )
    return outputs, dict(zip(leaves, found))


def _jax(made, weight, inputs):
    import jax

    def total(values):
        outputs = made(values)
        return sum((y * f).sum() for y, f in weight(outputs)), outputs

    found, outputs = jax.grad(total, has_aux=True)(inputs)
    return outputs, found


_GRADIENTS = {"tensorflow": _tensorflow, "torch": _torch, "jax": _jax}
