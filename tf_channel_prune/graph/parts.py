"""Some calls of a graph as a graph of their own."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from collections.abc import Sequence

from tf_channel_prune.graph import flavours
from tf_channel_prune.graph.structure import Block
from tf_channel_prune.graph.structure import Graph
from tf_channel_prune.graph.structure import Node
from tf_channel_prune.graph.structure import TensorRef


def part(
    graph: Graph,
    nodes: Sequence[Node],
    inputs: Mapping[int, tuple],
    outputs: Sequence[int],
) -> Graph:
    """The graph of some calls; `replay` makes a model of it.

    Args:
        graph: The whole graph.
        nodes: Calls in graph order, with the variables and constants that
            they use.
        inputs: What goes in: shapes by tensor number, the batch included.
        outputs: Numbers of the tensors that come out.
    """
    kind = flavours.internals(graph).kind
    symbols = [
        kind.Input(batch_shape=shape, dtype=graph.tensors[number].dtype)
        for number, shape in inputs.items()
    ]
    # Stands for the model that was read: its inputs are what `replay` copies.
    # Before Keras 3.14 each of them must be read by something.
    same = [kind.layers.Activation("linear")(symbol) for symbol in symbols]
    stub = kind.Model(symbols, same)
    root = Block(
        stub,
        stub.name,
        list(inputs),
        list(outputs),
        list(nodes),
        input_structure=[TensorRef(number) for number in inputs],
        output_structure=[TensorRef(number) for number in outputs],
    )
    return dataclasses.replace(graph, nodes=list(nodes), root=root, notes=[])
