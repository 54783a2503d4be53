"""A Keras model as a flat graph of operation calls.

The one room that touches Keras' graphs: `read` turns a model into a `Graph`
(plain data, see `structure.py`), `replay` turns a `Graph`, edited or not, into
a model again. Everything between those two is arithmetic on integers.

`read` lists nested models inline and opens composite layers and subclassed
models by calling them on symbolic tensors; what does not open stays one node.
"""

from tf_channel_prune.graph.concrete import Shapes
from tf_channel_prune.graph.concrete import concrete_shapes
from tf_channel_prune.graph.structure import Block
from tf_channel_prune.graph.structure import Graph
from tf_channel_prune.graph.structure import Node
from tf_channel_prune.graph.structure import Tensor
from tf_channel_prune.graph.structure import TensorRef
from tf_channel_prune.graph.structure import Weight

__all__ = [
    "Block",
    "Graph",
    "Node",
    "Shapes",
    "Tensor",
    "TensorRef",
    "Weight",
    "concrete_shapes",
    "read",
    "replay",
]


def read(model, keep_whole=None) -> Graph:
    """Reads a Keras model.

    Args:
        model: A built Keras model.
        keep_whole: A function of a node's `kinds` that tells whether the
            operation is understood as it is. What is not, is opened if it
            can be. Defaults to never opening anything.

    Raises:
        UnsupportedModelError: If it is not a Keras model, or is not built.
    """
    from tf_channel_prune.graph import flavours

    return flavours.reader(model)(model, keep_whole or (lambda kinds: True))


def replay(graph: Graph, change=None, value=None, hold=None):
    """Builds a new model that computes what the graph says.

    Args:
        graph: What to build.
        change: Function of a node that gives its `Change`, or None.
        value: Function of a `Weight` that gives its array. Defaults to the
            variable's own value.
        hold: Function of `(node, layer)` that wraps a built layer, or gives
            it back.

    Returns:
        A model with weights of its own, compiled like the original.
    """
    from tf_channel_prune.graph import flavours

    return flavours.replayer(graph)(graph, change, value, hold)
