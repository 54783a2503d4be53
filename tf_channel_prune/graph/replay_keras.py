"""Rebuilds a Keras 3 model from its graph, call by call.

`clone_model` and edited JSON corrupt some models in silence (stale reshape
targets, lost names, inner inputs of the old shape), so every call is made
anew: a new layer from its config, new arguments, sliced weights.
"""

from __future__ import annotations

import numpy as np

from tf_channel_prune.errors import PruningError
from tf_channel_prune.errors import UnsupportedModelError
from tf_channel_prune.graph import keras_internals
from tf_channel_prune.graph import variables
from tf_channel_prune.graph.compilation import compile_like
from tf_channel_prune.graph.configs import without_build_config
from tf_channel_prune.graph.initial_values import InitialValues
from tf_channel_prune.graph.names import joined
from tf_channel_prune.graph.read_keras import weights_of
from tf_channel_prune.graph.structure import CONSTANT
from tf_channel_prune.graph.structure import VARIABLE
from tf_channel_prune.graph.structure import Block
from tf_channel_prune.graph.structure import Graph
from tf_channel_prune.graph.structure import Node
from tf_channel_prune.graph.structure import TensorRef
from tf_channel_prune.graph.structure import leaves
from tf_channel_prune.graph.structure import map_arguments


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
    return Builder(graph, change, value, hold).whole()


class Builder:
    """Makes each layer once and calls it wherever the graph does.

    What differs between the two Kerases is behind `internals` and `holding`.
    """

    internals = keras_internals
    holding = variables
    sequential = keras_internals.kind.Sequential
    weights_of = staticmethod(weights_of)

    def __init__(self, graph, change, value, hold):
        self.graph = graph
        self.change = change or (lambda node: None)
        self.value = value
        self.hold = hold
        self.operations: dict[int, object] = {}
        self.models: dict[int, object] = {}
        self.names: set[tuple] = set()

    def whole(self):
        """The whole model, compiled like the one that was read."""
        model = self.build(self.graph.root)
        compile_like(self.internals, self.graph.root.model, model)
        return model

    def build(self, block: Block, given=None):
        """The model of a block; `given` are the outer symbolic inputs."""
        inner = self.internals.functional(block.model)
        inputs = self._inputs(block, inner, given)
        symbolic = dict(zip(block.inputs, inputs))
        for step in block.steps:
            if isinstance(step, Block):
                self._nested(step, symbolic)
            else:
                self._call(step, symbolic, inputs[0])
        return self._model(block, inputs, symbolic)

    def _inputs(self, block, inner, given):
        """New inputs with the old names; sizes follow the outer tensors."""
        made = []
        for position, number in enumerate(block.inputs):
            tensor = self.graph.tensors[number]
            shape, dtype, name, options = tensor.shape, tensor.dtype, None, {}
            if inner is not None:
                own = inner.inputs[position]
                shape, dtype, name = self.internals.tensor_facts(own)
                options = self.internals.input_options(own)
            if given is not None:
                shape = tuple(
                    None if old is None else new
                    for old, new in zip(shape, given[position].shape)
                )
            made.append(
                self.internals.kind.Input(
                    batch_shape=shape, dtype=dtype, name=name, **options
                )
            )
        return made

    def _model(self, block, inputs, symbolic):
        """Sequential where it was and still is, else functional."""
        name = block.name
        if block is not self.graph.root:
            name = self._name(block)
        if type(block.model) is self.sequential and self._is_chain(block):
            layers = [
                self.models[id(step.model)]
                if isinstance(step, Block)
                else self.operations[id(step.operation)]
                for step in block.steps
            ]
            model = self.internals.sequential(inputs[0], layers, name)
        else:
            given = dict(zip(block.inputs, inputs))
            model = self._functional(
                self._filled(block.input_structure, given),
                self._filled(block.output_structure, symbolic),
                name,
            )
        if not block.model.trainable:
            self.internals.freeze_alone(model)
        return model

    def _functional(self, inputs, outputs, name):
        try:
            return self.internals.kind.Model(inputs, outputs, name=name)
        except ValueError as error:
            if "not connected" not in str(error):
                raise
            raise UnsupportedModelError(
                f"Nothing in {name!r} reads one of its inputs once its layers "
                "are opened, and Keras makes no such model before version 3.14 "
                "(pip install --upgrade keras)."
            ) from error

    def _is_chain(self, block) -> bool:
        previous = block.inputs
        for step in block.steps:
            if list(step.inputs) != list(previous):
                return False
            if isinstance(step, Node) and not step.is_layer:
                return False
            previous = step.outputs
        return list(previous) == list(block.outputs)

    def _nested(self, block, symbolic):
        given = [symbolic[number] for number in block.inputs]
        model = self.models.get(id(block.model))
        if model is None:
            model = self.models[id(block.model)] = self.build(block, given)
        args = self._filled(block.args, symbolic)
        kwargs = self._filled(block.kwargs, symbolic)
        outputs = self.internals.flatten(model(*args, **kwargs))
        symbolic.update(zip(block.outputs, outputs))

    def _call(self, node, symbolic, anchor):
        """Calls the node's operation; `anchor` is an input of the model."""
        change = self.change(node)
        config = {**node.config, **(change.config if change else {})}
        if node.kind == CONSTANT:
            symbolic[node.outputs[0]] = config["value"]
            return
        if node.kind == VARIABLE:
            symbolic[node.outputs[0]] = self._variable(node, config, anchor)
            return
        args, kwargs = self._arguments(node, change, symbolic)
        if node.is_layer:
            args, kwargs = self._symbolic_somewhere(args, kwargs, anchor)
            operation = self.operations.get(id(node.operation))
            if operation is None:
                operation, outputs = self._first_call(
                    node, config, args, kwargs
                )
                self.operations[id(node.operation)] = operation
            else:
                outputs = operation(*args, **kwargs)
        else:
            outputs = self._made(node, config)(*args, **kwargs)
        symbolic.update(zip(node.outputs, self.internals.flatten(outputs)))

    def _arguments(self, node, change, symbolic):
        args, kwargs = node.args, node.kwargs
        if change is not None:
            args = args if change.args is None else change.args
            kwargs = kwargs if change.kwargs is None else change.kwargs
            if change.take:
                number = node.inputs[0]
                picked = self._take(symbolic[number], change.take)
                symbolic = {**symbolic, number: picked}
        return self._filled(args, symbolic), self._filled(kwargs, symbolic)

    def _filled(self, value, symbolic):
        """`value` with symbolic tensors in place of their numbers."""

        def fill(leaf):
            if isinstance(leaf, TensorRef):
                return symbolic[leaf.index]
            return leaf

        return map_arguments(fill, value)

    def _take(self, tensor, picks):
        """Some positions of a tensor, axis by axis."""
        for axis, indices in picks:
            tensor = self.internals.take(tensor, np.asarray(indices), axis)
        return tensor

    def _symbolic_somewhere(self, args, kwargs, anchor):
        """Call arguments with a symbolic tensor among them.

        A layer called on constants alone would run at once and leave its
        weights behind.
        """
        flat = leaves((args, kwargs))
        if any(self.internals.is_tensor(leaf) for leaf in flat):
            return args, kwargs

        def anchored(leaf):
            if self.holding.is_array(leaf):
                return self.holding.anchored(leaf, anchor)
            return leaf

        return map_arguments(anchored, args), map_arguments(anchored, kwargs)

    def _variable(self, node, config, anchor):
        """The value of a variable, held by a layer of the new model."""
        layer = self.operations.get(id(node.operation))
        if layer is None:
            config = without_build_config(config)
            config["name"] = self._name(node)
            layer = self.holding.made(config)
            self._fill(node, layer)
            if self.hold is not None:
                layer = self.hold(node, layer)
            self.operations[id(node.operation)] = layer
        rank = len(self.graph.tensors[node.outputs[0]].shape)
        return self.holding.value_of(layer, anchor, rank)

    def _first_call(self, node, config, args, kwargs):
        """A new layer like the node's, with its weights, and its outputs.

        The first call builds a layer; one that a holder wraps is built apart,
        so that the model sees the holder alone.
        """
        new = self._made(node, config)
        new.trainable = node.operation.trainable
        values = InitialValues(node.weights_by_name, self._array)
        zeros = self.internals.without_initialization(new)
        with zeros, values.used_by(new):
            if self.hold is None:
                outputs = new(*args, **kwargs)
                self._fill(node, new, values)
                return new, outputs
            self.internals.build_for(new, args, kwargs)
        self._fill(node, new, values)
        new = self.hold(node, new)
        return new, new(*args, **kwargs)

    def _made(self, node, config):
        config = without_build_config(config)
        name = self._name(node)
        # Keras leaves it out where the constructor does not take it.
        late = "name" not in config
        if not late:
            config["name"] = name
        try:
            made = self.internals.made_like(node.operation, config)
        except Exception as error:  # the user's own classes may raise anything
            raise PruningError(
                f"Layer {node.name!r} ({type(node.operation).__name__}) cannot "
                f"be made again from its get_config(): {error}. Give the class "
                "a get_config that returns its constructor's arguments."
            ) from error
        if late:
            self.internals.rename(made, name)
        return made

    def _name(self, step) -> str:
        """The step's own name; an opened layer's path is in front of it."""
        if isinstance(step, Block):
            name = joined(*step.opened_path, step.name)
        else:
            name = step.name.removeprefix("".join(f"{s}/" for s in step.scope))
        return self._unique(step.scope, name)

    def _unique(self, scope, name) -> str:
        """The name, with a number where the scope has it already."""
        unique, number = name, 1
        while (scope, unique) in self.names:
            unique, number = f"{name}_{number}", number + 1
        self.names.add((scope, unique))
        return unique

    def _array(self, weight):
        return weight.array if self.value is None else self.value(weight)

    def _fill(self, node, layer, values=None):
        """Gives a new layer the node's weights, sliced or whole.

        Args:
            node: The node.
            layer: The new layer, built.
            values: What some of its variables were made with.
        """
        made = self.weights_of(layer)
        if len(made) != len(node.weights):
            raise PruningError(
                f"Layer {node.name!r} has {len(node.weights)} weights, but its "
                f"copy has {len(made)}. Its get_config does not describe it."
            )
        pairs = _pairs(node.weights, made)
        for old, new in pairs:
            if values is not None and values.given(new.variable, old):
                continue
            array = self._array(old)
            if len(old.shape) == 0 and new.shape == (1,):
                array = np.reshape(array, (1,))  # a held scalar
            if tuple(array.shape) != new.shape:
                raise PruningError(
                    f"{node.name}: weight {old.name} becomes "
                    f"{tuple(array.shape)}, but the new layer has {new.shape}."
                )
            new.variable.assign(array)
        self.internals.copy_trainable(node.operation, layer, pairs)
        self.internals.copy_state(node.operation, layer)


def _pairs(old, new):
    """Weights that belong together: by name, or by order where names differ.

    A layer that was quantized after it was built has its weights in another
    order than one that was built like that.
    """
    named = {weight.name: weight for weight in new}
    if {weight.name for weight in old} == named.keys():
        return [(weight, named[weight.name]) for weight in old]
    return list(zip(old, new))
