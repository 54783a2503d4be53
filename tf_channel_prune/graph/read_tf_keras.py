"""Reads tf_keras (Keras 2) models.

Functional and Sequential models of tf_keras record a node for every call of a
layer, like Keras 3; calls of `tf.*` functions are layers too (`TFOpLambda`).
"""

from __future__ import annotations

from tf_channel_prune.graph import tf_keras_internals
from tf_channel_prune.graph import tf_keras_opening
from tf_channel_prune.graph import tf_keras_variables
from tf_channel_prune.graph.read_keras import Reader
from tf_channel_prune.graph.structure import Graph
from tf_channel_prune.graph.structure import Weight


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

    def _step(self, keras_node, place):
        function = tf_functions.function_of(keras_node.operation)
        if function is None:
            super()._step(keras_node, place)
        else:
            self._function(keras_node, function, place)

    def _function(self, keras_node, function, place):
        """A call of a `tf.*` function, as the operation that it is."""
        given = map_arguments(
            tf_functions.plain,
            (keras_node.arguments.args, keras_node.arguments.kwargs),
        )
        layer = keras_node.operation
        operation, args, kwargs = tf_functions.read_call(layer, *given)
        args, kwargs = map_arguments(
            lambda value: self._reference(value, place), (args, kwargs)
        )
        self._add(
            place,
            name=place.name(layer.name),
            kinds=operation.kinds,
            args=args,
            kwargs=kwargs,
            outputs=[self.tensor(t) for t in keras_node.outputs],
            weights=[],
            operation=operation,
            read_config=operation.get_config,
            is_layer=False,
        )


def weights_of(self, operation):
    return weights_of(operation)


def weights_of(layer) -> list[Weight]:
    """A layer's variables, named by their path inside the layer."""
    return [
        Weight(
            key=id(variable),
            name=name,
            shape=tuple(variable.shape.as_list()),
            trainable=bool(variable.trainable),
            dtype=variable.dtype.name,
            variable=variable,
        )
        for variable, name in tf_keras_internals.variable_names(layer)
    ]
