"""Files and folders that are there whole or not at all."""

from __future__ import annotations

import os
import pathlib
import tempfile

from tf_channel_prune.errors import PruningError
from tf_channel_prune.graph.files import make_folder
from tf_channel_prune.graph.files import write_whole
from tf_channel_prune.graph.files import writing

# What TensorFlow and Keras write into a SavedModel's folder.
_OF_A_SAVED_MODEL = {
    "saved_model.pb",
    "fingerprint.pb",
    "keras_metadata.pb",
    "variables",
    "assets",
}


def check_file(path) -> pathlib.Path:
    """The path, if a file can be put there.

    Raises:
        PruningError: If a folder is there.
    """
    path = pathlib.Path(path)
    if path.is_dir():
        raise PruningError(f"{path} is a folder: name a file in it.")
    return path


def check_folder(path) -> pathlib.Path:
    """The path, if a SavedModel can be put there.

    Raises:
        PruningError: If anything but an earlier SavedModel is there, or
            anything beside it, which would be lost.
    """
    path = pathlib.Path(path)
    inside = os.listdir(path) if path.is_dir() else []
    if path.is_file() or (inside and "saved_model.pb" not in inside):
        raise PruningError(
            f"{path} is there and no SavedModel: it is not replaced. Name a "
            "new folder."
        )
    others = sorted({*inside} - _OF_A_SAVED_MODEL)
    if others:
        raise PruningError(
            f"{path} holds {', '.join(others)} beside a SavedModel: it is not "
            "replaced, since that would be lost. Move it, or name a new folder."
        )
    return path


def read_file(path) -> bytes:
    """A file's content.

    Raises:
        PruningError: If it cannot be read.
    """
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise PruningError(
            f"{path} cannot be read: {error.strerror or error}."
        ) from error


def write_file(path, content: bytes) -> None:
    """Writes a file, replacing one that is there.

    Raises:
        PruningError: If it cannot be written.
    """
    write_whole(check_file(path), lambda to: to.write_bytes(content))


def write_folder(path, fill) -> None:
    """Makes a SavedModel by `fill(temporary folder)`, replacing one there.

    Raises:
        PruningError: If it cannot be written, or something else is there.
    """
    path = check_folder(path).absolute()
    make_folder(path.parent)
    with (
        writing(path),
        tempfile.TemporaryDirectory(dir=path.parent, suffix=".part") as own,
    ):
        made, old = os.path.join(own, "new"), os.path.join(own, "old")
        fill(made)
        if path.is_dir() and not path.is_symlink():
            os.replace(path, old)
        try:
            os.replace(made, path)
        except OSError:
            if os.path.isdir(old):
                os.replace(old, path)
            raise
