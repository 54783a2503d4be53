"""Runs one operation on arrays, apart from the model that it is in."""

from __future__ import annotations

import inspect

import numpy as np

from tf_channel_prune.graph.arrays import to_numpy
from tf_channel_prune.graph.structure import Node
from tf_channel_prune.graph.structure import TensorRef
from tf_channel_prune.graph.structure import leaves
from tf_channel_prune.graph.structure import map_arguments


class Tryout:
    """A copy of an operation, built for given inputs.

    The weights of the copy are random, so that nothing that is seen depends
    on weights that happen to be zero. The model's own layer is not called.

    Args:
        node: What to run.
        internals: What differs between the two Kerases.
        arrays: An array for every input tensor, by number.

    Raises:
        Exception: Whatever the operation raises on such inputs.
    """

    def __init__(self, node: Node, internals, arrays: dict):
        self._node = node
        self._internals = internals
        self._operation = node.operation
        if node.is_layer:
            self._operation = internals.remade(node.operation, node.config)
        self.run(arrays)
        rng = np.random.default_rng(0)
        self._variables = []
        if node.is_layer:
            self._variables = internals.variable_names(self._operation)
            for variable, _ in self._variables:
                if np.issubdtype(to_numpy(variable).dtype, np.floating):
                    value = rng.standard_normal(tuple(variable.shape))
                    variable.assign(np.asarray(value, "float32"))

    @property
    def names(self) -> list[str]:
        """The names of the copy's weights inside it."""
        return [name for _, name in self._variables]

    def run(self, arrays: dict, training: bool | None = None) -> list:
        """The outputs for these inputs, as arrays."""

        def fill(value):
            if isinstance(value, TensorRef):
                return self._internals.to_tensor(arrays[value.index])
            return value

        args = map_arguments(fill, self._node.args)
        kwargs = map_arguments(fill, self._node.kwargs)
        if training is not None and self.takes_training:
            kwargs["training"] = training
        result = self._operation(*args, **kwargs)
        return [to_numpy(value) for value in leaves(result)]

    def stated(self, arrays: dict) -> list[tuple]:
        """Shapes of the outputs as the operation states them to Keras."""
        internals = self._internals

        def fill(value):
            if isinstance(value, TensorRef):
                array = arrays[value.index]
                return internals.symbol(array.shape, array.dtype.name)
            return value

        with internals.symbolic():
            args = map_arguments(fill, self._node.args)
            kwargs = map_arguments(fill, self._node.kwargs)
            made = internals.outputs_of(self._operation, args, kwargs)
            return [tuple(internals.tensor_facts(y)[0]) for y in made]

    @property
    def takes_training(self) -> bool:
        """Whether the call says if it is a training step."""
        call = getattr(self._operation, "call", None)
        return call is not None and (
            "training" in inspect.signature(call).parameters
        )

    @property
    def weights(self) -> list[np.ndarray]:
        """The copy's weights, in the order of `names`."""
        return [np.array(to_numpy(v)) for v, _ in self._variables]

    @weights.setter
    def weights(self, arrays):
        for (variable, _), array in zip(self._variables, arrays, strict=True):
            variable.assign(array)
