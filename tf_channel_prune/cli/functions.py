"""Functions of the user, given as `path/to/file.py:name`."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable

from tf_channel_prune.errors import PruningError


def load_function(given: str, flag: str) -> Callable:
    """The function that a flag names.

    Args:
        given: `path/to/file.py:name`.
        flag: The flag's name, for messages.

    Raises:
        PruningError: If it leads to no function, or its file raises.
    """
    path, _, name = given.rpartition(":")
    if not path or not name:
        raise PruningError(
            f"--{flag}={given}: give a function as path/to/file.py:name."
        )
    function = getattr(load_file(path, flag), name, None)
    if not callable(function):
        raise PruningError(
            f"--{flag}={given}: {path} has no function {name!r}."
        )
    return function


def call(function: Callable, flag: str):
    """What a function without arguments returns.

    Raises:
        PruningError: If it raises.
    """
    try:
        return function()
    except (Exception, SystemExit) as error:  # the user's function: anything
        raise PruningError(
            f"--{flag}: {function.__name__}() raised "
            f"{type(error).__name__}: {error}"
        ) from error


def load_file(path: str, flag: str):
    """A Python file as a module; the same one for every flag.

    Raises:
        PruningError: If there is no such file, or it raises.
    """
    if not os.path.isfile(path):
        raise PruningError(f"--{flag}={path}: there is no file {path}.")
    path = os.path.abspath(path)
    name = f"tf_channel_prune_user:{path}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None:
        raise PruningError(f"--{flag}: {path} is not a Python file.")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    # Files beside it can be imported, as from a script.
    sys.path.insert(0, os.path.dirname(path))
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # a user's file: anything
        del sys.modules[name]
        raise PruningError(
            f"--{flag}: {path} raised {type(error).__name__}: {error}"
        ) from error
    return module
