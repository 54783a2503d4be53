"""`tf-channel-prune`: the verbs on the command line.

Flags, files and messages; all work is done elsewhere. What goes wrong is one
sentence on standard error and exit code 1, with nothing half-written.
"""

from __future__ import annotations

import os
import sys
import textwrap

from absl import flags

from tf_channel_prune.cli.actions import ACTIONS
from tf_channel_prune.cli.functions import load_file
from tf_channel_prune.cli.options import USAGE
from tf_channel_prune.cli.options import define_flags
from tf_channel_prune.errors import PruningError
from tf_channel_prune.workspace import Workspace


def main(argv=None) -> int:
    """Runs one command line; gives the exit code."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    values = define_flags(list(ACTIONS))
    try:
        rest = values(list(sys.argv if argv is None else argv))[1:]
        if values.help:
            print(f"{USAGE}\n{values.get_help()}")
            return 0
        if rest:
            raise PruningError(
                f"{rest[0]!r} is not a flag; see tf-channel-prune --help."
            )
        if values.action is None:
            raise PruningError(
                f"Say what to do: --action={'|'.join(ACTIONS)}. "
                "tf-channel-prune --help explains it."
            )
        if values.workspace:
            # A file of the user's may change the current folder.
            values.workspace = str(Workspace(values.workspace).path)
        if values.code:
            load_file(values.code, "code")
        read = _Read(values)
        ACTIONS[values.action](read)
        _warn_of_the_rest(values, read)
    except (PruningError, flags.Error) as error:
        print(f"Error: {_sentence(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(
            "Interrupted; the same command goes on where it can.",
            file=sys.stderr,
        )
        return 130
    return 0


class _Read:
    """Flags, and which of them were looked at."""

    def __init__(self, values):
        self._values = values
        self.names = {"help", "action", "code", "flagfile", "undefok"}

    def __getattr__(self, name):
        return self[name].value

    def __getitem__(self, name):
        self.names.add(name)
        return self._values[name]


def _warn_of_the_rest(values, read) -> None:
    """Scripts may give the same flags to every action: not an error."""
    rest = [n for n in values if values[n].present and n not in read.names]
    if rest:
        print(
            f"Warning: --action={values.action} makes no use of "
            f"{', '.join(f'--{name}' for name in sorted(rest))}.",
            file=sys.stderr,
        )


def _sentence(error) -> str:
    """An error's text on one line; what a user's function said may be long."""
    return textwrap.shorten(str(error), 1000, placeholder=" ...")
