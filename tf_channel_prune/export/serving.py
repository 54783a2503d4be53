"""SavedModel folders for serving."""

from __future__ import annotations

import contextlib
import io
import os

import numpy as np

from tf_channel_prune.errors import PruningError
from tf_channel_prune.errors import VerificationError
from tf_channel_prune.export.conversion import check_slim
from tf_channel_prune.export.files import check_folder
from tf_channel_prune.export.files import write_folder

TOLERANCE = 1e-4


def saved_model(model, path) -> str:
    """Writes a SavedModel for TensorFlow Serving, LiteRT, TF.js and others.

    The folder is loaded again and its outputs are compared with the model's;
    it appears whole, or not at all. A SavedModel that is there is replaced; a
    folder that holds anything else is not.

    Args:
        model: A slim model of either Keras.
        path: The folder.

    Returns:
        The folder.

    Raises:
        PruningError: If the model holds masks, something else is at the
            path, or it cannot be written.
        VerificationError: If the outputs differ.
    """
    check_slim(model)
    check_folder(path)

    def fill(folder):
        export(model, folder)
        _compare(model, folder)

    write_folder(path, fill)
    return os.fspath(path)


def export(model, folder) -> None:
    """Keras' own export, without the log.

    Raises:
        PruningError: If it cannot be written.
    """
    import tensorflow as tf

    from tf_channel_prune.graph.flavours import flavour

    try:
        if flavour(model) == "keras":
            model.export(folder, verbose=False)
        else:
            with contextlib.redirect_stdout(io.StringIO()):
                model.export(folder)
    except (tf.errors.OpError, OSError) as error:
        raise PruningError(
            f"Model {model.name!r} cannot be exported: {error}"
        ) from error


def _compare(model, folder):
    import tensorflow as tf

    from tf_channel_prune.graph.flavours import flavour
    from tf_channel_prune.graph.inputs import random_inputs

    inputs = random_inputs(model)
    expected = tf.nest.flatten(model(inputs, training=False))
    loaded = tf.saved_model.load(folder)
    if flavour(model) == "tf_keras" and isinstance(inputs, dict):
        # tf_keras exports what the model takes as a list.
        inputs = tf.nest.flatten(inputs)
    found = tf.nest.flatten(loaded.serve(inputs))
    worst = max(map(relative_difference, expected, found))
    if not worst <= TOLERANCE:
        raise VerificationError(
            "The SavedModel's outputs differ from the model's by "
            f"{worst:.1e} of their scale; nothing was written."
        )


def relative_difference(expected, found) -> float:
    """The largest difference over the largest output; NaN counts."""
    expected = np.asarray(expected, "float64")
    gap = np.abs(expected - np.asarray(found, "float64")).max(initial=0.0)
    scale = np.abs(expected).max(initial=0.0)
    return float(gap / scale) if scale else float(gap)
