"""Two models whose operations stand in pairs, and the first pair that differs.

Every operation runs by itself, on what goes into its twin, and must give what
comes out of it. So no error of one layer reaches the next, and rounding is not
amplified on the way through a deep model.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

from tf_channel_prune.errors import what_it_says
from tf_channel_prune.graph import flavours
from tf_channel_prune.graph import run
from tf_channel_prune.graph.arrays import to_numpy
from tf_channel_prune.graph.randomness import repeated
from tf_channel_prune.graph.structure import TensorRef
from tf_channel_prune.graph.structure import map_arguments
from tf_channel_prune.graph.undisturbed import undisturbed


class Unmatched(Exception):
    """The two models' operations do not stand in pairs."""


def blamed(find: Callable[[], str | None]) -> tuple[str | None, str | None]:
    """What differs by `find`, or None; why that is not known, or None."""
    try:
        return find(), None
    except Exception as error:  # any layer may fail when it runs by itself
        return None, what_it_says(error)


def first_difference(
    graph, twin, inputs, tolerance, cut=lambda number, array: array
):
    """The name of the first operation that gives something else, or None.

    Args:
        graph: Of the model whose operations run by themselves.
        twin: The graph of the model that says what they get and give.
        inputs: In the structure that both models take.
        tolerance: The largest difference of an operation's outputs, relative
            to their size.
        cut: What is left of an array of the twin's, by its tensor number.

    Raises:
        Unmatched: If the two models cannot be compared in this way.
    """
    numbers = _pairs(graph, twin)
    with undisturbed(twin.root.model):
        values = run.run(
            twin,
            run.inputs(twin, inputs),
            call=functools.partial(_alone, twin),
            keep=range(len(twin.tensors)),
        )

    def expected(number) -> np.ndarray:
        return cut(numbers[number], to_numpy(values[numbers[number]]))

    to_tensor = flavours.internals(graph).to_tensor

    def fill(value):
        if isinstance(value, TensorRef):
            return to_tensor(expected(value.index))
        return value

    with undisturbed(graph.root.model):
        for node in graph.nodes:
            args, kwargs = map_arguments(fill, (node.args, node.kwargs))
            made = run.flat(graph, _alone(graph, node, args, kwargs))
            for number, tensor in zip(node.outputs, made):
                if not _close(expected(number), to_numpy(tensor), tolerance):
                    return node.name
    return None


def _alone(graph, node, args, kwargs):
    """Runs a node; what it draws does not depend on those before it."""
    with repeated(0):
        return run.plain(graph, node, args, kwargs)


def _pairs(graph, twin) -> dict[int, int]:
    """The twin's tensor for each of a graph's."""
    names = [[n.name for n in g.nodes] for g in (graph, twin)]
    if names[0] != names[1]:
        raise Unmatched("the operations' names differ")
    numbers = dict(zip(graph.inputs, twin.inputs))
    for node, other in zip(graph.nodes, twin.nodes):
        numbers.update(zip(node.outputs, other.outputs))
    if [numbers[n] for n in graph.outputs] != list(twin.outputs):
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
