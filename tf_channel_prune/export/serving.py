"""SavedModel folders for serving."""

from __future__ import annotations

import contextlib
import io
import os

import numpy as np

from tf_channel_prune.errors import PruningError
from tf_channel_prune.errors import VerificationError
from tf_channel_prune.errors import what_it_says
from tf_channel_prune.export.conversion import check_slim
from tf_channel_prune.export.conversion import to_tf_keras
from tf_channel_prune.export.files import check_folder
from tf_channel_prune.export.files import write_folder
from tf_channel_prune.graph.arrays import to_numpy
from tf_channel_prune.graph.inputs import input_structure
from tf_channel_prune.graph.inputs import inputs_by_name

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
    model = of_tensorflow(model)

    def fill(folder):
        try:
            export(model, folder)
        except PruningError:
            raise
        except Exception as error:  # a layer may raise anything
            raise _not_exported(model, error) from error
        _compare(model, folder)

    write_folder(path, fill)
    return os.fspath(path)


def of_tensorflow(model, backends=("tensorflow", "jax")):
    """The model, or its twin in tf_keras where others run it.

    Args:
        model: A model of either Keras.
        backends: Those of Keras 3 that need none. Keras writes no SavedModel
            on PyTorch.
    """
    import keras

    from tf_channel_prune.graph.flavours import flavour

    if flavour(model) == "keras" and keras.backend.backend() not in backends:
        return to_tf_keras(model)
    return model


def export(model, folder) -> None:
    """Keras' own export, without the log.

    Raises:
        PruningError: If it cannot be written.
    """
    import tensorflow as tf

    from tf_channel_prune.graph.flavours import flavour

    try:
        if flavour(model) == "keras":
            model.export(
                folder, verbose=False, input_signature=_signature(model)
            )
        else:
            with contextlib.redirect_stdout(io.StringIO()):
                model.export(folder)
    except (tf.errors.OpError, OSError) as error:
        raise _not_exported(model, error) from error


def _not_exported(model, error) -> PruningError:
    return PruningError(
        f"Model {model.name!r} cannot be exported: {what_it_says(error)[:300]}"
    )


def _signature(model):
    """What a Keras 3 model takes, by the names of its `Input`s.

    Keras goes by the names of their tensors: those of inputs without a name
    are numbered over the whole process.
    """
    import keras

    names = {id(t): name for name, t in inputs_by_name(model).items()}

    def spec(tensor):
        shape = None, *tensor.shape[1:]
        return keras.InputSpec(tensor.dtype, shape, name=names[id(tensor)])

    struct = keras.tree.map_structure(spec, input_structure(model))
    return struct if isinstance(model, keras.Sequential) else [struct]


def _compare(model, folder):
    import tensorflow as tf

    from tf_channel_prune.graph.flavours import flavour
    from tf_channel_prune.graph.inputs import random_inputs

    inputs = random_inputs(model)
    given = inputs
    loaded = tf.saved_model.load(folder)
    if flavour(model) == "tf_keras" and isinstance(inputs, dict):
        # tf_keras exports what the model takes as a list.
        given = tf.nest.flatten(inputs)
    check_outputs("SavedModel", model, inputs, loaded.serve(given), TOLERANCE)


def check_outputs(what, model, inputs, found, tolerance) -> None:
    """Raises unless what was exported gives the model's outputs.

    Args:
        what: The name of its kind.
        model: The model.
        inputs: What both were run on, as the model takes it.
        found: The outputs, in the order of the model's.
        tolerance: The largest difference, as `relative_difference` has it.

    Raises:
        VerificationError: If the outputs differ.
    """
    import tensorflow as tf

    expected = tf.nest.flatten(model(inputs, training=False))
    worst = max(map(relative_difference, expected, tf.nest.flatten(found)))
    if not worst <= tolerance:
        raise VerificationError(
            f"The {what}'s outputs differ from the model's by {worst:.1e} of "
            "their scale; nothing was written."
        )


def relative_difference(expected, found) -> float:
    """The largest difference over the largest output; NaN counts."""
    expected = np.asarray(to_numpy(expected), "float64")
    gap = np.abs(expected - np.asarray(found, "float64")).max(initial=0.0)
    scale = np.abs(expected).max(initial=0.0)
    return float(gap / scale) if scale else float(gap)
