"""Opens composite layers and subclassed models of tf_keras.

As in `opening`: a layer's own `call` runs on symbolic tensors, and what it
records takes the layer's place where it says everything that the layer does.
"""

from __future__ import annotations

import inspect

import tensorflow as tf
import tf_keras

from tf_channel_prune.errors import UnsupportedModelError
from tf_channel_prune.graph import tf_keras_internals
from tf_channel_prune.graph import tf_tracing
from tf_channel_prune.graph.opening import Opened
from tf_channel_prune.graph.opening import OpenedModel
from tf_channel_prune.graph.opening import own_activation
from tf_channel_prune.graph.structure import leaves
from tf_channel_prune.graph.structure import map_arguments


def open_call(operation, call, known=None) -> Opened:
    """Opens one call of a layer inside a graph."""
    if not operation.built:
        return Opened(reason="it is not built")
    opened = _record(operation, call.arguments.args, call.arguments.kwargs)
    if opened.nodes is None:
        return opened
    reason = opened.losses or _mask_problem(operation, call, opened)
    return opened if reason is None else Opened(reason=reason)


def _mask_problem(layer, call, opened) -> str | None:
    """Why the flat calls would pass other Keras masks along, if they would.

    A flat model passes a mask along wherever the layers inside do. The
    composite may do more: take one as an argument, or put one on what its
    inside gives without. Which tensors have one shows only when a model runs:
    a layer that does not say that it supports masks may pass one along.
    """
    given = call.arguments.kwargs.get("mask")
    takes = "mask" in inspect.signature(layer.call).parameters
    may_be = _may_be_masked(call.input_tensors)
    if takes and given is None and may_be:
        return "it takes a Keras mask that no argument of the call shows"
    makes = not getattr(layer.compute_mask, "_is_default", False)
    if all(map(_masked, opened.outputs)):
        return None
    if makes or (layer.supports_masking and may_be):
        return "a Keras mask goes around its inside"
    return None


def _may_be_masked(tensors) -> bool:
    """Whether one of the tensors, or of what leads to them, has a mask.

    It looks no further than an opened composite, whose record is taken off
    its layers again; what goes into one has the masks that it has outside.
    """
    seen: set[int] = set()
    stack = list(tensors)
    while stack:
        tensor = stack.pop()
        if _masked(tensor):
            return True
        history = getattr(tensor, "_keras_history", None)
        if history is None or id(tensor) in seen:
            continue
        seen.add(id(tensor))
        nodes = history.layer._inbound_nodes
        if history.node_index < len(nodes):
            stack += nodes[history.node_index].keras_inputs
    return False


def _masked(tensor) -> bool:
    return getattr(tensor, "_keras_mask", None) is not None


def open_activation(layer, call) -> Opened | None:
    """Opens an activation that is a function of the user's own.

    Arguments are those of `opening.open_activation`.
    """
    function = own_activation(layer, tf_keras_internals)
    # Operations would lose a mask.
    if function is None or _may_be_masked(call.outputs):
        return None
    alone = tf_keras.layers.Activation(function, dtype=call.outputs[0].dtype)
    opened = _record(alone, call.outputs, {})
    return None if opened.nodes is None else opened


def open_model(model):
    """Opens a subclassed model from the shapes that it was called with.

    Raises:
        UnsupportedModelError: If it was never called, or does not open.
    """
    spec = model.save_spec()
    if spec is None:
        raise UnsupportedModelError(
            f"Model {model.name!r} has never been called, so its input shapes "
            "are unknown: call it once on a batch of data."
        )
    args, kwargs = tf.nest.map_structure(_as_input, spec)
    opened = _record(model, args, kwargs)
    if opened.nodes is None:
        raise UnsupportedModelError(
            f"Model {model.name!r} ({type(model).__name__}) cannot be read as "
            f"a graph: {opened.reason}. Write its call with layers and tf "
            "functions, or build it with the functional API."
        )
    return OpenedModel(
        opened.inputs,
        opened.outputs,
        {0: opened.nodes},
        opened.input_structure,
        opened.output_structure,
        losses=opened.losses,
    )


def _as_input(spec):
    if isinstance(spec, tf.TypeSpec):
        return tf_keras.Input(type_spec=spec)
    return spec


def _record(layer, args, kwargs) -> Opened:
    """Records `layer.call` on fresh symbolic tensors."""
    given: list = []

    def fresh(value):
        if tf_keras_internals.is_tensor(value):
            made = tf_keras.Input(type_spec=value.type_spec)
            if _masked(value):
                spec = value._keras_mask.type_spec
                made._keras_mask = tf_keras.Input(type_spec=spec)
            given.append(made)
            return made
        return value

    args, kwargs = map_arguments(fresh, (tuple(args), dict(kwargs)))
    try:
        found = tf_tracing.trace(layer, args, kwargs)
        problem = _problem(layer, found) or _differs(layer, args, kwargs, found)
    except Exception as error:  # any user code may run here
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        return Opened(reason=f"its call does not run symbolically ({first})")
    if problem is not None:
        return Opened(reason=problem)
    opened = Opened(given, tf.nest.flatten(found.result), found.calls)
    opened.input_structure = args[0] if len(args) == 1 else (args, kwargs)
    opened.output_structure = found.result
    opened.losses = found.losses
    return opened


def _differs(layer, args, kwargs, found) -> str | None:
    """How other runs of a layer's call differ from one, if they do."""
    takes = "training" in inspect.signature(layer.call).parameters
    # One that is not told whether it trains takes it that it does not.
    for mode in (False, True) if takes else (True,):
        told = {**kwargs, "training": mode} if takes else kwargs
        other = tf_tracing.trace(layer, args, told, training=mode)
        if tf_tracing.same(found, other):
            continue
        if tf_tracing.same(found, tf_tracing.trace(layer, args, kwargs)):
            return "its call takes another path while training"
        return "its call differs from run to run"
    return None


def _problem(layer, found):
    """Why the record does not say everything, or None if it does."""
    outputs = tf.nest.flatten(found.result)
    if not outputs or not all(tf_keras_internals.is_tensor(t) for t in outputs):
        return "its call returns something other than tensors"
    used = {
        id(value)
        for call in found.calls
        for value in leaves((call.arguments.args, call.arguments.kwargs))
        if isinstance(value, tf.Variable)
    }
    for variable in layer._trainable_weights + layer._non_trainable_weights:
        if id(variable) not in used:
            return f"its weight {variable.name!r} is used outside operations"
    return None
