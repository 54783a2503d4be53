"""The flat graph: plain data, no Keras.

A `Graph` lists every operation call of a model once per call, in an order in
which each tensor is made before it is used. Nested models are listed inline;
`Graph.root` keeps the nesting, so that a rebuilt model can have it too.

Shapes include the batch axis (axis 0), as Keras shows them; an unknown size is
`None`.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from collections.abc import Iterator
from typing import Any

import numpy as np

from tf_channel_prune.graph.arrays import to_numpy

# Kinds of nodes that no call stands for: what operations use beside tensors.
VARIABLE = "Variable"
CONSTANT = "Constant"


@dataclasses.dataclass(frozen=True)
class TensorRef:
    """Stands for tensor number `index` inside a node's arguments."""

    index: int


@dataclasses.dataclass(frozen=True)
class Tensor:
    """What is known of a tensor before the model runs."""

    index: int
    shape: tuple[int | None, ...]
    dtype: str
    name: str


@dataclasses.dataclass(frozen=True)
class Weight:
    """A variable of a layer.

    `key` is the same wherever the variable is shared. `name` is the
    variable's path inside the layer, for example `kernel` or
    `query/kernel`.
    """

    key: int
    name: str
    shape: tuple[int, ...]
    trainable: bool
    dtype: str
    variable: Any = dataclasses.field(repr=False, compare=False)

    @property
    def array(self) -> np.ndarray:
        """The value now; read it, never write to it."""
        return to_numpy(self.variable)


@dataclasses.dataclass(eq=False)
class Node:
    """One call of one operation.

    Attributes:
        name: Unique in the graph; for a layer, its name (with the path of the
            composite that it was found in as a prefix).
        kinds: What it is, most specific first: `("Conv2D",)` for a Keras
            layer, `("ops.Reshape",)` for an operation, the full Python path
            for any other class, followed by its base where it behaves so.
        config: The constructor's arguments.
        weights: The layer's variables, in the layer's own order.
        args, kwargs: The call's arguments, tensors replaced by `TensorRef`.
        inputs, outputs: Tensor numbers, in order of appearance.
        operation: The object itself, for the room that rebuilds models.
        holder: The mask holder around the layer, in a sparse model.
        scope: Names of the nested models around it.
        opened_path: Names of the opened composites around it, inside the
            innermost of those models.
        closed_reason: Why a composite could not be opened, if it was tried.
        inner: For a wrapper, the layer that it wraps, as a node of its own:
            tensor 0 goes in, tensor 1 comes out.
    """

    index: int
    name: str
    kinds: tuple[str, ...]
    args: tuple
    kwargs: dict[str, Any]
    inputs: list[int]
    outputs: list[int]
    weights: list[Weight]
    operation: Any = dataclasses.field(repr=False)
    read_config: Callable[[], dict] = dataclasses.field(repr=False)
    is_layer: bool = True
    holder: Any = dataclasses.field(default=None, repr=False)
    closed_reason: str | None = None
    scope: tuple[str, ...] = ()
    opened_path: tuple[str, ...] = ()
    inner: Node | None = None

    @property
    def kind(self) -> str:
        return self.kinds[0]

    def kind_in(self, known) -> str:
        """The most specific of the node's kinds that is in `known`."""
        return next(kind for kind in self.kinds if kind in known)

    @functools.cached_property
    def config(self) -> dict[str, Any]:
        return self.read_config()

    @functools.cached_property
    def weights_by_name(self) -> dict[str, Weight]:
        return {w.name: w for w in self.weights}

    def weight(self, name: str) -> Weight | None:
        return self.weights_by_name.get(name)

    def argument(self, position: int, name: str, default=None):
        """A call argument, given by position or by name."""
        if len(self.args) > position:
            return self.args[position]
        return self.kwargs.get(name, default)


@dataclasses.dataclass(eq=False)
class Block:
    """One call of a model: the whole model, or one nested in it.

    `inputs` and `outputs` are tensor numbers of the flat graph, in the order
    of the model's own inputs and outputs; the structures hold them as
    `TensorRef`s the way the model takes and gives them. A nested model that
    is called twice has two blocks with the same `model`.
    """

    model: Any = dataclasses.field(repr=False)
    name: str
    inputs: list[int] = dataclasses.field(default_factory=list)
    outputs: list[int] = dataclasses.field(default_factory=list)
    steps: list[Node | Block] = dataclasses.field(default_factory=list)
    args: tuple = ()
    kwargs: dict[str, Any] = dataclasses.field(default_factory=dict)
    input_structure: Any = None
    output_structure: Any = None
    scope: tuple[str, ...] = ()
    opened_path: tuple[str, ...] = ()

    def blocks(self) -> Iterator[Block]:
        yield self
        for step in self.steps:
            if isinstance(step, Block):
                yield from step.blocks()


@dataclasses.dataclass(eq=False)
class Graph:
    """A model as a flat list of operation calls.

    `flavour` is `"keras"` or `"tf_keras"`, `backend` whose the tensors are:
    `"tensorflow"`, `"jax"` or `"torch"`.
    """

    tensors: list[Tensor]
    nodes: list[Node]
    root: Block
    flavour: str
    backend: str = "tensorflow"
    notes: list[str] = dataclasses.field(default_factory=list)

    @property
    def inputs(self) -> list[int]:
        return self.root.inputs

    @property
    def outputs(self) -> list[int]:
        return self.root.outputs

    @functools.cached_property
    def producer(self) -> dict[int, Node]:
        """The node that makes each tensor (inputs have none)."""
        return {t: node for node in self.nodes for t in node.outputs}

    @functools.cached_property
    def weights(self) -> dict[int, Weight]:
        """Every variable once, by key, in graph order."""
        return {w.key: w for node in self.nodes for w in node.weights}


def map_arguments(function: Callable[[Any], Any], value: Any) -> Any:
    """Applies `function` to every leaf of nested lists, tuples and dicts."""
    if isinstance(value, dict):
        return {k: map_arguments(function, v) for k, v in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(map_arguments(function, v) for v in value))
    if isinstance(value, tuple):
        return tuple(map_arguments(function, v) for v in value)
    if isinstance(value, list):  # a layer's attributes are wrapped ones
        return [map_arguments(function, v) for v in value]
    if isinstance(value, slice):
        return slice(
            map_arguments(function, value.start),
            map_arguments(function, value.stop),
            map_arguments(function, value.step),
        )
    return function(value)


def leaves(value: Any) -> list[Any]:
    """The leaves of nested lists, tuples, dicts and slices, in order."""
    found: list[Any] = []
    map_arguments(found.append, value)
    return found


def shapes_fit(one, other) -> bool:
    """Whether two shapes may be the same; None is an open size."""
    return len(one) == len(other) and all(
        None in sizes or sizes[0] == sizes[1] for sizes in zip(one, other)
    )


def item_bytes(dtype: str) -> int:
    """How many bytes one number of a dtype takes; a string counts as one."""
    if dtype in ("bool", "string"):
        return 1
    if dtype == "bfloat16":
        return 2
    return np.dtype(dtype).itemsize
