"""The errors that the package raises on purpose, and how others are quoted."""

from __future__ import annotations

import re


class PruningError(Exception):
    """Something that the user can act on: what happened, and what to do."""


class UnsupportedModelError(PruningError):
    """The model, as a whole, cannot be read (one layer never causes this)."""


class TargetError(PruningError):
    """A target that no allowed plan reaches; names the reachable range."""


class VerificationError(PruningError):
    """A rebuilt model whose outputs differ from the model it came from."""


class NoInputsError(PruningError):
    """A model that does not run on random inputs, of whatever sizes."""


class StaleFileError(PruningError):
    """A file in the workspace was made from another graph or other weights."""


_CALLS_FOLLOW = ("Graph execution error:", "in user code:")
# Calls are indented. In "user code" all is, and what was wrong begins with
# the error's class.
_AFTER_CALLS = re.compile(r"(?!Detected at )\S| {4}\w+: ")


def what_it_says(error: BaseException) -> str:
    """The line of another library's error that says what is wrong.

    Keras says first in which layer, and then what, in colours; TensorFlow
    says in braces which of its functions ran where, and lists the calls that
    led there before it says what was wrong.
    """
    text = re.sub(r"\x1b\[[0-9;]*m|\{\{function_node .*?\}\} ", "", str(error))
    lines = [line for line in text.splitlines() if line.strip()]
    if lines and lines[0].rstrip() in _CALLS_FOLLOW:
        after = [
            n for n, line in enumerate(lines) if n and _AFTER_CALLS.match(line)
        ]
        lines = lines[after[0] :] if after else lines
        lines[0] = re.sub(r"^ {4}\w+: ", "", lines[0])
    lines = [line.strip() for line in lines]
    while len(lines) > 1 and lines[0].startswith("Exception encountered"):
        lines = lines[1:]
    return lines[0] if lines else type(error).__name__
