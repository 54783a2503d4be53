"""Runs a graph on real tensors, node by node.

A model's own call gives its outputs; this gives any tensor in between, lets a
node be run in another way, and starts anywhere.
"""

from __future__ import annotations

from tf_channel_prune.errors import PruningError
from tf_channel_prune.errors import what_it_says
from tf_channel_prune.graph.structure import CONSTANT
from tf_channel_prune.graph.structure import VARIABLE
from tf_channel_prune.graph.structure import Graph
from tf_channel_prune.graph.structure import TensorRef
from tf_channel_prune.graph.structure import map_arguments
from tf_channel_prune.graph.structure import shapes_fit


def run(graph: Graph, values: dict, nodes=None, call=None, keep=()) -> dict:
    """Runs nodes on the tensors in `values`.

    Layers run as at inference, whatever the mode they were recorded in.

    Args:
        graph: A graph whose model has weights.
        values: Tensor by tensor number; what the nodes need and do not make.
        nodes: The nodes to run, in graph order. Defaults to all.
        call: Function of `(node, args, kwargs)` that runs a node, or gives
            None to have it run as usual.
        keep: Tensor numbers to give beside the model's outputs.

    Returns:
        Tensor by number, for the model's outputs and for `keep`.
    """
    nodes = graph.nodes if nodes is None else nodes
    wanted = {*graph.outputs, *keep}
    last = {number: node.index for node in nodes for number in node.inputs}
    values = dict(values)

    def fill(value):
        return values[value.index] if isinstance(value, TensorRef) else value

    for node in nodes:
        args = map_arguments(fill, node.args)
        kwargs = map_arguments(fill, node.kwargs)
        result = call(node, args, kwargs) if call is not None else None
        if result is None:
            result = plain(graph, node, args, kwargs)
        made = flat(graph, result)
        values.update(zip(node.outputs, made))
        for number in node.inputs:
            if last[number] == node.index and number not in wanted:
                values.pop(number, None)
    return {number: values[number] for number in wanted if number in values}


def plain(graph: Graph, node, args, kwargs):
    """Runs a node as at inference."""
    if node.kind == CONSTANT:
        return node.config["value"]
    if node.kind == VARIABLE:
        variable = node.weights[0].variable
        scalar = not graph.tensors[node.outputs[0]].shape
        # A layer that holds a single number holds it as a vector.
        return variable[0] if scalar and variable.shape else variable
    if kwargs.get("training"):
        kwargs = {**kwargs, "training": False}
    layer = node.operation if node.holder is None else node.holder
    return layer(*args, **kwargs)


def flat(graph: Graph, structure) -> list:
    """The tensors of a nested structure, in the flavour's own order."""
    if graph.flavour == "tf_keras":
        import tensorflow as tf

        return tf.nest.flatten(structure)
    from keras import tree

    return tree.flatten(structure)


def inputs(graph: Graph, x) -> dict:
    """Input tensors by number, from what the model takes.

    Raises:
        PruningError: If the data do not fit the model's inputs.
    """
    try:
        tensors = _input_tensors(graph, x)
    except Exception as error:  # any library may have made the data
        raise PruningError(
            f"The data do not fit the model's inputs: {what_it_says(error)}"
        ) from error
    _check_fit(graph, tensors)
    return dict(zip(graph.inputs, tensors))


def _check_fit(graph, tensors) -> None:
    """What does not fit fails in one of the layers, in that one's words."""
    given = [tuple(tensor.shape)[1:] for tensor in tensors]
    taken = [tuple(graph.tensors[n].shape)[1:] for n in graph.inputs]
    if not (len(given) == len(taken) and all(map(shapes_fit, given, taken))):
        raise PruningError(
            "The data do not fit the model's inputs: its samples have the "
            f"shape {_listed(given)}, and the model takes {_listed(taken)}."
        )


def _listed(shapes) -> str:
    return " and ".join(map(str, shapes))


def _input_tensors(graph, x) -> list:
    if graph.flavour == "tf_keras":
        import tensorflow as tf

        given = tf.nest.flatten(x)
        return [
            tf.cast(value, graph.tensors[number].dtype)
            for value, number in zip(given, graph.inputs, strict=True)
        ]
    from tf_channel_prune.graph import keras_internals

    return keras_internals.flat_inputs(graph.root.model, x)


def backend(graph: Graph) -> str:
    """Whose the model's tensors are: `"tensorflow"`, `"jax"` or `"torch"`."""
    if graph.flavour == "tf_keras":
        return "tensorflow"
    import keras

    return keras.backend.backend()


def is_tensorflow(graph: Graph) -> bool:
    """Whether the model's tensors are TensorFlow's."""
    return backend(graph) == "tensorflow"
