"""Records what a layer's `call` does, and leaves no trace in the layer.

Checked on Keras 3.15.1.
"""

from __future__ import annotations

import contextlib
import dataclasses
import inspect

import keras
from keras import tree

from tf_channel_prune.graph import creation
from tf_channel_prune.graph import keras_internals
from tf_channel_prune.graph import own_losses
from tf_channel_prune.graph import recording
from tf_channel_prune.graph import tf_recording


@dataclasses.dataclass
class Trace:
    """One run of a layer's `call` on symbolic tensors.

    Attributes:
        given: The arguments that hold tensors, as `call` takes them.
        inputs: The symbolic tensors in them, in order.
        result: What `call` returned.
        nodes: The recorded calls, each after what it needs.
        stand_ins: By id, what a symbolic tensor stood for: a variable, an
            array, or a `creation.Made`.
        paths: By the id of a node, the names of the sub-layers around it that
            were recorded call by call, as the layer itself.
        parts: The layer and all its sub-layers.
        problem: Why the record does not say everything, if so.
        alive: Keeps the objects behind ids.
    """

    given: object
    inputs: list
    result: object
    nodes: list
    stand_ins: dict[int, object]
    paths: dict[int, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    parts: list = dataclasses.field(default_factory=list)
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


def trace(layer, args, kwargs, stand_in, primes=()) -> Trace:
    """Runs `layer.call` and records the calls inside.

    Args:
        layer: A built layer.
        args, kwargs: Its call arguments, with fresh symbolic tensors.
        stand_in: Whether symbolic tensors take the place of the layer's own
            variables, so that what is computed from them is recorded too.
        primes: Numbers in place of unknown sizes; arrays made from those are
            recorded too.
    """
    parameters = inspect.signature(layer.call).parameters
    if "training" not in parameters:
        # Keras takes it for any layer.
        kwargs = {k: v for k, v in kwargs.items() if k != "training"}
    inputs = recording.tensors((args, kwargs))
    given = args[0] if args else kwargs
    recorder = recording.Recorder(layer, stand_in)
    scope = _ReadingScope()
    made = creation.recorded(primes, recorder.stand_for)
    with untouched(layer), scope, made, tf_recording.recorded():
        args, kwargs = tree.map_structure(
            lambda value: _converted(layer, value), (args, kwargs)
        )
        result = recorder.run(args, kwargs)
        nodes = recording.before(tree.flatten(result))
    found = Trace(
        given,
        inputs,
        result,
        nodes,
        recorder.stand_ins,
        recorder.paths,
        recorder.parts,
        alive=recorder.kept,
    )
    found.problem = recorder.problem or _problem(found, recorder.opened, scope)
    return found


@contextlib.contextmanager
def untouched(layer):
    """Calls inside run as in the layer, and leave no trace in its parts."""
    from keras.src.backend.common.variables import AutocastScope

    saved = [
        (
            part,
            dict(vars(part)),
            len(part._inbound_nodes),
            len(part._outbound_nodes),
        )
        for part in layer._flatten_layers()
    ]
    mixed = layer.autocast and layer.compute_dtype != layer.variable_dtype
    cast = AutocastScope(layer.compute_dtype) if mixed else None
    try:
        with cast or contextlib.nullcontext():
            yield
    finally:
        for part, attributes, inbound, outbound in saved:
            vars(part).clear()
            vars(part).update(attributes)
            del part._inbound_nodes[inbound:]
            del part._outbound_nodes[outbound:]


def _converted(layer, value):
    """A call argument in the dtype that Keras would give the layer."""
    if not layer._convert_input_args or not isinstance(
        value, keras.KerasTensor
    ):
        return value
    return layer.dtype_policy.convert_input(
        value, layer.autocast, layer.input_dtype
    )


def _problem(found: Trace, opened, scope) -> str | None:
    """Why the record does not say everything, or None if it does."""
    if not recording.are_tensors(found.result):
        return "its call returns something other than tensors"
    if scope.state_mapping:
        return "its call changes a weight"
    if scope.read:
        return f"its call computes with the weight {scope.read[0].path!r}"
    losses = own_losses.problem(opened)
    if losses is not None:
        return losses
    own = {id(v): v for layer in opened for v in recording.own_variables(layer)}
    used = set()
    for node in found.nodes:
        for value in tree.flatten((node.arguments.args, node.arguments.kwargs)):
            if keras_internals.is_unseen(value):
                return "it uses a tf.Variable, which Keras does not see"
            if isinstance(value, keras.KerasTensor):
                value = found.stand_ins.get(id(value))
            if isinstance(value, keras.Variable):
                if id(value) not in own:
                    return f"it uses the weight {value.path!r} of another layer"
                used.add(id(value))
    for key, variable in own.items():
        if key not in used:
            return f"its weight {variable.path!r} is used outside operations"
    return None
