"""Rebuilds a tf_keras (Keras 2) model from its graph, call by call."""

from __future__ import annotations

from tf_channel_prune.graph import tf_keras_internals
from tf_channel_prune.graph import tf_keras_variables
from tf_channel_prune.graph.read_tf_keras import weights_of
from tf_channel_prune.graph.replay_keras import Builder
from tf_channel_prune.graph.structure import Block
from tf_channel_prune.graph.structure import Graph
from tf_channel_prune.graph.tf_functions import FunctionCall
from tf_channel_prune.graph.tf_layers import preferring_layers


def replay(graph: Graph, change=None, value=None, hold=None):
    """Builds a new model that computes what the graph says.

    Arguments are those of `tf_channel_prune.graph.replay`.
    """
    return TfBuilder(graph, change, value, hold).whole()


class TfBuilder(Builder):
    """Makes layers of tf_keras.

    Attributes:
        flat: Whether the layers of nested models become the whole model's,
            and functions become layers where one does the same.
    """

    internals = tf_keras_internals
    holding = tf_keras_variables
    sequential = tf_keras_internals.kind.Sequential
    weights_of = staticmethod(weights_of)
    flat = False

    def _made(self, node, config):
        if isinstance(node.operation, FunctionCall):
            name = self._name(node)
            call = node.operation.remade({**config, "name": name})
            if self.flat and call.normal:
                return preferring_layers(node.kind, config, name, call)
            return call
        return super()._made(node, config)

    def _nested(self, block, symbolic):
        if not self.flat:
            super()._nested(block, symbolic)
            return
        for step in block.steps:
            if isinstance(step, Block):
                self._nested(step, symbolic)
            else:
                self._call(step, symbolic, next(iter(symbolic.values())))

    def _is_chain(self, block):
        if self.flat and any(isinstance(step, Block) for step in block.steps):
            return False
        return super()._is_chain(block)

    def _unique(self, scope, name):
        return super()._unique(() if self.flat else scope, name)
