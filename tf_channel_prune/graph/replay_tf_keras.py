"""Rebuilds a tf_keras (Keras 2) model from its graph, call by call."""

from __future__ import annotations

from tf_channel_prune.graph import tf_keras_internals
from tf_channel_prune.graph.read_tf_keras import weights_of
from tf_channel_prune.graph.replay_keras import Builder
from tf_channel_prune.graph.structure import Graph


def replay(graph: Graph, change=None, value=None, hold=None):
    """Builds a new model that computes what the graph says.

    Arguments are those of `tf_channel_prune.graph.replay`.
    """
    return _Builder(graph, change, value, hold).whole()


class _Builder(Builder):
    """Makes layers of tf_keras."""

    internals = tf_keras_internals
    weights_of = staticmethod(weights_of)
