"""What an optimizer remembers of each variable that it trains.

Keras keeps an optimizer's *slots* (momentum, Adam's moments, averages of
weights, accumulated gradients) in lists parallel to the trained variables, one
list a kind, as private attributes whose names differ from class to class. This
module finds them by their shape. Those of `tf_keras.optimizers.legacy` have a
dictionary of slots by variable instead, and their rates are no variables of
theirs. Checked on Keras 3.15.1 and tf_keras 2.21.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from tf_channel_prune.graph.arrays import to_numpy
from tf_channel_prune.numbers import is_real

AVERAGE = "_model_variables_moving_average"
_OWN_LISTS = ("_variables", "_trainable_variables")


@dataclasses.dataclass(frozen=True)
class Slot:
    """One slot of one trained variable.

    Attributes:
        trained: The variable that is trained.
        kind: The attribute of the optimizer that lists slots of its kind.
        variable: The slot; of the shape of `trained`, or not (Adafactor's
            factored moments).
    """

    trained: Any
    kind: str
    variable: Any

    @property
    def whole(self) -> bool:
        """Whether it has one entry per entry of the trained variable."""
        return tuple(self.variable.shape) == tuple(self.trained.shape)


def slots(optimizer, trained) -> list[Slot]:
    """All slots of an optimizer, inner optimizers included.

    Args:
        optimizer: An optimizer, built or not, or None.
        trained: The model's trainable variables, in the model's order.
    """
    found = []
    for part in _parts(optimizer):
        if _is_legacy(part):
            found += _legacy_slots(part, trained)
            continue
        known = list(getattr(part, "_trainable_variables", None) or trained)
        for kind, listed in _lists(part, len(known)):
            found += [
                Slot(variable, kind, slot)
                for variable, slot in zip(known, listed)
                if slot is not None
            ]
    return found


def others(optimizer, trained) -> list:
    """An optimizer's variables that are no slots: counters, rates, scales."""
    taken = {id(slot.variable) for slot in slots(optimizer, trained)}
    return [v for v in variables(optimizer) if id(v) not in taken]


def variables(optimizer) -> list:
    """All variables of an optimizer, always in the same order."""
    if optimizer is None:
        return []
    listed = optimizer.variables
    listed = list(listed() if callable(listed) else listed)
    for part in filter(_is_legacy, _parts(optimizer)):
        rates = sorted(part._hyper.items())
        listed += [value for _, value in rates if hasattr(value, "assign")]
    known = set(map(id, listed))
    for part in _parts(optimizer):
        # tf_keras' Nadam does not list the product that it keeps.
        product = getattr(part, "_u_product", None)
        if product is not None and id(product) not in known:
            listed.append(product)
    return listed


def learning_rate(optimizer):
    """The rate of the next step: a tensor, a variable or a number."""
    rate = optimizer.learning_rate
    # A legacy optimizer gives the schedule itself.
    return rate(optimizer.iterations) if callable(rate) else rate


def batches_seen(optimizer) -> int:
    """How many batches an optimizer was given the gradients of.

    Where gradients accumulate, the public `iterations` counts updates. In
    graphs of TensorFlow the end of data whose size is not known counts as a
    batch, so there may be one too many an epoch.
    """
    found = [getattr(part, "_iterations", None) for part in _parts(optimizer)]
    counts = [int(to_numpy(count)) for count in found if count is not None]
    return max(counts, default=0)


def rates(optimizer) -> list[float | None]:
    """The learning rates that are numbers, which callbacks may set.

    In tf_keras they are not among an optimizer's variables.

    Returns:
        One for every optimizer inside; None where it follows a schedule.
    """
    found = [
        part.get_config().get("learning_rate") for part in _parts(optimizer)
    ]
    return [float(rate) if is_real(rate) else None for rate in found]


def set_rates(optimizer, values) -> None:
    """Gives an optimizer the learning rates of one like it."""
    for part, value in zip(_parts(optimizer), values):
        if value is not None:
            part.learning_rate = value


def is_built(optimizer) -> bool:
    """Whether an optimizer has its slots."""
    if optimizer is None:
        return False
    if _is_legacy(optimizer):
        return bool(variables(optimizer))
    # tf_keras has no public attribute for it.
    return bool(getattr(optimizer, "built", getattr(optimizer, "_built", 0)))


def build(optimizer, trained) -> None:
    """Makes the slots, unless they are there."""
    if _is_legacy(optimizer):
        optimizer._create_all_weights(list(trained))
    elif not is_built(optimizer):
        optimizer.build(list(trained))


def values(listed) -> list:
    """Copies of variables' values."""
    return [to_numpy(variable).copy() for variable in listed]


def compile_arguments(model) -> dict[str, Any]:
    """What a model was compiled with, but its optimizer; empty if it was not.

    Metrics are as they were given: some hold state.
    """
    kept = getattr(model, "_compile_config", None)
    if kept is None:
        return {}
    return {k: v for k, v in kept.config.items() if k != "optimizer"}


def _parts(optimizer):
    """The optimizers inside wrappers (loss scaling, several optimizers)."""
    if optimizer is None:
        return []
    inner = getattr(optimizer, "inner_optimizer", None)
    if inner is not None:
        return _parts(inner)
    several = getattr(optimizer, "optimizers", None)
    if several:
        return [part for each in several for part in _parts(each)]
    return [optimizer]


def _is_legacy(optimizer) -> bool:
    """Whether it is of `tf_keras.optimizers.legacy`, or wraps such a one."""
    return hasattr(optimizer, "get_slot_names")


def _legacy_slots(optimizer, trained):
    for kind in optimizer.get_slot_names():
        for variable in trained:
            try:
                slot = optimizer.get_slot(variable, kind)
            except KeyError:  # it was not trained so far
                continue
            yield Slot(variable, kind, slot)


def _lists(optimizer, count):
    """`(attribute, slots)` for every list parallel to the trained variables."""
    own = {id(v) for v in variables(optimizer)}
    for kind, listed in sorted(vars(optimizer).items()):
        if kind in _OWN_LISTS or not isinstance(listed, (list, tuple)):
            continue
        there = [slot for slot in listed if slot is not None]
        if (
            len(listed) == count
            and there
            and all(id(slot) in own for slot in there)
        ):
            yield kind, listed
