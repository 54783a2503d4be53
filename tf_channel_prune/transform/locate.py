"""Looks for the layer to blame where a slim model's outputs differ.

Every operation of the slim model runs by itself, on what goes into its
counterpart in the sparse model without the channels that are gone, and must
give what comes out of it. So no error of one layer reaches the next, and
rounding is not amplified on the way through a deep model: if each one gives the
same, then the models are equal, though their outputs are not.
"""

from __future__ import annotations

import numpy as np

from tf_channel_prune import graph as graphs
from tf_channel_prune.channels import understood
from tf_channel_prune.graph import flavours
from tf_channel_prune.graph import run
from tf_channel_prune.graph.arrays import to_numpy
from tf_channel_prune.graph.structure import TensorRef
from tf_channel_prune.graph.structure import map_arguments


class Unmatched(Exception):
    """The two models' operations do not stand in pairs."""


def first_difference(channels, alive, slim, inputs, tolerance):
    """The name of the first operation that gives something else, or None.

    Args:
        channels: The labels of the sparse model, whose masks are set.
        alive: Boolean per unit: what stays.
        slim: The slim model.
        inputs: In the structure that both models take.
        tolerance: The largest difference of an operation's outputs, relative
            to their size.

    Raises:
        Unmatched: If the two models cannot be compared in this way.
    """
    sparse_graph = channels.graph
    graph = graphs.read(slim, understood)
    numbers = _pairs(graph, sparse_graph)
    values = run.run(
        sparse_graph,
        run.inputs(sparse_graph, inputs),
        keep=range(len(sparse_graph.tensors)),
    )
    kept = channels.kept(alive)

    def expected(number) -> np.ndarray:
        twin = numbers[number]
        array = to_numpy(values[twin])
        for axis, vector in channels.scope.tensors[twin].axes.items():
            stays = kept.vector(vector)
            if stays is not None:
                array = np.compress(stays, array, axis=axis)
        return array

    to_tensor = flavours.internals(graph).to_tensor

    def fill(value):
        if isinstance(value, TensorRef):
            return to_tensor(expected(value.index))
        return value

    for node in graph.nodes:
        args, kwargs = map_arguments(fill, (node.args, node.kwargs))
        made = run.flat(graph, run.plain(graph, node, args, kwargs))
        for number, tensor in zip(node.outputs, made):
            if not _close(expected(number), to_numpy(tensor), tolerance):
                return node.name
    return None


def _pairs(graph, sparse_graph) -> dict[int, int]:
    """The sparse model's tensor for each of the slim model's."""
    names = [[n.name for n in g.nodes] for g in (graph, sparse_graph)]
    if names[0] != names[1]:
        raise Unmatched("the operations' names differ")
    numbers = dict(zip(graph.inputs, sparse_graph.inputs))
    for node, twin in zip(graph.nodes, sparse_graph.nodes):
        numbers.update(zip(node.outputs, twin.outputs))
    if [numbers[n] for n in graph.outputs] != list(sparse_graph.outputs):
        raise Unmatched("the outputs differ")
    return numbers


def _close(expected, found, tolerance) -> bool:
    if expected.shape != found.shape:
        return False
    if expected.dtype.kind not in "fc":
        return bool((expected == found).all())
    size = np.max(np.abs(expected), initial=0.0, where=np.isfinite(expected))
    return np.allclose(
        found, expected, rtol=0, atol=tolerance * size, equal_nan=True
    )
