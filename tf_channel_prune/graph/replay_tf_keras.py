"""Rebuilds a tf_keras (Keras 2) model from its graph, call by call."""

from __future__ import annotations

from tf_channel_prune.graph import tf_keras_internals
from tf_channel_prune.graph import tf_keras_variables
from tf_channel_prune.graph.read_tf_keras import weights_of
from tf_channel_prune.graph.replay_keras import Builder
from tf_channel_prune.graph.structure import Graph
from tf_channel_prune.graph.tf_functions import FunctionCall


def replay(graph: Graph, change=None, value=None, hold=None):
    """Builds a new model that computes what the graph says.

    Arguments are those of `tf_channel_prune.graph.replay`.
    """
    return _Builder(graph, change, value, hold).whole()


class _Builder(Builder):
    """Makes layers of tf_keras."""

    internals = tf_keras_internals
    holding = tf_keras_variables
    weights_of = staticmethod(weights_of)

    def _made(self, node, config):
        if isinstance(node.operation, FunctionCall):
            name = self._name(node)
            return node.operation.remade({**config, "name": name})
        return super()._made(node, config)
