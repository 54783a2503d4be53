"""Compiles what runs again and again on one model.

The function computes; it may give the model's variables values on its way, and
these last no longer than the call, or as long as the backend likes. The
variables' values are read anew at every call, so a model may be masked or
trained between two calls.
"""

from __future__ import annotations

import functools
import logging

from tf_channel_prune.graph import run as running
from tf_channel_prune.graph.structure import Graph

log = logging.getLogger("tf_channel_prune")


def compiled(graph: Graph, function):
    """The function as one program of the backend; on PyTorch, as it is.

    Args:
        graph: A graph whose model has weights.
        function: Of tensors, or lists of them; it gives tensors too.
    """
    backend = running.backend(graph)
    if backend == "tensorflow":
        return _by_tensorflow(function)
    if backend == "jax":
        return _ByJax(graph, function)
    return function


def _by_tensorflow(function):
    import tensorflow as tf

    made = tf.function(function, reduce_retracing=True)
    return functools.wraps(function)(made)


class _ByJax:
    """A function compiled by XLA, once for all values of the variables.

    A layer that looks at values while it is called cannot be compiled; then
    the function runs as it is, which raises again what was no fault of that.
    """

    def __init__(self, graph, function):
        import jax

        self.function = function
        self.variables = _variables(graph)
        self._program = jax.jit(self._stateless)

    def __call__(self, *arguments):
        if self._program is not None:
            values = [variable.value for variable in self.variables]
            try:
                return self._program(values, *arguments)
            # JAX has errors of its own, but Keras loses their types.
            except Exception as error:
                self._program = None
                log.warning(
                    "The model runs operation by operation, which is slower: "
                    "JAX could not compile it (%s: %s).",
                    type(error).__name__,
                    str(error).split("\n", 1)[0],
                )
        return self.function(*arguments)

    def _stateless(self, values, *arguments):
        import keras

        mapping = list(zip(self.variables, values))
        with keras.StatelessScope(state_mapping=mapping):
            return self.function(*arguments)


def _variables(graph):
    """All variables that a graph's nodes read, each once."""
    found = {id(v): v for v in graph.root.model.variables}
    for node in graph.nodes:
        for owner in (node.operation, node.holder):
            for variable in getattr(owner, "variables", None) or ():
                found[id(variable)] = variable
        for weight in node.weights:
            found[id(weight.variable)] = weight.variable
    return list(found.values())
