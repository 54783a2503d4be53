"""An optimizer's state, carried over to a model that is made from another.

Momentum, Adam's moments and averaged weights have one entry per weight, so
they are sliced, or masked, exactly as the weights are. Training then goes on
as if it had never stopped.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np

from tf_channel_prune.graph import optimizers
from tf_channel_prune.graph.arrays import to_numpy
from tf_channel_prune.graph.flavours import weights_of
from tf_channel_prune.graph.structure import Graph
from tf_channel_prune.graph.structure import Weight


class Carrier:
    """Carries the optimizer of a graph's model over to its replay.

    Example:

        carrier = Carrier(graph)
        new = graphs.replay(graph, value=value, hold=carrier.hold)
        carrier.carry(new, shaped)

    Args:
        graph: The graph that is replayed.
    """

    def __init__(self, graph: Graph):
        self.graph = graph
        self.model = graph.root.model
        self._pairs: dict[int, tuple[Weight, int]] = {}

    def hold(self, node, layer):
        """Notes which variables a node's weights became; changes nothing."""
        made = weights_of(self.graph, layer)
        for old, new in zip(node.weights, made):
            self._pairs[old.key] = old, new.key
        return layer

    def carry(
        self, new, shaped: Callable[[Weight, np.ndarray], np.ndarray]
    ) -> None:
        """Gives the new model's optimizer the state of the old one's.

        Counters, learning rates and loss scales are copied; slots become
        what `shaped` makes of them. Slots that have not one entry per weight
        (Adafactor's factored moments) start anew, with a warning.

        Args:
            new: The replayed model.
            shaped: From a weight and an array of its shape to an array of
                the new variable's shape.
        """
        source = getattr(self.model, "optimizer", None)
        target = getattr(new, "optimizer", None)
        if target is None or not optimizers.is_built(source):
            return
        trained = self.model.trainable_variables
        optimizers.build(target, new.trainable_variables)
        self._carry_slots(
            optimizers.slots(source, trained),
            optimizers.slots(target, new.trainable_variables),
            shaped,
        )
        pairs = zip(
            optimizers.others(source, trained),
            optimizers.others(target, new.trainable_variables),
        )
        for one, other in pairs:
            if tuple(one.shape) == tuple(other.shape):
                other.assign(to_numpy(one))

    def _carry_slots(self, old, new, shaped):
        twins = {(id(slot.trained), slot.kind): slot.variable for slot in new}
        anew = set()
        for slot in old:
            weight, key = self._pairs.get(id(slot.trained), (None, None))
            twin = twins.get((key, slot.kind))
            if twin is None:
                continue
            if slot.whole:
                twin.assign(shaped(weight, to_numpy(slot.variable)))
            elif tuple(slot.variable.shape):
                anew.add(slot.kind)
        if anew:
            warnings.warn(
                f"The optimizer's {', '.join(sorted(anew))} have not one "
                "entry per weight and were not carried over: they start anew.",
                stacklevel=4,
            )
