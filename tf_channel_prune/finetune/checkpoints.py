"""The state of a training on disk, written whole after every epoch."""

from __future__ import annotations

import json
import pathlib
import zipfile
from typing import Any

import numpy as np

from tf_channel_prune.errors import PruningError
from tf_channel_prune.errors import StaleFileError
from tf_channel_prune.graph import optimizers
from tf_channel_prune.graph.arrays import to_numpy
from tf_channel_prune.graph.files import write_whole


class Checkpoint:
    """One training's weights, optimizer state, and how far it came.

    The file is an .npz of plain arrays; nothing is pickled. A kill while it
    is written, or a full disk, leaves the one before.

    Args:
        path: The file, or None to keep the state in memory.
        origin: What the training depends on, as JSON values by name. A file
            of another origin is never used.
    """

    def __init__(self, path, origin: dict[str, Any]):
        self.path = None if path is None else pathlib.Path(path)
        self.origin = json.loads(json.dumps(origin))
        self._memory: dict[str, np.ndarray] | None = None

    def save(self, model, optimizer, arrays=(), **progress) -> None:
        """Writes the state.

        Args:
            model: Its variables, seeds of random layers included, are saved.
            optimizer: The one that trains it, or None.
            arrays: More to save; see `more`.
            progress: JSON values to remember.
        """
        arrays = {
            **_numbered("model", model.variables),
            **_numbered("optimizer", optimizers.variables(optimizer)),
            **_numbered("more", arrays),
            "head": np.array(
                json.dumps({"origin": self.origin, "progress": progress})
            ),
        }
        if self.path is None:
            self._memory = {k: np.array(v) for k, v in arrays.items()}
        else:
            write_whole(self.path, lambda to: _write(to, arrays))

    def progress(self) -> dict[str, Any] | None:
        """What `save` was told last; None if there is no file.

        Raises:
            StaleFileError: If the file is of another training or unreadable.
        """
        if self.path is None or not self.path.exists():
            return None
        head = self._head()
        if head["origin"] != self.origin:
            differs = [
                name
                for name in self.origin
                if head["origin"].get(name) != self.origin[name]
            ]
            raise StaleFileError(
                f"{self.path} is of another training: its "
                f"{' and '.join(differs)} differ. Move it away, or use another "
                "workspace."
            )
        return head["progress"]

    def _head(self):
        arrays = self._read()
        try:
            head = json.loads(str(arrays["head"]))
            return {
                "origin": dict(head["origin"]),
                "progress": head["progress"],
            }
        except (ValueError, KeyError, TypeError) as error:
            raise StaleFileError(
                f"{self.path} is no state of a training. Move it away."
            ) from error

    def load(self, model, optimizer=None) -> None:
        """Gives the variables the saved values."""
        arrays = self._read()
        _assign(arrays, "model", model.variables, self.path)
        if optimizer is not None:
            optimizers.build(optimizer, model.trainable_variables)
            listed = optimizers.variables(optimizer)
            _assign(arrays, "optimizer", listed, self.path)

    def more(self) -> list[np.ndarray]:
        """The arrays that were saved beside the variables."""
        arrays = self._read()
        count = sum(key.startswith("more_") for key in arrays)
        return [arrays[f"more_{number}"] for number in range(count)]

    def _read(self):
        if self._memory is not None:
            return self._memory
        try:
            with np.load(self.path, allow_pickle=False) as file:
                return dict(file)
        except (OSError, ValueError, zipfile.BadZipFile) as error:
            raise StaleFileError(
                f"{self.path} cannot be read: {error}. Move it away."
            ) from error


def _write(path, arrays):
    with open(path, "wb") as file:
        np.savez(file, **arrays)


def _numbered(name, variables):
    return {
        f"{name}_{number}": _plain(to_numpy(variable))
        for number, variable in enumerate(variables)
    }


def _plain(array):
    # NumPy files know no bfloat16.
    return array.astype("float32") if array.dtype.kind == "V" else array


def _assign(arrays, name, variables, path):
    count = sum(key.startswith(f"{name}_") for key in arrays)
    if count != len(variables):
        raise PruningError(
            f"{path} holds {count} variables of the {name}, which has "
            f"{len(variables)}. Move it away."
        )
    for number, variable in enumerate(variables):
        variable.assign(arrays[f"{name}_{number}"])
