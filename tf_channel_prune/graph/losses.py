"""The loss of a model, sample by sample."""

from __future__ import annotations

from tf_channel_prune.errors import PruningError
from tf_channel_prune.errors import what_it_says
from tf_channel_prune.graph.structure import Graph


def losses_of(graph: Graph, loss=None):
    """A function of `(targets, list of outputs)` that gives unreduced losses.

    Args:
        graph: The graph of a model.
        loss: A loss, its Keras name or a function of `(y, y_pred)`; a list or
            a dictionary of them for several outputs. Defaults to the one that
            the model is compiled with.

    Returns:
        A function that gives a list, one tensor per output with a loss.

    Raises:
        PruningError: If neither `loss` nor the model says which loss, or
            Keras knows none of that name.
    """
    model = graph.root.model
    if loss is None:
        loss = getattr(model, "loss", None)
    if loss is None:
        raise PruningError(
            "This needs the loss: compile the model, or give "
            'loss="sparse_categorical_crossentropy" or a keras.losses object.'
        )
    if graph.flavour == "tf_keras":
        import tf_keras as keras
    else:
        import keras
    names = getattr(model, "output_names", None)
    if isinstance(loss, dict):
        loss = [loss.get(name) for name in names]
    if not isinstance(loss, (list, tuple)):
        loss = [loss] * len(graph.outputs)
    functions = [
        None if one is None else _unreduced(_found(keras, one)) for one in loss
    ]

    def losses(targets, outputs):
        if isinstance(targets, dict):
            targets = [targets[name] for name in names]
        if not isinstance(targets, (list, tuple)):
            targets = [targets]
        return [
            function(y, predicted)
            for function, y, predicted in zip(functions, targets, outputs)
            if function is not None
        ]

    return losses


def default_metric(graph: Graph, loss=None) -> str:
    """`accuracy` where the loss is one of classes, else `loss`.

    Args:
        graph: The graph of a model.
        loss: See `losses_of`.
    """
    if loss is None:
        loss = getattr(graph.root.model, "loss", None)
    name = getattr(loss, "name", None) or getattr(loss, "__name__", loss)
    classes = ("categorical_crossentropy", "sparse_categorical_crossentropy")
    return "accuracy" if name in classes else "loss"


def _found(keras, loss):
    try:
        return keras.losses.get(loss)
    except (ValueError, TypeError) as error:
        raise PruningError(
            f"loss={loss!r} is no loss of Keras: {what_it_says(error)}"
        ) from error


def _unreduced(loss):
    """A loss object's own function, without its mean over the batch."""
    return loss.call if hasattr(loss, "call") else loss
