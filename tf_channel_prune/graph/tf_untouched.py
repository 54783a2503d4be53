"""Runs a tf_keras layer's own code and leaves the layer as it was.

Checked on tf_keras 2.21.
"""

from __future__ import annotations

import contextlib


@contextlib.contextmanager
def attributes(layer):
    """What runs inside leaves a layer and its parts their attributes.

    So no call is kept in them, and no loss of symbolic tensors.
    """
    saved = [_attributes(part) for part in layer._flatten_layers()]
    try:
        yield
    finally:
        for put_back in saved:
            put_back()


def _attributes(part):
    """A function that gives a layer the attributes back that it has now."""
    attributes = dict(vars(part))
    values = list(attributes.values())
    lists = [(value, list(value)) for value in values if type(value) is list]
    tables = [(value, dict(value)) for value in values if type(value) is dict]
    losses = list(part._eager_losses)

    def put_back():
        vars(part).clear()
        vars(part).update(attributes)
        for value, before in lists:
            value[:] = before
        for value, before in tables:
            value.clear()
            value.update(before)
        part._eager_losses = losses

    return put_back


@contextlib.contextmanager
def values(layer):
    """What runs inside leaves a layer's variables their values.

    A layer's `call` may count its calls in one. Reading copies nothing.
    """
    saved = [(variable, variable.read_value()) for variable in layer.variables]
    try:
        yield
    finally:
        for variable, value in saved:
            variable.assign(value)
