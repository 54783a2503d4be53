"""Short names for what a graph is and for what its weights are.

Two processes that read the same model give the same digests, whatever their
hash seed; files are kept apart by them.
"""

from __future__ import annotations

import functools
import hashlib
import json
import types
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

    A function is told apart by its code, its defaults and what it holds of
    the scope that it was made in; not by the globals that it reads, and not
    by the code of what it calls.
    """
    return text_digest(_text(_with_code(value), {}))


def _with_code(value, outer=()):
    """A value with all that functions in it are made of in their place."""

    def inner(one):
        return _with_code(one, (*outer, value))

    if isinstance(value, dict):
        return {key: inner(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [inner(one) for one in value]
    if isinstance(value, functools.partial):
        return [
            "partial",
            *map(inner, (value.func, value.args, value.keywords)),
        ]
    if isinstance(value, types.CodeType):
        constants = [inner(one) for one in value.co_consts]
        return [value.co_code.hex(), value.co_names, constants]
    if callable(getattr(value, "fn", None)):
        # A Keras loss or metric of a function, whose config may leave out
        # the function's arguments (Huber's delta).
        arguments = inner(getattr(value, "_fn_kwargs", None))
        return [value, inner(value.fn), arguments]
    if not hasattr(value, "__code__") or any(value is one for one in outer):
        return value
    held = [_content(cell) for cell in value.__closure__ or ()]
    of = (value.__code__, value.__defaults__, value.__kwdefaults__, held)
    return [value.__module__, value.__qualname__, *map(inner, of)]


def _content(cell):
    """What a function holds of a scope; a name may not be given yet."""
    try:
        return cell.cell_contents
    except ValueError:
        return None


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


def _config_of(value):
    """A Keras object's; a class has none, a subclassed model may have none."""
    try:
        return None if isinstance(value, type) else value.get_config()
    except Exception:  # any user code may run here
        return None


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
    if isinstance(value, (bytes, complex)):
        return repr(value)
    if hasattr(value, "get_config"):
        return [type(value).__qualname__, plain(_config_of(value))]
    if hasattr(value, "__array__"):
        array = np.ascontiguousarray(value)
        content = hashlib.blake2b(array.tobytes(), digest_size=16)
        return [str(array.dtype), array.shape, content.hexdigest()]
    named = value if hasattr(value, "__qualname__") else type(value)
    own = getattr(value, "name", "")
    return f"{named.__module__}.{named.__qualname__} {own}"
