"""What each position of an axis brings to the node that takes the tensor in.

A node that is linear in a tensor gives a sum over the tensor's positions. One
pass back through the node alone, from random signs instead of a gradient, gives
every position's term of one random combination of the outputs; products of two
such terms are, in the mean over the signs, the products of what the two
positions bring to all outputs (Hutchinson's estimator: Communications in
Statistics 18, 1989). Of a node that is not linear it is the first-order term.

This works for any node that the backend can differentiate, with no table of
layers.
"""

from __future__ import annotations

import logging

import numpy as np

from tf_channel_prune.errors import PruningError
from tf_channel_prune.graph import run as running
from tf_channel_prune.graph.arrays import to_numpy
from tf_channel_prune.graph.compiling import compiled
from tf_channel_prune.graph.data import batches
from tf_channel_prune.graph.structure import Graph
from tf_channel_prune.graph.structure import TensorRef
from tf_channel_prune.graph.structure import leaves
from tf_channel_prune.graph.structure import map_arguments

log = logging.getLogger("tf_channel_prune")

# A node's index, the number of a tensor it takes in, and an axis of that.
End = tuple[int, int, int]


def contributions(
    graph: Graph,
    data,
    ends: list[End],
    samples: int = 512,
    batch_size: int = 32,
    seed: int = 0,
) -> dict[End, np.ndarray]:
    """Runs samples through the model, and back through some nodes.

    Every position counts from its mean over the batch: what is the same for
    all samples, a bias or the next normalisation makes good.

    Args:
        graph: A graph whose model has weights.
        data: See `batches`; targets are not used.
        ends: Where to look; the axis is not the batch's.
        samples: The most samples to use. Defaults to 512.
        batch_size: Defaults to 32.
        seed: Of the choice of samples, and of the signs.

    Returns:
        Per end, shape (samples, positions of the axis); zeros, with a warning,
        where the backend cannot differentiate the node.
    """
    if not ends:
        return {}
    by_node: dict[int, list[End]] = {}
    for end in ends:
        by_node.setdefault(end[0], []).append(end)

    def step(values, number):
        found = {}

        def call(node, args, kwargs):
            for end in by_node.get(node.index, ()):
                found[end] = _terms(graph, node, args, kwargs, end, number)

        running.run(graph, dict(zip(graph.inputs, values)), call=call)
        return [found[end] for end in ends]

    step = compiled(graph, step)
    parts: list[list[np.ndarray]] = [[] for _ in ends]
    for number, (x, _) in enumerate(batches(data, batch_size, samples, seed)):
        given = running.inputs(graph, x)
        signs = np.array([seed, number], np.int32)
        made = step([given[n] for n in graph.inputs], signs)
        for part, terms in zip(parts, made):
            part.append(to_numpy(terms))
    if not parts[0]:
        raise PruningError("The data to look at are empty.")
    joined = {}
    for end, part in zip(ends, parts):
        joined[end] = np.concatenate(part)
        part.clear()  # of all ends they can be a gigabyte
    return joined


def _terms(graph, node, args, kwargs, end, number):
    """The terms of one end, shape (samples, positions)."""
    from keras import ops

    index, tensor, axis = end
    x = _given(node, (args, kwargs), tensor)

    def outputs(value):
        one, two = map_arguments(
            lambda leaf: value if leaf is x else leaf, (args, kwargs)
        )
        made = running.flat(graph, running.plain(graph, node, one, two))
        return [y for y in made if "float" in _dtype(y)]

    backend = _BACKENDS[running.backend(graph)]
    try:
        slope = backend(outputs, x, number, index)
    # A backend raises what it likes where it cannot differentiate; a fault of
    # the node itself is raised again when it is run.
    except Exception as error:
        log.warning(
            "What channels bring to %r is not known, as it cannot be "
            "differentiated (%s).",
            node.name,
            type(error).__name__,
        )
        slope = ops.zeros_like(x)
    x, slope = ops.cast(x, "float32"), ops.cast(slope, "float32")
    others = [a for a in range(len(x.shape)) if a != axis]
    terms = (x - ops.mean(x, others, keepdims=True)) * slope
    return ops.sum(terms, others[1:]) if others[1:] else terms


def _given(node, filled, tensor):
    """The value of a tensor among a node's arguments."""
    for reference, value in zip(
        leaves((node.args, node.kwargs)), leaves(filled)
    ):
        if isinstance(reference, TensorRef) and reference.index == tensor:
            return value
    raise KeyError(tensor)


def _dtype(tensor) -> str:
    return getattr(tensor.dtype, "name", str(tensor.dtype))


def _by_tensorflow(outputs, x, number, index):
    """Random signs, brought back from the outputs to `x`."""
    import tensorflow as tf

    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(x)
        made = outputs(x)
    signs = [
        tf.cast(
            tf.sign(
                tf.random.stateless_uniform(
                    tf.shape(y), number * [1, 65537] + [k, index], -1.0, 1.0
                )
            ),
            y.dtype,
        )
        for k, y in enumerate(made)
    ]
    found = tape.gradient(made, x, signs) if made else None
    return tf.zeros_like(x) if found is None else tf.convert_to_tensor(found)


def _by_jax(outputs, x, number, index):
    """Random signs, brought back from the outputs to `x`."""
    import jax

    made, back = jax.vjp(outputs, x)
    key = jax.random.fold_in(jax.random.key(number[0]), number[1])
    keys = jax.random.split(jax.random.fold_in(key, index), len(made) or 1)
    signs = [
        jax.random.rademacher(key, y.shape, y.dtype)
        for key, y in zip(keys, made)
    ]
    return back(signs)[0]


def _by_torch(outputs, x, number, index):
    """Random signs, brought back from the outputs to `x`."""
    import torch

    generator = torch.Generator()
    seeds = np.random.SeedSequence([*map(int, number), index])
    generator.manual_seed(int(seeds.generate_state(1)[0]))
    with torch.enable_grad():
        start = x.detach().requires_grad_(True)
        made = [y for y in outputs(start) if y.requires_grad]
    signs = [
        torch.randint(0, 2, y.shape, generator=generator).to(y) * 2 - 1
        for y in made
    ]
    if not made:
        return torch.zeros_like(x)
    (found,) = torch.autograd.grad(made, [start], signs)
    return found


_BACKENDS = {
    "tensorflow": _by_tensorflow,
    "jax": _by_jax,
    "torch": _by_torch,
}
