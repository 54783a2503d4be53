"""Opens composite layers and subclassed models.

Calling a layer's own `call` on symbolic tensors records the calls that it is
made of. That record replaces the layer only where it says everything the
layer does; otherwise the layer stays whole, with the reason:

- `call` must run on symbolic tensors and return tensors;
- every variable that the layer itself owns must appear in the record, and no
  variable may be read outside of it, since a variable that was folded into a
  constant would no longer train;
- the record must be the same with `training=True`, since a Python branch on
  `training` is decided while recording;
- it must be the same for every batch size;
- Keras masks must take the same way.
"""

from __future__ import annotations

import dataclasses
import inspect

import keras
from keras import tree

from tf_channel_prune.errors import UnsupportedModelError
from tf_channel_prune.graph import batches
from tf_channel_prune.graph import implicit_masks
from tf_channel_prune.graph import keras_internals
from tf_channel_prune.graph import tracing


@dataclasses.dataclass
class Opened:
    """The calls inside a layer, or the reason why they cannot be had.

    Attributes:
        inputs: The symbolic tensors that stood for the call's tensors.
        outputs: What it gave, flat.
        nodes: The calls inside, in order; None if it stays whole.
        reason: Why it stays whole.
        stand_ins: By the id of a symbolic tensor, the variable or array that
            it stands for.
        freed: What to correct where a number stood for the batch size.
        input_structure, output_structure: As `call` takes and gives them.
        alive: Keeps the objects behind ids.
    """

    inputs: list = dataclasses.field(default_factory=list)
    outputs: list = dataclasses.field(default_factory=list)
    nodes: list | None = None
    reason: str | None = None
    stand_ins: dict = dataclasses.field(default_factory=dict)
    freed: batches.Freed = dataclasses.field(default_factory=batches.Freed)
    input_structure: object = None
    output_structure: object = None
    alive: list = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class OpenedModel:
    """A subclassed model after opening: as much as a reader needs."""

    inputs: list
    outputs: list
    _nodes_by_depth: dict
    input_structure: object
    output_structure: object
    opened: Opened | None = None


def open_call(operation, keras_node, shapes=None) -> Opened:
    """Opens one call of a layer inside a graph.

    Args:
        operation: The layer.
        keras_node: The call.
        shapes: By the id of a symbolic tensor, its shape where it is not its
            own (a number stood for the batch size).
    """
    if not isinstance(operation, keras.layers.Layer):
        return Opened(reason=f"no rule for {type(operation).__name__}")
    if not operation.built:
        return Opened(reason="it is not built")
    shapes = shapes or {}

    def arguments(batch):
        return keras_node.arguments.convert(
            lambda value: _fresh(value, shapes, batch)
        )

    def problem(found):
        return implicit_masks.problem(operation, keras_node, found)

    return _open(operation, arguments, problem)


def open_model(model):
    """Opens a subclassed model from the shapes that it was built with.

    Raises:
        UnsupportedModelError: If it was never called, or does not open.
    """
    specs = _input_specs(model)
    opened = _open_with(model, specs)
    if opened.nodes is not None and _looks_up(specs, opened):
        opened = _open_with(model, specs)
    if opened.nodes is None:
        raise UnsupportedModelError(
            f"Model {model.name!r} ({type(model).__name__}) cannot be read as "
            f"a graph: {opened.reason}. Write its call with layers and "
            "keras.ops, or build it with the functional API."
        )
    return OpenedModel(
        opened.inputs,
        opened.outputs,
        {0: opened.nodes},
        opened.input_structure,
        opened.output_structure,
        opened,
    )


def _open_with(model, specs) -> Opened:
    def arguments(batch):
        given = tree.map_structure(lambda s: s.tensor(batch), specs)
        if len(given) == 1:
            return tuple(given.values()), {}
        return (), given

    return _open(model, arguments)


@dataclasses.dataclass
class _Spec:
    """An input of a subclassed model."""

    shape: tuple
    name: str
    dtype: str

    def tensor(self, batch):
        return keras.KerasTensor(
            (batch, *self.shape[1:]), dtype=self.dtype, name=self.name
        )


def _input_specs(model) -> dict:
    """By argument of `call`, inputs like those that it was built with."""
    shapes = getattr(model, "_build_shapes_dict", None)
    if not model.built or not shapes:
        raise UnsupportedModelError(
            f"Model {model.name!r} has never been called, so its input shapes "
            "are unknown: call it once on a batch of data."
        )
    first = next(iter(inspect.signature(model.call).parameters))
    names = [first]
    if len(shapes) > 1:
        names = [key.removesuffix("_shape") for key in shapes]

    def spec(shape, name):
        if isinstance(shape, dict):
            return {key: spec(value, key) for key, value in shape.items()}
        if shape and isinstance(shape[0], (list, tuple, dict)):
            return [spec(value, f"{name}_{i}") for i, value in enumerate(shape)]
        return _Spec(tuple(shape), name, keras.config.floatx())

    return {
        name: spec(shape, name) for name, shape in zip(names, shapes.values())
    }


def _looks_up(specs, opened) -> bool:
    """Makes inputs that an Embedding looks up whole numbers, if any are."""
    used = {
        id(node.input_tensors[0])
        for node in opened.nodes
        if node.input_tensors and _starts_with_lookup(node)
    }
    found = False
    # As they are called: `tree` sorts a dictionary inside another on some
    # backends only.
    given = tuple(specs.values()) if len(specs) == 1 else specs
    for spec, tensor in zip(tree.flatten(given), opened.inputs):
        if id(tensor) in used:
            spec.dtype, found = "int32", True
    return found


def _starts_with_lookup(keras_node) -> bool:
    operation = keras_node.operation
    if isinstance(operation, keras.layers.Embedding):
        return True
    if not isinstance(operation, keras.layers.Layer):
        return False
    if not any(
        isinstance(part, keras.layers.Embedding)
        for part in operation._flatten_layers(include_self=False)
    ):
        return False
    inside = open_call(operation, keras_node)
    return inside.nodes is not None and any(
        inside.inputs[0] is node.input_tensors[0] and _starts_with_lookup(node)
        for node in inside.nodes
        if node.input_tensors
    )


def _fresh(value, shapes, batch):
    """A new symbolic tensor like a call's, with or without a batch size."""
    if not isinstance(value, keras.KerasTensor):
        return value
    shape = shapes.get(id(value), value.shape)
    if batch is not None and shape and shape[0] is None:
        shape = (batch, *shape[1:])
    fresh = keras.KerasTensor(shape, dtype=value.dtype)
    implicit_masks.lend(fresh, value, shape)
    return fresh


def _open(layer, arguments, problem=None) -> Opened:
    """Records a call in the way that says the most.

    Args:
        layer: A built layer.
        arguments: Function of a batch size (None: open) that gives fresh
            call arguments.
        problem: Function of a `Trace` that says why it may not be used.
    """
    failures, problems = [], []
    for sized in (False, True):
        for stand_in in (True, False):
            try:
                found = _record(layer, arguments, sized, stand_in, problem)
            except Exception as error:  # any user code may run here
                lines = str(error).strip().splitlines()
                first = lines[0] if lines else type(error).__name__
                failures.append(f"its call does not run symbolically ({first})")
                continue
            if found.nodes is not None:
                return found
            problems.append(found.reason)
    return Opened(reason=(problems + failures)[0])


def _record(layer, arguments, sized, stand_in, problem) -> Opened:
    def run(batch, **extra):
        args, kwargs = arguments(batch)
        inputs = [
            leaf
            for leaf in tree.flatten((args, kwargs))
            if isinstance(leaf, keras.KerasTensor)
        ]
        kwargs = {**kwargs, **extra}
        found = tracing.trace(layer, args, kwargs, inputs, stand_in)
        return found, args[0] if args else kwargs

    batch = batches.PRIMES[0] if sized else None
    found, structure = run(batch)
    if found.problem is None and problem is not None:
        found.problem = problem(found)
    if found.problem is not None:
        return Opened(reason=found.problem)
    if not tracing.same(found, run(batch)[0]):
        return Opened(reason="its call differs from run to run")
    if "training" in inspect.signature(layer.call).parameters:
        for mode in (False, True):
            if not tracing.same(found, run(batch, training=mode)[0]):
                return Opened(
                    reason="its call takes another path while training"
                )
    freed = batches.Freed()
    if sized:
        try:
            freed = batches.freed(found, run(batches.PRIMES[1])[0])
        except batches.NotExactError as error:
            return Opened(reason=str(error))
    if any(_wants_sizes(node) for node in found.nodes):
        return Opened(reason="it computes with a size that is not known")
    return Opened(
        found.inputs,
        tree.flatten(found.result),
        found.nodes,
        None,
        found.stand_ins,
        freed,
        structure,
        found.result,
        found.alive,
    )


def _wants_sizes(keras_node) -> bool:
    """Whether an operation's arguments hold a size that is not known."""
    operation = keras_node.operation
    if keras_internals.is_layer(operation):
        return False
    if type(operation).__name__ == "GetItem":
        return False  # None adds an axis there
    given = [*keras_node.arguments.args, *keras_node.arguments.kwargs.values()]
    return any(
        isinstance(value, (list, tuple)) and any(v is None for v in value)
        for value in (*keras_internals.config(operation).values(), *given)
    )
