"""Finds what a user's own optimizer or metric lost on the way by its config.

A `get_config` that leaves an argument out gives a copy with the argument's
default, in silence. What the constructor was given is, as a rule, a plain
attribute: a number, a string, or true or false.
"""

from __future__ import annotations

import inspect
import numbers

# What Keras notes of a thing's life, beside its variables.
_STATE = ("built", "_built", "_hypers_created")
# Where Keras' own classes come from, whose configs are whole.
_KERAS = ("keras", "tf_keras")


def lost(old, new) -> list[str]:
    """The names of arguments that two objects of one class differ in.

    Args:
        old: An optimizer or a metric, used or not.
        new: One made from its config.
    """
    if type(old).__module__.split(".")[0] in _KERAS:
        return []
    before, after = vars(old), vars(new)
    return [
        name.removeprefix("_")
        for name in sorted(before.keys() & after.keys())
        if name not in _STATE
        and _differ(before[name], after[name], _is_given(old, name))
    ]


def _is_given(thing, name) -> bool:
    """Whether an attribute is called like an argument of the constructor."""
    given = inspect.signature(type(thing).__init__).parameters
    return name.removeprefix("_") in given


def _differ(one, other, given) -> bool:
    # None becomes a number where something is counted, too.
    known = sum(map(_is_plain, (one, other)))
    nothing = one is None or other is None
    if known == 2 or (known == 1 and nothing and given):
        return one != other and not (one != one and other != other)
    return False


def _is_plain(value) -> bool:
    return isinstance(value, (numbers.Number, str))
