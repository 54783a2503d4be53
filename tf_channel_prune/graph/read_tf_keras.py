"""Reads tf_keras (Keras 2) models.

Functional and Sequential models of tf_keras record a node for every call of a
layer, like Keras 3; calls of `tf.*` functions are layers too (`TFOpLambda`).
"""

from __future__ import annotations

from tf_channel_prune.graph import notes
from tf_channel_prune.graph import tf_functions
from tf_channel_prune.graph import tf_keras_internals
from tf_channel_prune.graph import tf_keras_opening
from tf_channel_prune.graph import tf_keras_variables
from tf_channel_prune.graph.read_keras import Reader
from tf_channel_prune.graph.structure import Block
from tf_channel_prune.graph.structure import Graph
from tf_channel_prune.graph.structure import Weight
from tf_channel_prune.graph.structure import map_arguments


def read(model, keep_whole) -> Graph:
    """Reads a tf_keras model; see `tf_channel_prune.graph.read`."""
    return _Reader(keep_whole).read(model)


class _Reader(Reader):
    """Reads the nodes of tf_keras."""

    flavour = "tf_keras"
    internals = tf_keras_internals
    opening = tf_keras_opening
    holding = tf_keras_variables

    def weights_of(self, layer):
        return weights_of(layer)

    def weight(self, variable, name):
        return _weight(variable, name)

    def _enter(self, functional, place, inputs):
        super()._enter(functional, place, inputs)
        if getattr(functional, "_callable_losses", None):
            self._note(notes.lost_losses(functional))
        self._drop_unused(place.block)

    def _step(self, keras_node, place):
        if self.internals.is_added(keras_node.operation):
            self._note(notes.lost_losses(place.block))
            return
        function = tf_functions.read(keras_node)
        if function is None:
            super()._step(keras_node, place)
            return
        operation, args, kwargs = function
        args, kwargs = map_arguments(
            lambda value: self._reference(value, place), (args, kwargs)
        )
        self._add(
            place,
            name=place.name(operation.name),
            kinds=operation.kinds,
            args=args,
            kwargs=kwargs,
            outputs=[self.tensor(t) for t in keras_node.outputs],
            weights=[],
            operation=operation,
            read_config=operation.get_config,
            is_layer=False,
        )

    def _drop_unused(self, block):
        """Leaves out functions whose results nobody needs.

        A reshape to `(tf.shape(x)[0], 64)` is read as one to `(-1, 64)`,
        which needs no `tf.shape` any more.
        """
        needed = set(block.outputs)
        for step in reversed(block.steps):
            used = isinstance(step, Block) or step.is_layer
            if used or needed.intersection(step.outputs):
                needed.update(step.inputs)
            else:
                block.steps.remove(step)


def weights_of(layer) -> list[Weight]:
    """A layer's variables, named by their path inside the layer."""
    return [
        _weight(variable, name)
        for variable, name in tf_keras_internals.variable_names(layer)
    ]


def _weight(variable, name: str) -> Weight:
    shape, dtype, _, _ = tf_keras_internals.variable_facts(variable)
    trainable = bool(variable.trainable)
    return Weight(id(variable), name, shape, trainable, dtype, variable)
