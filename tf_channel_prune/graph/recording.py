"""Prepares a layer and its sub-layers, so that a run of `call` is recorded.

Checked on Keras 3.15.1.
"""

from __future__ import annotations

import keras
from keras import tree

from tf_channel_prune.graph import implicit_masks
from tf_channel_prune.graph import keras_internals
from tf_channel_prune.graph import ordering
from tf_channel_prune.graph import variables


class Recorder:
    """Prepares a layer and its sub-layers, and runs it.

    Attributes:
        parts: The layer and all its sub-layers.
        opened: Those that are recorded call by call.
        stand_ins, paths: As in a `Trace`.
        problem: Why the record does not say everything, if so.
        masks: By the id of a sub-layer that is recorded call by call, the
            masks on what its inside has just given.
        kept: Keeps the objects behind ids.
    """

    def __init__(self, layer, stand_in):
        self.parts = list(layer._flatten_layers())
        self.stand_in = stand_in
        self.opened = [layer]
        self.stand_ins: dict[int, object] = {}
        self.paths: dict[int, tuple[str, ...]] = {}
        self.problem: str | None = None
        self.masks: dict[int, list] = {}
        self.kept: list = []

    def run(self, args, kwargs):
        """Calls the layer; what it gives."""
        layer, *inner = self.parts
        for part in inner:
            self._open_if_needed(part)
            if part.weights:
                self._call_symbolically(part)
        if self.stand_in:
            self._replace_variables(layer)
        with keras_internals.layers_recorded_if(self._is_one_call):
            return layer.call(*args, **kwargs)

    def stand_for(self, value, shape, dtype):
        """A symbolic tensor in place of a variable or an array."""
        tensor = keras.KerasTensor(shape, dtype=dtype)
        self.stand_ins[id(tensor)] = value
        self.kept.append(tensor)
        return tensor

    def _replace_variables(self, layer) -> None:
        """Symbolic tensors as attributes in place of a layer's variables."""
        made = {
            id(variable): self.stand_for(
                variable, variable.shape, variable.dtype
            )
            for variable in own_variables(layer)
        }

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

    def _call_symbolically(self, part) -> None:
        """Has a sub-layer recorded even where it is called on constants.

        A lookup of positions, `embedding(ops.arange(n))`, would run at once.
        """
        original = part.call

        def symbolic(value):
            if not variables.is_array(value):
                return value
            value = keras.ops.convert_to_numpy(value)
            return self.stand_for(value, value.shape, str(value.dtype))

        def call(*args, **kwargs):
            flat = tree.flatten((args, kwargs))
            known = any(isinstance(leaf, keras.KerasTensor) for leaf in flat)
            if known or keras_internals.in_symbolic_scope():
                return original(*args, **kwargs)
            args, kwargs = tree.map_structure(symbolic, (args, kwargs))
            return part(*args, **kwargs)

        vars(part)["call"] = call

    def _open_if_needed(self, part) -> None:
        """Records the calls of a sub-layer where it cannot be one itself.

        Keras records calls that give tensors and nothing else; decoders give
        their cache as well, or None for it. Others take arguments that the
        shape inference of their base does not know.
        """
        record, call = part.symbolic_call, part.call

        def symbolic_call(*args, **kwargs):
            try:
                outputs = record(*args, **kwargs)
                if are_tensors(outputs):
                    return outputs
            except Exception:  # any user code may run here
                pass  # what is wrong with it shows below
            return self._inside(part, call, args, kwargs)

        vars(part)["symbolic_call"] = symbolic_call

    def _inside(self, part, call, args, kwargs):
        """Runs a sub-layer like the layer itself."""
        if part not in self.opened:
            self.opened.append(part)
            if self.stand_in:
                self._replace_variables(part)
        given = before(tree.flatten((args, kwargs)))
        result = call(*args, **kwargs)
        self._place_inside(part, given, before(tree.flatten(result)))
        self.masks[id(part)] = _masks(result)
        return result

    def _is_one_call(self, operation, outputs) -> bool:
        """Whether Keras may record a call that has just been made."""
        masks = self.masks.pop(id(operation), None)
        if masks is None:
            return True
        if any(a is not b for a, b in zip(masks, _masks(outputs))):
            self.problem = "a Keras mask goes around a layer inside"
        return False

    def _place_inside(self, part, given, nodes) -> None:
        outside = {id(node) for node in given}
        for node in nodes:
            if id(node) not in outside:
                inner = self.paths.get(id(node), ())
                self.paths[id(node)] = (part.name, *inner)
                self.kept.append(node)


# Where Keras itself lists a layer's variables.
_LISTS = ("_trainable_variables", "_non_trainable_variables")


def own_variables(layer) -> list:
    return [*layer._trainable_variables, *layer._non_trainable_variables]


def _holds_any(value, made) -> bool:
    if isinstance(value, dict):
        return any(_holds_any(item, made) for item in value.values())
    if isinstance(value, (list, tuple)):
        return any(_holds_any(item, made) for item in value)
    return isinstance(value, keras.Variable) and id(value) in made


def tensors(values) -> list:
    """The symbolic tensors in a structure, in order."""
    return [
        leaf
        for leaf in tree.flatten(values)
        if isinstance(leaf, keras.KerasTensor)
    ]


def before(outputs) -> list:
    """The calls that lead to `outputs`, each after what it needs."""
    return ordering.before(
        outputs, keras_internals.node_of, lambda node: node.input_tensors
    )


def are_tensors(values) -> bool:
    flat = tree.flatten(values)
    return bool(flat) and all(isinstance(t, keras.KerasTensor) for t in flat)


def _masks(values) -> list:
    return [implicit_masks.of(leaf) for leaf in tree.flatten(values)]
