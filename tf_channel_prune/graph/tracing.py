"""Records what a layer's `call` does, and leaves no trace in the layer.

Checked on Keras 3.15.1.
"""

from __future__ import annotations

import contextlib
import dataclasses

import keras
import numpy as np
from keras import tree

from tf_channel_prune.graph import keras_internals
from tf_channel_prune.graph import variables


@dataclasses.dataclass
class Trace:
    """One run of a layer's `call` on symbolic tensors.

    Attributes:
        inputs: The symbolic tensors that it was given, in order.
        result: What `call` returned.
        nodes: The recorded calls, each after what it needs.
        stand_ins: By id, what a symbolic tensor stood for: a variable or an
            array.
        problem: Why the record does not say everything, if so.
        alive: Keeps the objects behind ids.
    """

    inputs: list
    result: object
    nodes: list
    stand_ins: dict[int, object]
    problem: str | None = None
    alive: list = dataclasses.field(default_factory=list)


class _ReadingScope(keras.StatelessScope):
    """Notices variables whose value is used outside of recorded calls."""

    def __init__(self):
        super().__init__(initialize_variables=False)
        self.read: list = []

    def get_current_value(self, variable):
        self.read.append(variable)
        return super().get_current_value(variable)


def trace(layer, args, kwargs, inputs, stand_in: bool) -> Trace:
    """Runs `layer.call` and records the calls inside.

    Args:
        layer: A built layer.
        args, kwargs: Its call arguments, with fresh symbolic tensors.
        inputs: Those tensors, in order.
        stand_in: Whether symbolic tensors take the place of the layer's own
            variables, so that what is computed from them is recorded too.
    """
    parts = layer._flatten_layers()
    stand_ins: dict[int, object] = {}
    kept: list = []
    scope = _ReadingScope()
    with _untouched(parts), _autocast(layer), scope:
        args, kwargs = tree.map_structure(
            lambda value: _converted(layer, value), (args, kwargs)
        )
        if stand_in:
            _replace_variables(layer, stand_ins, kept)
        for part in parts:
            if part is not layer and part.weights:
                _call_symbolically(part, stand_ins, kept)
        result = layer.call(*args, **kwargs)
        nodes = _collect(tree.flatten(result))
    found = Trace(inputs, result, nodes, stand_ins, alive=kept)
    found.problem = _problem(layer, found, scope)
    return found


@contextlib.contextmanager
def _untouched(parts):
    """Puts the attributes and the recorded calls of layers back."""
    saved = [
        (
            part,
            dict(vars(part)),
            len(part._inbound_nodes),
            len(part._outbound_nodes),
        )
        for part in parts
    ]
    try:
        yield
    finally:
        for part, attributes, inbound, outbound in saved:
            vars(part).clear()
            vars(part).update(attributes)
            del part._inbound_nodes[inbound:]
            del part._outbound_nodes[outbound:]


def _autocast(layer):
    """What Keras wraps around a call of a layer of mixed precision."""
    from keras.src.backend.common.variables import AutocastScope

    if layer.autocast and layer.compute_dtype != layer.variable_dtype:
        return AutocastScope(layer.compute_dtype)
    return contextlib.nullcontext()


def _converted(layer, value):
    """A call argument in the dtype that Keras would give the layer."""
    if not layer._convert_input_args or not isinstance(
        value, keras.KerasTensor
    ):
        return value
    return layer.dtype_policy.convert_input(
        value, layer.autocast, layer.input_dtype
    )


# Where Keras itself lists a layer's variables.
_LISTS = ("_trainable_variables", "_non_trainable_variables")


def own_variables(layer) -> list:
    return [*layer._trainable_variables, *layer._non_trainable_variables]


def _replace_variables(layer, stand_ins, kept) -> None:
    """Symbolic tensors as attributes in place of the layer's variables."""
    made: dict[int, keras.KerasTensor] = {}
    for variable in own_variables(layer):
        symbolic = keras.KerasTensor(variable.shape, dtype=variable.dtype)
        made[id(variable)] = symbolic
        stand_ins[id(symbolic)] = variable
        kept.append(symbolic)

    def replaced(value):
        if isinstance(value, keras.Variable):
            return made.get(id(value), value)
        if isinstance(value, (list, tuple)):
            return [replaced(item) for item in value]
        if isinstance(value, dict):
            return {key: replaced(item) for key, item in value.items()}
        return value

    for name, value in list(vars(layer).items()):
        if name not in _LISTS and _holds_any(value, made):
            vars(layer)[name] = replaced(value)


def _holds_any(value, made) -> bool:
    if isinstance(value, dict):
        return any(_holds_any(item, made) for item in value.values())
    if isinstance(value, (list, tuple)):
        return any(_holds_any(item, made) for item in value)
    return isinstance(value, keras.Variable) and id(value) in made


def _call_symbolically(part, stand_ins, kept) -> None:
    """Has a sub-layer recorded even where it is called on constants.

    A lookup of positions, `embedding(ops.arange(n))`, would run at once.
    """
    from keras.src.backend.common.symbolic_scope import in_symbolic_scope

    original = part.call

    def symbolic(value):
        if not variables.is_array(value):
            return value
        value = keras.ops.convert_to_numpy(value)
        tensor = keras.KerasTensor(value.shape, dtype=str(value.dtype))
        stand_ins[id(tensor)] = value
        kept.append(tensor)
        return tensor

    def call(*args, **kwargs):
        flat = tree.flatten((args, kwargs))
        known = any(isinstance(leaf, keras.KerasTensor) for leaf in flat)
        if known or in_symbolic_scope():
            return original(*args, **kwargs)
        args, kwargs = tree.map_structure(symbolic, (args, kwargs))
        return part(*args, **kwargs)

    vars(part)["call"] = call


def _collect(outputs):
    """The calls that lead to `outputs`, each after what it needs."""
    done: set[int] = set()
    order: list = []
    stack = [(keras_internals.node_of(t), False) for t in reversed(outputs)]
    while stack:
        node, expanded = stack.pop()
        if node is None or (id(node) in done and not expanded):
            continue
        if expanded:
            order.append(node)
            continue
        done.add(id(node))
        stack.append((node, True))
        for tensor in reversed(node.input_tensors):
            stack.append((keras_internals.node_of(tensor), False))
    return order


def _problem(layer, found: Trace, scope) -> str | None:
    """Why the record does not say everything, or None if it does."""
    outputs = tree.flatten(found.result)
    if not outputs or not all(
        isinstance(t, keras.KerasTensor) for t in outputs
    ):
        return "its call returns something other than tensors"
    if scope.state_mapping:
        return "its call changes a weight"
    if scope.read:
        return f"its call computes with the weight {scope.read[0].path!r}"
    own = {id(variable) for variable in own_variables(layer)}
    inside = {
        id(variable)
        for part in layer._flatten_layers(include_self=False)
        for variable in part.variables
    }
    used = set()
    for node in found.nodes:
        for value in tree.flatten((node.arguments.args, node.arguments.kwargs)):
            if isinstance(value, keras.KerasTensor):
                value = found.stand_ins.get(id(value))
            if isinstance(value, keras.Variable):
                if id(value) in inside or id(value) not in own:
                    return f"it uses the weight {value.path!r} of another layer"
                used.add(id(value))
    for variable in own_variables(layer):
        if id(variable) not in used:
            return f"its weight {variable.path!r} is used outside operations"
    return None


def same(first: Trace, second: Trace) -> bool:
    """Whether two runs recorded the same calls on the same values."""
    return _written(first) == _written(second)


def _written(found: Trace) -> list:
    """A record as plain values that can be compared."""
    numbers: dict[int, object] = {
        id(tensor): ("input", i) for i, tensor in enumerate(found.inputs)
    }
    for key, value in found.stand_ins.items():
        numbers[key] = _plain(value)

    def written(value):
        if isinstance(value, keras.KerasTensor):
            return numbers.get(id(value), "unknown")
        if isinstance(value, dict):
            return {k: written(v) for k, v in value.items() if k != "training"}
        if isinstance(value, (list, tuple)):
            return [written(v) for v in value]
        if isinstance(value, slice):
            return [written(v) for v in (value.start, value.stop, value.step)]
        return _plain(value)

    lines = []
    for i, node in enumerate(found.nodes):
        operation = node.operation
        what = identity(operation)
        if what is None:
            what = (type(operation).__name__, written(_config(operation)))
        lines.append(
            (what, written(node.arguments.args), written(node.arguments.kwargs))
        )
        for j, tensor in enumerate(node.outputs):
            numbers[id(tensor)] = ("output", i, j)
    lines.append(written(found.result))
    return lines


def identity(operation):
    """What tells a layer from others; None if its config says it all.

    A layer without weights may be made anew at every call.
    """
    if keras_internals.is_layer(operation) and operation.weights:
        return id(operation)
    return None


def _config(operation) -> dict:
    config = dict(keras_internals.config(operation))
    config.pop("name", None)
    return config


def _plain(value):
    if isinstance(value, keras.Variable):
        return ("variable", id(value))
    if variables.is_array(value):
        value = keras.ops.convert_to_numpy(value)
    if isinstance(value, np.ndarray):
        return (value.shape, str(value.dtype), value.tobytes())
    if isinstance(value, (str, int, float, bool, type(None))):
        return value
    return repr(value)
