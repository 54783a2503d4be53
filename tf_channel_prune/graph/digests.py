"""Short names for what a graph is and for what its weights are.

Two processes that read the same model give the same digests, whatever their
hash seed; files are kept apart by them.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np

from tf_channel_prune.errors import PruningError
from tf_channel_prune.graph.structure import Graph
from tf_channel_prune.graph.structure import Node
from tf_channel_prune.graph.structure import TensorRef

# Not part of what a layer computes; names are in the node.
_LEFT_OUT = ("name", "trainable", "build_config")


def text_digest(text: str) -> str:
    """A digest of 32 hexadecimal digits."""
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def graph_digest(graph: Graph) -> str:
    """Of names, kinds, configs, connections, shapes; not of weights.

    Every tensor is named by a digest of all that leads to it, so the order
    of the nodes does not matter: it changes where an opened composite was
    rebuilt as a flat model. Neither do the names of operations that are not
    layers: Keras numbers those anew whenever a composite is opened.
    """
    shapes = {n: graph.tensors[n].shape for n in graph.inputs}
    tensors, nodes = _named(graph, graph.nodes, shapes)
    outputs = [tensors[number] for number in graph.outputs]
    return text_digest(_text([graph.flavour, outputs, sorted(nodes)], {}))


def part_digest(graph: Graph, nodes, inputs: dict[int, tuple]) -> str:
    """Of some calls of a graph: as `graph_digest`, but not of names.

    Args:
        graph: The whole graph.
        nodes: The calls, in graph order.
        inputs: Shapes by tensor number of what goes in.
    """
    _, digests = _named(graph, nodes, inputs, names=False)
    return text_digest(_text([graph.flavour, digests], {}))


def _named(graph, nodes, inputs, names=True):
    """A digest for every tensor by number, and one for every node."""
    tensors: dict[int, str] = {}
    for position, (number, shape) in enumerate(inputs.items()):
        dtype = graph.tensors[number].dtype
        tensors[number] = f"input {position} {shape} {dtype}"
    digests = []
    for node in nodes:
        row = _row(node, graph, names)
        digests.append(text_digest(_text(row, tensors)))
        for position, number in enumerate(node.outputs):
            tensors[number] = f"{digests[-1]} {position}"
    return tensors, digests


def _text(value, tensors: dict[int, str]) -> str:
    return json.dumps(_plain(value, tensors), sort_keys=True)


def weights_digest(graph: Graph) -> str:
    """Of every weight's bytes, in graph order."""
    digest = hashlib.blake2b(digest_size=16)
    for weight in graph.weights.values():
        array = np.ascontiguousarray(weight.array)
        digest.update(f"{weight.name} {array.dtype} {array.shape}\n".encode())
        digest.update(array.view(np.uint8).data if array.size else b"")
    return digest.hexdigest()


def value_digest(value: Any) -> str:
    """Of JSON values, arrays, Keras objects with a config, and functions.

    Functions are told apart by their names alone.
    """
    return text_digest(_text(value, {}))


def _row(node: Node, graph: Graph, names: bool):
    return [
        node.name if names and node.is_layer else "",
        node.kinds,
        _config(node),
        node.args,
        node.kwargs,
        [graph.tensors[number].shape for number in node.outputs],
        [(weight.name, weight.shape, weight.dtype) for weight in node.weights],
    ]


def _config(node: Node):
    try:
        config = node.config
    except (NotImplementedError, PruningError):
        # An operation that cannot be saved; its arguments tell it apart.
        return None
    return {k: v for k, v in config.items() if k not in _LEFT_OUT}


def _plain(value: Any, tensors: dict[int, str]) -> Any:
    """A value as JSON can write it, without addresses in memory."""

    def plain(inner):
        return _plain(inner, tensors)

    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, (set, frozenset)):
        return sorted(_text(v, tensors) for v in value)
    if isinstance(value, TensorRef):
        return {"tensor": tensors[value.index]}
    if isinstance(value, slice):
        return {"slice": plain([value.start, value.stop, value.step])}
    if hasattr(value, "get_config"):
        return [type(value).__qualname__, plain(value.get_config())]
    if hasattr(value, "__array__"):
        array = np.ascontiguousarray(value)
        content = hashlib.blake2b(array.tobytes(), digest_size=16)
        return [str(array.dtype), array.shape, content.hexdigest()]
    named = value if hasattr(value, "__qualname__") else type(value)
    own = getattr(value, "name", "")
    return f"{named.__module__}.{named.__qualname__} {own}"
