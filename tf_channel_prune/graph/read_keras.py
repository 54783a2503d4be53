"""Reads Keras 3 models.

Keras 3 records a node for every call of an `Operation` (layers and `keras.ops`
alike) on a symbolic tensor, with all its arguments. This module flattens those
nodes through nested models and opened composites.
"""

from __future__ import annotations

import dataclasses

import keras

from tf_channel_prune.graph import keras_internals
from tf_channel_prune.graph import opening
from tf_channel_prune.graph.kinds import kinds_of
from tf_channel_prune.graph.structure import Block
from tf_channel_prune.graph.structure import Graph
from tf_channel_prune.graph.structure import Node
from tf_channel_prune.graph.structure import Tensor
from tf_channel_prune.graph.structure import TensorRef
from tf_channel_prune.graph.structure import Weight
from tf_channel_prune.graph.structure import leaves

VARIABLE = "Variable"


def read(model, keep_whole) -> Graph:
    """Reads a Keras 3 model; see `tf_channel_prune.graph.read`."""
    return _Reader(keep_whole).read(model)


@dataclasses.dataclass(frozen=True)
class _Place:
    """Where in the model the reader stands."""

    block: Block
    scope: tuple[str, ...] = ()
    opened: tuple[str, ...] = ()

    def name(self, name: str) -> str:
        return "/".join((*self.scope, ".".join((*self.opened, name))))


class _Reader:
    """Collects tensors and nodes while walking the nested models."""

    def __init__(self, keep_whole):
        self.keep_whole = keep_whole
        self.tensors: list[Tensor] = []
        self.nodes: list[Node] = []
        self.notes: list[str] = []
        self.numbers: dict[int, int] = {}
        self.alive: list = []  # ids stay valid while the objects live
        self.variables: dict[int, tuple[Block, int]] = {}

    def read(self, model) -> Graph:
        inner = keras_internals.functional(model)
        if inner is None:
            inner = opening.open_model(model)
            self.notes.append(
                f"{model.name!r} is a subclass of keras.Model; it was read by "
                "calling it on symbolic tensors. Models made from it are "
                "functional and have no custom train_step or methods."
            )
        root = Block(model, model.name, [], [], [])
        inputs = [self.tensor(t) for t in inner.inputs]
        self._enter(inner, _Place(root), inputs)
        return Graph(self.tensors, self.nodes, root, "keras", self.notes)

    def tensor(self, keras_tensor) -> int:
        """The number of a symbolic tensor, a new one at first sight."""
        number = self.numbers.get(id(keras_tensor))
        if number is None:
            number = len(self.tensors)
            self.numbers[id(keras_tensor)] = number
            self.alive.append(keras_tensor)
            self.tensors.append(
                Tensor(
                    number,
                    tuple(keras_tensor.shape),
                    str(keras_tensor.dtype),
                    keras_internals.tensor_name(keras_tensor),
                )
            )
        return number

    def _enter(self, functional, place, inputs):
        """Walks the nodes of one functional model, its inputs given."""
        block = place.block
        block.inputs = list(inputs)
        for inner_tensor, number in zip(functional.inputs, inputs):
            self.numbers[id(inner_tensor)] = number
            self.alive.append(inner_tensor)
        for keras_node in keras_internals.ordered_nodes(functional):
            self._step(keras_node, place)
        block.outputs = [self.tensor(t) for t in functional.outputs]

    def _step(self, keras_node, place):
        operation = keras_node.operation
        nested = keras_internals.functional(operation)
        if nested is not None:
            self._nested(operation, nested, keras_node, place)
            return
        layer = keras_internals.unwrapped(operation)
        kinds = kinds_of(type(layer))
        if not self.keep_whole(kinds):
            opened = opening.open_call(operation, keras_node)
            if opened.nodes is not None:
                self._opened(opened, operation, keras_node, place)
                return
            reason = opened.reason
        else:
            reason = None
        self._call(keras_node, layer, kinds, place, reason)

    def _nested(self, model, functional, keras_node, place):
        """A model used as one layer: its nodes inline, its block nested."""
        arguments = keras_node.arguments
        given = keras_internals.match_inputs(functional, keras_node)
        args, kwargs = arguments.convert(self._reference)
        inner = Block(model, model.name, [], [], [], args, kwargs)
        # A shared model is walked once a call, each time with new tensors.
        saved = dict(self.numbers)
        scope = (*place.scope, *place.opened, model.name)
        self._enter(
            functional, _Place(inner, scope), [self.tensor(t) for t in given]
        )
        self.numbers = saved
        for outer, number in zip(keras_node.outputs, inner.outputs):
            self.numbers[id(outer)] = number
        place.block.steps.append(inner)

    def _opened(self, opened, operation, keras_node, place):
        """A composite layer: its nodes take its place in the flat model."""
        self.alive.append(opened)
        for inner, outer in zip(opened.inputs, keras_node.input_tensors):
            self.numbers[id(inner)] = self.tensor(outer)
        inside = dataclasses.replace(
            place, opened=(*place.opened, operation.name)
        )
        for inner_node in opened.nodes:
            self._step(inner_node, inside)
        for outer, inner in zip(keras_node.outputs, opened.outputs):
            self.numbers[id(outer)] = self.tensor(inner)

    def _call(self, keras_node, layer, kinds, place, reason):
        args, kwargs = keras_node.arguments.convert(
            lambda value: self._reference(value, place)
        )
        holder = keras_node.operation
        inputs = [
            leaf.index
            for leaf in leaves((args, kwargs))
            if isinstance(leaf, TensorRef)
        ]
        node = Node(
            index=len(self.nodes),
            name=place.name(holder.name),
            kinds=kinds,
            args=args,
            kwargs=kwargs,
            inputs=inputs,
            outputs=[self.tensor(t) for t in keras_node.outputs],
            weights=weights_of(layer),
            operation=layer,
            read_config=layer.get_config,
            is_layer=isinstance(layer, keras.layers.Layer),
            holder=None if holder is layer else holder,
            closed_reason=reason,
            scope=place.scope,
            opened_path=place.opened,
        )
        self.nodes.append(node)
        place.block.steps.append(node)

    def _reference(self, value, place=None):
        if isinstance(value, keras.KerasTensor):
            return TensorRef(self.tensor(value))
        if isinstance(value, keras.Variable) and place is not None:
            return TensorRef(self._variable(value, place))
        return value

    def _variable(self, variable, place) -> int:
        """A variable used by an operation: a node of its own makes it."""
        known = self.variables.get(id(variable))
        if known is not None and known[0] is place.block:
            return known[1]
        number = len(self.tensors)
        self.tensors.append(
            Tensor(
                number,
                tuple(variable.shape),
                str(variable.dtype),
                variable.path,
            )
        )
        self.variables[id(variable)] = (place.block, number)
        node = Node(
            index=len(self.nodes),
            name=place.name(variable.name),
            kinds=(VARIABLE,),
            args=(),
            kwargs={},
            inputs=[],
            outputs=[number],
            weights=[_weight(variable, "value")],
            operation=variable,
            read_config=dict,
            is_layer=False,
            scope=place.scope,
            opened_path=place.opened,
        )
        self.nodes.append(node)
        place.block.steps.append(node)
        return number


def weights_of(layer) -> list[Weight]:
    """A layer's variables, named by their path inside the layer."""
    if not isinstance(layer, keras.layers.Layer):
        return []
    names = keras_internals.variable_names(layer)
    return [_weight(v, name) for v, name in names]


def _weight(variable, name: str) -> Weight:
    return Weight(
        key=id(variable),
        name=name,
        shape=tuple(variable.shape),
        trainable=bool(variable.trainable),
        dtype=str(variable.dtype),
        variable=variable,
    )
