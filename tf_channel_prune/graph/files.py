"""Writes files whole or not at all."""

from __future__ import annotations

import contextlib
import os
import pathlib
from collections.abc import Callable
from collections.abc import Iterator

from tf_channel_prune.errors import PruningError


def make_folder(path: pathlib.Path) -> None:
    """Makes a folder and those above it.

    Raises:
        PruningError: If that is not possible.
    """
    with writing(path):
        path.mkdir(parents=True, exist_ok=True)


@contextlib.contextmanager
def writing(path) -> Iterator[None]:
    """Turns what goes wrong in writing a file into one sentence."""
    try:
        yield
    except OSError as error:
        raise PruningError(
            f"{path} cannot be written: {error.strerror or error}."
        ) from error


def write_whole(path, write: Callable[[pathlib.Path], None]) -> None:
    """Writes a file whole or not at all.

    Args:
        path: The file; its folder is made.
        write: Writes the content to the path that it is given, which has the
            same suffix.

    Raises:
        PruningError: If the file cannot be written.
    """
    path = pathlib.Path(path)
    make_folder(path.parent)
    # Names of files have a largest length, which the path itself may have.
    name = f".{path.stem[:40]}.{os.getpid()}.tmp{path.suffix}"
    temporary = path.with_name(name)
    try:
        with writing(path):
            write(temporary)
            with open(temporary, "rb+") as file:
                os.fsync(file.fileno())
            os.replace(temporary, path)
    finally:
        with contextlib.suppress(OSError):  # what went wrong is said already
            temporary.unlink(missing_ok=True)


def write_text(path, text: str) -> None:
    """Writes a text file whole or not at all."""
    write_whole(path, lambda to: to.write_text(text, encoding="utf-8"))


def write_model(path, model) -> None:
    """Saves a model whole or not at all.

    Raises:
        PruningError: If the path does not end in `.keras` or `.h5`, or the
            model cannot be saved or the file not be written.
    """
    path = check_model_path(path)
    try:
        write_whole(path, model.save)
    except (ValueError, TypeError, NotImplementedError) as error:
        raise PruningError(
            f"Model {model.name!r} cannot be saved as {path}: {error}"
        ) from error


def check_model_path(path) -> pathlib.Path:
    """The path, if a model can be saved there."""
    path = pathlib.Path(path)
    if path.suffix not in (".keras", ".h5"):
        raise PruningError(
            f"A model is saved as a .keras or .h5 file; got {path}."
        )
    return path
