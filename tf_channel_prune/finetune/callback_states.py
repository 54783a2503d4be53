"""What callbacks remember, for a training that goes on in another process.

Keras has callbacks forget all when training begins (`EarlyStopping`'s wait and
best). So the values of their attributes are kept beside the state of the
training, and given back after that.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from tf_channel_prune.graph.digests import value_digest

# What Keras sets for every training, and the sign of a margin, which it turns
# once it knows the direction of a metric: a function, which is not kept.
_NO_STATE = ("model", "_model", "params", "validation_data", "min_delta")


class CallbackStates:
    """The attributes of callbacks that have changed since they were made.

    Those that are numbers, strings, arrays, None, or lists, tuples and
    dictionaries of such; anything else is not kept. What has never changed
    is a setting, and stays as it is given.

    Args:
        callbacks: Before training begins.
    """

    def __init__(self, callbacks):
        self.callbacks = list(callbacks)
        self._given = [_digests(callback) for callback in self.callbacks]
        self._changed: list[set[str]] = [set() for _ in self.callbacks]

    def note(self) -> None:
        """Looks which attributes have changed."""
        for callback, given, changed in zip(
            self.callbacks, self._given, self._changed
        ):
            changed |= {
                name
                for name, digest in _digests(callback).items()
                if given.get(name) != digest
            }

    def packed(self) -> tuple[list[dict[str, Any]], list[np.ndarray]]:
        """The states as JSON values, and the arrays in them."""
        self.note()
        arrays: list[np.ndarray] = []
        states = []
        for callback, changed in zip(self.callbacks, self._changed):
            values = _values(callback)
            state = {
                name: _pack(values[name], arrays)
                for name in sorted(changed & set(values))
            }
            states.append({"class": _class(callback), "state": state})
        return states, arrays

    def put_back(self, states, arrays) -> None:
        """Gives the callbacks what `packed` gave; warns if they are others.

        A state is for the callback at the same place, of the same class.
        """
        for place, one in enumerate(states):
            if not one["state"]:
                continue
            there = self.callbacks[place : place + 1]
            if not there or _class(there[0]) != one["class"]:
                warnings.warn(
                    f"The training that goes on had a {one['class']} as "
                    f"callback {place + 1}, whose state is lost: give the "
                    "same callbacks in the same order.",
                    stacklevel=3,
                )
                continue
            for name, value in one["state"].items():
                setattr(there[0], name, _unpack(value, arrays))
                self._changed[place].add(name)


def _class(callback) -> str:
    return type(callback).__name__


def _values(callback) -> dict[str, Any]:
    """The attributes that can be kept."""
    return {
        name: value
        for name, value in vars(callback).items()
        if name not in _NO_STATE and _is_plain(value)
    }


def _digests(callback) -> dict[str, str]:
    values = _values(callback)
    return {name: value_digest(value) for name, value in values.items()}


def _is_plain(value) -> bool:
    # A subclass may be more than its entries are (a defaultdict).
    if type(value) in (list, tuple):
        return all(map(_is_plain, value))
    if type(value) is dict:
        return all(map(_is_plain, (*value, *value.values())))
    if isinstance(value, np.ndarray):
        # Of the kind V is bfloat16, as weights may be.
        return value.dtype.kind in "biufV" and value.dtype.names is None
    if isinstance(value, np.generic):
        return value.dtype.kind in "biuf"
    return value is None or type(value) in (bool, int, float, str)


def _pack(value, arrays):
    """A value as JSON, without the arrays; lists stay lists."""
    if isinstance(value, np.ndarray):
        arrays.append(value)
        return {"array": len(arrays) - 1}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, dict):
        pairs = [[_pack(v, arrays) for v in item] for item in value.items()]
        return {"dict": pairs}
    if isinstance(value, (list, tuple)):
        packed = [_pack(one, arrays) for one in value]
        return {"tuple": packed} if isinstance(value, tuple) else packed
    return value


def _unpack(packed, arrays):
    if isinstance(packed, list):
        return [_unpack(one, arrays) for one in packed]
    if not isinstance(packed, dict):
        return packed
    ((kind, held),) = packed.items()
    if kind == "array":
        return np.array(arrays[held])
    found = [_unpack(one, arrays) for one in held]
    return dict(found) if kind == "dict" else tuple(found)
