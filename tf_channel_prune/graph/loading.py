"""Loads a model file with the Keras that can read it.

What wrote a file is written in it, so that Keras is tried first: a `.keras`
file carries over to no other Keras, an `.h5` file sometimes does, and a
SavedModel directory can be a model again in `tf_keras` alone.
"""

from __future__ import annotations

import json
import os
import re
import warnings
import zipfile

from tf_channel_prune.errors import UnsupportedModelError

ZIP_NAMES = (".keras",)
H5_NAMES = (".h5", ".hdf5")

# What both Kerases say of a class that they do not know.
_UNKNOWN_CLASS = re.compile(
    r"(?:Could not locate class|Unknown \w+:) '?(?:\w+>)?(\w+)"
)


def load_model(path, safe_mode: bool = True, custom_objects=None):
    """Loads a saved model; which Keras it is follows from the file.

    Args:
        path: A `.keras` or `.h5` file, or a directory: a SavedModel that
            `tf_keras.models.save_model` wrote.
        safe_mode: Whether to refuse files that hold Python code (`Lambda`
            layers), in every format. Defaults to True.
        custom_objects: Classes and functions by the name that the file has
            for them. Defaults to those that are registered with Keras.

    Returns:
        A `keras.Model` or a `tf_keras.Model`, compiled like the saved one
        where its optimizer and loss can be made again.

    Raises:
        UnsupportedModelError: If there is no such file, or no Keras reads it.
    """
    path = os.fspath(path)
    problems = []
    for flavour in _kerases(path):
        try:
            return _load(flavour, path, safe_mode, custom_objects)
        except _CustomClass:
            raise
        except Exception as error:  # the file may hold anything
            if safe_mode and "safe_mode" in str(error):
                raise UnsupportedModelError(
                    f"{path} holds Python code (a Lambda layer), which would "
                    "run on loading: load it with safe_mode=False if you "
                    "trust where it came from."
                ) from error
            unknown = _unknown_class(path, flavour, error, custom_objects)
            if unknown:
                raise _CustomClass(path, flavour, unknown) from error
            problems.append((flavour, error))
    flavour, error = problems[0]
    raise UnsupportedModelError(
        f"{path} cannot be loaded by "
        f"{' or '.join(name for name, _ in problems)}: {_first_line(error)}"
    ) from error


class _CustomClass(UnsupportedModelError):
    """A class that the file names and no Keras knows."""

    def __init__(self, path, flavour, name):
        super().__init__(
            f"{path} has the custom class {name!r}: register it with "
            f"{flavour}.saving.register_keras_serializable, or load the model "
            "with custom_objects."
        )


def _unknown_class(path, flavour, error, custom_objects) -> str | None:
    """The class that the Keras which tried to load a file did not know."""
    said = _UNKNOWN_CLASS.search(str(error))
    if said:
        return said[1]
    if flavour == "tf_keras" and path.endswith(ZIP_NAMES):
        # tf_keras fails with something else, as it takes names for layers.
        from tf_channel_prune.graph.tf_keras_files import unregistered

        with zipfile.ZipFile(path) as archive:
            config = json.loads(archive.read("config.json"))
        return next(unregistered(config, custom_objects), None)
    return None


def _kerases(path: str) -> list[str]:
    try:
        return _flavours(path)
    except UnsupportedModelError:
        raise
    except Exception as error:  # half a file, or one without permission
        raise UnsupportedModelError(
            f"{path} cannot be read: {_first_line(error)}"
        ) from error


def _flavours(path: str) -> list[str]:
    """The Kerases to try, the one that wrote the file first."""
    if os.path.isdir(path):
        return _of_directory(path)
    if not os.path.exists(path):
        raise UnsupportedModelError(f"There is no model file {path}.")
    if path.endswith(ZIP_NAMES) and zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            return [_of_version(_zip_version(archive, path))]
    if path.endswith(H5_NAMES) and _is_hdf5(path):
        first = _of_version(_h5_version(path))
        return [first, "keras" if first == "tf_keras" else "tf_keras"]
    raise UnsupportedModelError(
        f"{path} is no model file: expected a .keras file, an .h5 file or a "
        "SavedModel directory."
    )


def _of_directory(path) -> list[str]:
    if os.path.exists(os.path.join(path, "keras_metadata.pb")):
        return ["tf_keras"]
    if os.path.exists(os.path.join(path, "config.json")):
        return ["keras"]
    if os.path.exists(os.path.join(path, "saved_model.pb")):
        raise UnsupportedModelError(
            f"{path} is a SavedModel for serving, without the layers that "
            "Keras would rebuild the model from: give the .keras or .h5 file "
            "that it was exported from."
        )
    raise UnsupportedModelError(
        f"{path} is a directory without a model: expected a SavedModel that "
        "tf_keras.models.save_model wrote."
    )


def _of_version(version: str) -> str:
    return "keras" if version.startswith(("3", "4")) else "tf_keras"


def _zip_version(archive, path) -> str:
    try:
        return json.loads(archive.read("metadata.json"))["keras_version"]
    except (KeyError, ValueError) as error:
        raise UnsupportedModelError(
            f"{path} is no whole .keras file: its metadata.json does not say "
            "which Keras wrote it."
        ) from error


def _is_hdf5(path) -> bool:
    import h5py

    return h5py.is_hdf5(path)


def _h5_version(path) -> str:
    import h5py

    with h5py.File(path, "r") as file:
        if "model_config" not in file.attrs:
            raise UnsupportedModelError(
                f"{path} holds weights without a model: save the whole model "
                "with model.save."
            )
        version = file.attrs.get("keras_version", "2")
    return version.decode() if isinstance(version, bytes) else str(version)


def _load(flavour, path, safe_mode, custom_objects):
    if flavour == "tf_keras":
        # First: right after it the mask holders are imported, and they need
        # the whole of what is imported next.
        import tf_keras  # noqa: F401

        from tf_channel_prune.graph.tf_keras_files import load
    else:
        from tf_channel_prune.graph.keras_internals import load
    try:
        model = load(path, custom_objects, True, safe_mode)
    except Exception as compiled_error:  # old optimizers, custom losses
        try:
            model = load(path, custom_objects, False, safe_mode)
        except Exception:  # then it was not the compilation
            raise compiled_error from None
        warnings.warn(
            f"{path} was loaded without its optimizer and loss: "
            f"{_first_line(compiled_error)} Compile the model before you "
            "train it.",
            stacklevel=3,
        )
    if os.path.isdir(path) and flavour == "tf_keras":
        from tf_channel_prune.graph.tf_keras_files import revived

        # Without their class, layers run as a whole and nothing shows how.
        for name in revived(model):
            raise _CustomClass(path, flavour, name)
    return model


def _first_line(error) -> str:
    """The start of an error's text, as one sentence."""
    text = " ".join(str(error).split()) or type(error).__name__
    for end in (". ", " Please ", "\n"):
        text = text.split(end)[0]
    if len(text) > 240:
        text = text[:240] + " ..."
    return text.rstrip(".") + "."
