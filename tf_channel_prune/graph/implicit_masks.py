"""Keras masks: what layers pass along beside the tensors.

A flat model passes a mask along wherever the layers inside a composite do.
The composite itself may do more: take a mask as an argument, or put one back
on its output that its inside has lost.
Checked on Keras 3.15.1.
"""

from __future__ import annotations

import inspect

import keras
from keras import tree

# In place of a mask that a layer was given by Keras: it will be given again.
GIVEN_AGAIN = object()


def of(tensor):
    return getattr(tensor, "_keras_mask", None)


def lend(fresh, outer, shape) -> None:
    """Puts a mask on a symbolic tensor whose counterpart has one."""
    if of(outer) is not None:
        rank = len(of(outer).shape)
        fresh._keras_mask = keras.KerasTensor(shape[:rank], dtype="bool")


def problem(operation, keras_node, trace) -> str | None:
    """Why the flat calls would pass other masks along, if they would.

    Args:
        operation: The composite.
        keras_node: Its call.
        trace: The record of its inside, made on tensors with masks.
    """
    outer = [t for t in keras_node.input_tensors if of(t) is not None]
    if not outer:
        return None
    parameters = inspect.signature(operation.call).parameters
    given = keras_node.arguments.kwargs
    if any(
        (name == "mask" or name.endswith("_mask")) and given.get(name) is None
        for name in parameters
    ):
        return "it takes a Keras mask that no argument of the call shows"
    lent = {
        id(of(inner)): of(tensor)
        for inner, tensor in zip(trace.inputs, keras_node.input_tensors)
        if of(tensor) is not None
    }
    for node in trace.nodes:
        if not _gives_again(node, lent):
            return "it computes with a Keras mask"
    # A mask that the inside puts on an output stays there; only where there
    # is none may the composite put one.
    results = tree.flatten(trace.result)
    for inner, tensor in zip(results, keras_node.outputs):
        if of(inner) is None and of(tensor) is not None:
            return "a Keras mask goes around its inside"
    for mask in lent:
        trace.stand_ins[mask] = GIVEN_AGAIN
    return None


def _gives_again(node, lent) -> bool:
    """Whether Keras alone gave the lent masks to this call."""
    uses = [
        name
        for name, value in node.arguments.kwargs.items()
        if any(id(leaf) in lent for leaf in tree.flatten(value))
    ]
    if any(id(leaf) in lent for leaf in tree.flatten(node.arguments.args)):
        return False
    if not uses:
        return True
    if not isinstance(node.operation, keras.layers.Layer):
        return False
    parameters = inspect.signature(node.operation.call).parameters
    return all(
        name == "mask" or name.removesuffix("_mask") in parameters
        for name in uses
    )
