"""Opens composite layers and subclassed models of tf_keras."""

from __future__ import annotations

from tf_channel_prune.errors import UnsupportedModelError
from tf_channel_prune.graph.opening import Opened


def open_call(operation, call) -> Opened:
    """Opens one call of a layer inside a graph."""
    return Opened(reason=f"no rule for {type(operation).__name__}")


def open_model(model):
    """Opens a subclassed model from the shapes that it was built with."""
    raise UnsupportedModelError(
        f"Model {model.name!r} is not a functional tf_keras model."
    )
