"""One order of calls for one computation, however it was read.

A composite's calls come in the order in which its code makes them, those of a
functional model by their depth. A model and its flat copy must list them
alike, since channels are numbered, and groups named, in that order.
"""

from __future__ import annotations

from tf_channel_prune.graph.structure import Block
from tf_channel_prune.graph.structure import Node


def put_in_order(root: Block) -> list[Node]:
    """Orders the calls of a model and of those nested in it.

    Every call comes after those that it needs, which come in the order of its
    arguments. What no output needs is left out.

    Returns:
        All nodes, numbered.
    """
    for block in root.blocks():
        block.steps = _ordered(block)
    nodes: list[Node] = []
    _gather(root, nodes)
    for index, node in enumerate(nodes):
        node.index = index
    return nodes


def _ordered(block: Block) -> list:
    makers = {
        number: step
        for step in block.steps
        for number in step.outputs
        if number not in step.inputs  # a nested model may give back an input
    }
    return before(block.outputs, makers.get, lambda step: step.inputs)


def before(outputs, maker, inputs) -> list:
    """The calls that lead to `outputs`, each after what it needs.

    Args:
        outputs: Tensors, in whatever form.
        maker: Function of a tensor that gives the call that made it, or None.
        inputs: Function of a call that gives the tensors that go into it.
    """
    done: set[int] = set()
    order: list = []
    stack = [(maker(tensor), False) for tensor in reversed(outputs)]
    while stack:
        call, ready = stack.pop()
        if call is None or (id(call) in done and not ready):
            continue
        if ready:
            order.append(call)
            continue
        done.add(id(call))
        stack.append((call, True))
        stack += [(maker(tensor), False) for tensor in reversed(inputs(call))]
    return order


def _gather(block: Block, nodes: list) -> None:
    for step in block.steps:
        if isinstance(step, Block):
            _gather(step, nodes)
        else:
            nodes.append(step)
