"""An optimizer's state, carried over to a model that was made from another.

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
from tf_channel_prune.graph.structure import Weight


class Pairs:
    """Which variable of the new model each weight of the old one became.

    A `hold` for `graph.replay`: it is called with every layer that is made.
    """

    def __init__(self):
        self._pairs: list[tuple[Weight, object]] = []

    def note(self, node, weights) -> None:
        """Remembers the weights of a layer made for a node."""
        self._pairs += [
            (old, new.variable) for old, new in zip(node.weights, weights)
        ]

    def __iter__(self):
        return iter(self._pairs)


def carry_optimizer(
    old, new, pairs, shaped: Callable[[Weight, np.ndarray], np.ndarray]
) -> None:
    """Gives a new model's optimizer the state of an old model's.

    Counters, learning rates and loss scales are copied; slots become what
    `shaped` makes of them. Slots that have not one entry per weight
    (Adafactor's factored moments) start anew, with a warning.

    Args:
        old: A compiled model; nothing happens if its optimizer is not built.
        new: A model made from it, compiled with an optimizer of the same
            class and settings.
        pairs: `(weight of old, variable of new)`.
        shaped: From a weight of the old model and an array of its shape to
            an array of the new variable's shape.
    """
    source = getattr(old, "optimizer", None)
    target = getattr(new, "optimizer", None)
    if target is None or not optimizers.is_built(source):
        return
    optimizers.build(target, new.trainable_variables)
    weights = {weight.key: (weight, id(made)) for weight, made in pairs}
    slots = {
        (id(slot.trained), slot.kind): slot.variable
        for slot in optimizers.slots(target, new.trainable_variables)
    }
    anew: set[str] = set()
    for slot in optimizers.slots(source, old.trainable_variables):
        weight, made = weights.get(id(slot.trained), (None, None))
        twin = slots.get((made, slot.kind))
        if twin is None:
            continue
        if slot.whole:
            twin.assign(shaped(weight, to_numpy(slot.variable)))
        elif tuple(slot.variable.shape):
            anew.add(slot.kind)
        else:
            twin.assign(to_numpy(slot.variable))
    pair = zip(
        optimizers.others(source, old.trainable_variables),
        optimizers.others(target, new.trainable_variables),
    )
    for one, other in pair:
        if tuple(one.shape) == tuple(other.shape):
            other.assign(to_numpy(one))
    if anew:
        warnings.warn(
            f"The optimizer's {', '.join(sorted(anew))} have not one entry "
            "per weight and were not carried over: they start anew.",
            stacklevel=3,
        )
