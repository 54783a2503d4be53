"""Files and folders that are there whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile


def write_file(path, content: bytes) -> None:
    """Writes a file, replacing one that is there."""
    path = os.fspath(path)
    folder = os.path.dirname(os.path.abspath(path))
    os.makedirs(folder, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=folder, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def write_folder(path, fill) -> None:
    """Makes a folder by `fill(temporary folder)`, replacing one there."""
    path = os.path.abspath(os.fspath(path))
    parent = os.path.dirname(path)
    os.makedirs(parent, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=parent, suffix=".part") as temporary:
        made = os.path.join(temporary, "new")
        fill(made)
        if os.path.isdir(path) and not os.path.islink(path):
            os.replace(path, os.path.join(temporary, "old"))
        try:
            os.replace(made, path)
        except OSError:
            if os.path.isdir(os.path.join(temporary, "old")):
                shutil.move(os.path.join(temporary, "old"), path)
            raise
