"""Reads Keras 3 models.

Keras 3 records a node for every call of an `Operation` (layers and `keras.ops`
alike) on a symbolic tensor, with all its arguments. This module flattens those
nodes through nested models and opened composites.
"""

from __future__ import annotations

import dataclasses
import re

from tf_channel_prune.errors import PruningError
from tf_channel_prune.graph import implicit_masks
from tf_channel_prune.graph import keras_internals
from tf_channel_prune.graph import notes
from tf_channel_prune.graph import opening
from tf_channel_prune.graph import variables
from tf_channel_prune.graph.kinds import kinds_of
from tf_channel_prune.graph.names import joined
from tf_channel_prune.graph.ordering import put_in_order
from tf_channel_prune.graph.own_objects import altered
from tf_channel_prune.graph.structure import CONSTANT
from tf_channel_prune.graph.structure import VARIABLE
from tf_channel_prune.graph.structure import Block
from tf_channel_prune.graph.structure import Graph
from tf_channel_prune.graph.structure import Node
from tf_channel_prune.graph.structure import Tensor
from tf_channel_prune.graph.structure import TensorRef
from tf_channel_prune.graph.structure import Weight
from tf_channel_prune.graph.structure import leaves
from tf_channel_prune.graph.structure import map_arguments


def read(model, keep_whole) -> Graph:
    """Reads a Keras 3 model; see `tf_channel_prune.graph.read`."""
    return Reader(keep_whole).read(model)


@dataclasses.dataclass(frozen=True)
class _Place:
    """Where in the model the reader stands."""

    block: Block
    scope: tuple[str, ...] = ()
    opened: tuple[str, ...] = ()

    def inside(self, *names: str) -> _Place:
        return dataclasses.replace(self, opened=(*self.opened, *names))

    def name(self, name: str) -> str:
        return "/".join((*self.scope, joined(*self.opened, name)))


class Reader:
    """Collects tensors and nodes while walking the nested models.

    What differs between the two Kerases is behind `internals`, `opening` and
    `holding`.
    """

    flavour = "keras"
    internals = keras_internals
    opening = opening
    holding = variables

    def __init__(self, keep_whole):
        self.keep_whole = keep_whole
        self.tensors: list[Tensor] = []
        self.notes: list[str] = []
        self.numbers: dict[int, int] = {}
        self.entered: set[int] = set()  # ids of what models around make
        self.alive: list = []  # ids stay valid while the objects live
        self.variables: dict[tuple, int] = {}
        self.names: dict[str, int] = {}
        self.configs: dict[int, dict] = {}
        # By the id of a layer, the same without its activation.
        self.linear: dict[int, object] = {}
        # What opened composites say of their symbolic tensors and calls.
        self.stand_ins: dict[int, object] = {}
        self.sizes: dict[int, tuple] = {}
        self.paths: dict[int, tuple[str, ...]] = {}

    def read(self, model) -> Graph:
        inner = self.internals.functional(model)
        if inner is None:
            inner = self.opening.open_model(model)
            self._know(inner.opened)
            self.notes.append(
                f"{model.name!r} is a subclass of keras.Model; it was read by "
                "calling it on symbolic tensors. Models made from it are "
                "functional and have none of its methods."
            )
            if inner.losses is not None:
                self._note(notes.lost_losses(model))
        self.notes += notes.lost_methods(model, self.internals.kind.Model)
        root = Block(model, model.name)
        inputs = [self.tensor(t) for t in inner.inputs]
        self._enter(inner, _Place(root), inputs)
        nodes = put_in_order(root)
        self.notes += notes.untied(nodes)
        return Graph(
            self.tensors,
            nodes,
            root,
            self.flavour,
            self.internals.backend(),
            self.notes,
        )

    def _note(self, note) -> None:
        """Keeps a note once, also of a model that is called twice."""
        if note not in self.notes:
            self.notes.append(note)

    def tensor(self, keras_tensor) -> int:
        """The number of a symbolic tensor, a new one at first sight."""
        number = self.numbers.get(id(keras_tensor))
        if number is None:
            shape, dtype, name = self.internals.tensor_facts(keras_tensor)
            number = self._new_tensor(shape, dtype, name)
            self.numbers[id(keras_tensor)] = number
            self.alive.append(keras_tensor)
        return number

    def _new_tensor(self, shape, dtype, name) -> int:
        number = len(self.tensors)
        self.tensors.append(Tensor(number, tuple(shape), str(dtype), name))
        return number

    def _enter(self, functional, place, inputs):
        """Walks the nodes of one functional model, its inputs given."""
        block = place.block
        block.inputs = list(inputs)
        for inner_tensor, number in zip(functional.inputs, inputs):
            self.numbers[id(inner_tensor)] = number
            self.alive.append(inner_tensor)
        keras_nodes = list(self.internals.ordered_nodes(functional))
        self.entered.update(_made(keras_nodes))
        self._walk(keras_nodes, place)
        block.outputs = [self.tensor(t) for t in functional.outputs]
        block.input_structure, block.output_structure = map_arguments(
            self._reference, self.internals.structures(functional)
        )

    def _walk(self, keras_nodes, place):
        ends, inside = self.holding.held(keras_nodes)
        for keras_node in keras_nodes:
            if id(keras_node) in ends:
                self._held(keras_node, ends[id(keras_node)], place)
            elif id(keras_node) not in inside:
                around = self.paths.get(id(keras_node), ())
                self._step(keras_node, place.inside(*around))

    def _step(self, keras_node, place):
        operation = keras_node.operation
        nested = self.internals.functional(operation)
        if nested is not None:
            self._nested(operation, nested, keras_node, place)
            return
        layer = self.internals.unwrapped(operation)
        kinds = kinds_of(type(layer))
        if not (self.keep_whole(kinds) and self._has_config(layer)):
            opened = self.opening.open_call(operation, keras_node, self.sizes)
            if opened.nodes is not None:
                self._opened(opened, operation, keras_node, place)
                return
            self._call(keras_node, layer, kinds, place, opened.reason)
            return
        activation = self.opening.open_activation(layer, keras_node)
        if activation is None:
            self._call(keras_node, layer, kinds, place)
        else:
            self._activated(activation, layer, keras_node, place)

    def _has_config(self, layer) -> bool:
        """Whether a layer can be made again; if not, its inside may be."""
        if not self.internals.is_layer(layer):
            return True
        try:
            self._config(layer)
        except PruningError:
            return False
        return True

    def _config(self, layer) -> dict:
        if id(layer) in self.configs:
            return self.configs[id(layer)]
        try:
            found = self.internals.config(layer)
        except Exception as error:  # users write this method
            why = " ".join(str(error).split()) or type(error).__name__
            raise PruningError(
                f"Layer {layer.name!r} ({type(layer).__name__}) cannot be made "
                f"again: its get_config() fails ({why[:120]}). Give the class "
                "one that returns its constructor's arguments."
            ) from error
        self.alive.append(layer)
        self.configs[id(layer)] = found
        return found

    def _nested(self, model, functional, keras_node, place):
        """A model used as one layer: its nodes inline, its block nested."""
        args, kwargs = self._arguments(keras_node, place, model.name)
        given = self.internals.match_inputs(functional, args, kwargs)
        inner = Block(
            model,
            model.name,
            args=args,
            kwargs=kwargs,
            scope=place.scope,
            opened_path=place.opened,
        )
        # A shared model is walked once a call, each time with new tensors.
        saved, around = dict(self.numbers), set(self.entered)
        scope = (*place.scope, joined(*place.opened, model.name))
        inputs = [reference.index for reference in given]
        if self._is_part(functional):
            # Keras could not load a model that shares its layers with one
            # around it, and so its nodes go where it is called.
            outputs = self._inline(functional, place, inputs)
        else:
            self._enter(functional, _Place(inner, scope), inputs)
            place.block.steps.append(inner)
            outputs = inner.outputs
        self.numbers, self.entered = saved, around
        for outer, number in zip(keras_node.outputs, outputs):
            self.numbers[id(outer)] = number
            self._refine(number, outer.shape)

    def _is_part(self, functional) -> bool:
        """Whether a model is made of calls that are made outside of it, too."""
        made = _made(self.internals.ordered_nodes(functional))
        return not self.entered.isdisjoint(made)

    def _inline(self, functional, place, inputs) -> list[int]:
        """The calls of a model once more, on other inputs, in the same block.

        Called on something else, it does not give what its calls give outside:
        their tensors are new ones.
        """
        keras_nodes = list(self.internals.ordered_nodes(functional))
        for tensor in _made(keras_nodes):
            self.numbers.pop(tensor, None)
        for inner_tensor, number in zip(functional.inputs, inputs):
            self.numbers[id(inner_tensor)] = number
        self._walk(keras_nodes, place)
        return [self.tensor(t) for t in functional.outputs]

    def _refine(self, number, shape):
        """Outside a nested model more sizes may be known than inside."""
        tensor = self.tensors[number]
        known = tuple(
            new if old is None else old for old, new in zip(tensor.shape, shape)
        )
        self.tensors[number] = dataclasses.replace(tensor, shape=known)

    def _know(self, opened):
        """Takes in what an opened composite says of its inside."""
        if opened is None:
            return
        self.alive.append(opened)
        self.stand_ins.update(opened.stand_ins)
        self.sizes.update(opened.sizes)
        self.paths.update(opened.paths)

    def _opened(self, opened, operation, keras_node, place):
        """A composite layer: its nodes take its place in the flat model."""
        self._know(opened)
        for inner, outer in zip(opened.inputs, keras_node.input_tensors):
            self.numbers[id(inner)] = self.tensor(outer)
        self._walk(opened.nodes, place.inside(operation.name))
        for outer, inner in zip(keras_node.outputs, opened.outputs):
            self.numbers[id(outer)] = self.tensor(inner)

    def _activated(self, activation, layer, keras_node, place):
        """A layer and its activation: two steps in place of one."""
        self._know(activation)
        linear = self.linear.get(id(layer))
        if linear is None:
            plain = self.internals.kind.activations.linear
            linear = altered(layer, activation=plain)
            self.linear[id(layer)] = linear
            self.alive.append(layer)
        between = self.tensor(activation.inputs[0])
        kinds = kinds_of(type(layer))
        self._call(keras_node, linear, kinds, place, outputs=[between])
        self._walk(activation.nodes, place.inside(layer.name))
        number = self.tensor(activation.outputs[0])
        self.numbers[id(keras_node.outputs[0])] = number

    def weights_of(self, layer) -> list[Weight]:
        return weights_of(layer)

    def weight(self, variable, name) -> Weight:
        return _weight(variable, name)

    def _call(self, keras_node, layer, kinds, place, reason=None, outputs=None):
        holder = keras_node.operation
        alone = self.internals.unwrapped(holder) is holder
        is_layer = self.internals.is_layer(layer)
        name = holder.name if is_layer else self._name(holder.name, place)
        args, kwargs = self._arguments(keras_node, place, name)
        self._add(
            place,
            name=place.name(name),
            kinds=kinds,
            args=args,
            kwargs=kwargs,
            outputs=outputs or [self.tensor(t) for t in keras_node.outputs],
            weights=self.weights_of(layer),
            operation=layer,
            read_config=lambda: self._config(layer),
            is_layer=is_layer,
            holder=None if alone else holder,
            closed_reason=reason,
            inner=self._inner(layer),
        )

    def _name(self, name, place) -> str:
        """A name for an operation that Keras named while it was recorded.

        Keras numbers those over the whole process; here they are numbered by
        their place in the model.
        """
        if not place.opened:
            return name
        base = re.sub(r"_\d+$", "", name)
        count = self.names[place.name(base)] = (
            self.names.get(place.name(base), -1) + 1
        )
        return f"{base}_{count}" if count else base

    def _inner(self, layer) -> Node | None:
        """The layer inside a wrapper, as a node of its own."""
        inner = getattr(layer, "layer", None)
        if not self.internals.is_layer(inner):
            return None
        return Node(
            index=0,
            name=layer.name,
            kinds=kinds_of(type(inner)),
            args=(TensorRef(0),),
            kwargs={},
            inputs=[0],
            outputs=[1],
            weights=self.weights_of(inner),
            operation=inner,
            read_config=lambda: self._config(inner),
            inner=self._inner(inner),
        )

    def _add(self, place, args=(), kwargs=None, **fields) -> Node:
        kwargs = kwargs or {}
        node = Node(
            index=-1,
            args=args,
            kwargs=kwargs,
            inputs=[
                leaf.index
                for leaf in leaves((args, kwargs))
                if isinstance(leaf, TensorRef)
            ],
            scope=place.scope,
            opened_path=place.opened,
            **fields,
        )
        place.block.steps.append(node)
        return node

    def _arguments(self, keras_node, place, name):
        return keras_node.arguments.convert(
            lambda value: self._reference(value, place, name)
        )

    def _reference(self, value, place=None, name=""):
        """A call argument with numbers in place of tensors.

        Args:
            value: The argument.
            place: Where the call stands.
            name: What is called, for the names of constants.
        """
        dtype = None
        if self.internals.is_tensor(value):
            stands_for = self.stand_ins.get(id(value))
            if stands_for is None:
                return TensorRef(self.tensor(value))
            if stands_for is implicit_masks.GIVEN_AGAIN:
                return None
            dtype = self.internals.tensor_facts(value)[1]
            value = stands_for
        if self.internals.is_variable(value):
            if self.holding.is_held(value):
                return TensorRef(self._variable(value, place, dtype))
            value = self.internals.to_array(value)
        if self.holding.is_array(value):
            return TensorRef(self._constant(value, place, name))
        return value

    def _constant(self, value, place, user) -> int:
        """An array used by an operation: a node of its own holds it."""
        value = self.internals.to_array(value)
        number = self._new_tensor(value.shape, value.dtype, "constant")
        self._add(
            place,
            name=place.name(f"{user}:constant"),
            kinds=(CONSTANT,),
            outputs=[number],
            weights=[],
            operation=value,
            read_config=lambda: {"value": value},
            is_layer=False,
        )
        return number

    def _variable(self, variable, place, dtype=None) -> int:
        """A variable used by an operation: a node of its own makes it."""
        shape, own_dtype, path, name = self.internals.variable_facts(variable)
        dtype = dtype or own_dtype
        key = id(variable), id(place.block), dtype
        if key in self.variables:
            return self.variables[key]
        number = self.variables[key] = self._new_tensor(shape, dtype, path)
        self._add(
            place,
            name=place.name(name),
            kinds=(VARIABLE,),
            outputs=[number],
            weights=[self.weight(variable, "kernel")],
            operation=variable,
            read_config=lambda: self.holding.config_of(variable, dtype),
            is_layer=False,
        )
        return number

    def _held(self, end, layer_node, place):
        """A variable that a model made by this package holds in a layer."""
        holder = layer_node.operation
        layer = self.internals.unwrapped(holder)
        self._add(
            place,
            name=place.name(holder.name),
            kinds=(VARIABLE,),
            outputs=[self.tensor(end.outputs[0])],
            weights=self.weights_of(layer),
            operation=layer,
            read_config=layer.get_config,
            is_layer=False,
            holder=None if holder is layer else holder,
        )


def _made(keras_nodes) -> set[int]:
    """The ids of the symbolic tensors that calls give."""
    return {id(tensor) for one in keras_nodes for tensor in one.outputs}


def weights_of(layer) -> list[Weight]:
    """A layer's variables, named by their path inside the layer."""
    if not keras_internals.is_layer(layer):
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
