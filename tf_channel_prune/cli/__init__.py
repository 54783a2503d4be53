"""`tf-channel-prune`: the verbs on the command line.

Flags, files and messages; all work is done elsewhere. What goes wrong is one
sentence on standard error and exit code 1, with nothing half-written.
"""

from __future__ import annotations

import os
import sys

from absl import flags

from tf_channel_prune.cli.actions import ACTIONS
from tf_channel_prune.cli.functions import load_file
from tf_channel_prune.cli.options import USAGE
from tf_channel_prune.cli.options import define_flags
from tf_channel_prune.errors import PruningError


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
        if values.code:
            load_file(values.code, "code")
        ACTIONS[values.action](values)
    except (PruningError, flags.Error) as error:
        print(f"Error: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(
            "Interrupted; the same command goes on where it can.",
            file=sys.stderr,
        )
        return 130
    return 0
