"""Files that are written whole or not at all."""

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
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp{path.suffix}")
    try:
        with writing(path):
            write(temporary)
            with open(temporary, "rb+") as file:
                os.fsync(file.fileno())
            os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path, text: str) -> None:
    """Writes a text file whole or not at all."""
    write_whole(path, lambda to: to.write_text(text, encoding="utf-8"))
