"""Compares a slim model with the sparse one that it is made from."""

from __future__ import annotations

import logging

from tf_channel_prune.errors import VerificationError
from tf_channel_prune.graph import twins
from tf_channel_prune.graph.amplifying import amplifies
from tf_channel_prune.graph.outputs import Difference
from tf_channel_prune.graph.outputs import Reference
from tf_channel_prune.transform import locate

log = logging.getLogger("tf_channel_prune")


def check_equal(expected: list[Reference], slim, channels, alive) -> Difference:
    """Compares a slim model with what is expected of it.

    Layers are compared one by one where the outputs differ, to find the one to
    blame, and where no output depends on the inputs (see `is_telling`), as a
    layer that is wrong would not be seen there.

    Args:
        expected: What the sparse model gives.
        slim: The slim model.
        channels: The labels of the sparse model, whose masks are set.
        alive: Boolean per unit: what stays.

    Raises:
        VerificationError: If the outputs differ by more than float error.
    """
    found = [reference.difference(slim) for reference in expected]
    worst = max(found, key=lambda difference: difference.relative)
    if worst.equal and is_telling(expected):
        return worst
    reference = expected[found.index(worst)]
    name, failure = twins.blamed(
        lambda: locate.first_difference(
            channels, alive, slim, reference.inputs, reference.tolerance
        )
    )
    if name is not None:
        where = f"given the same inputs, the first layer to differ is {name!r}"
    elif worst.equal:
        return worst
    elif failure is not None:
        where = f"the layer to blame is not known ({failure})"
    elif amplifies(slim, reference.inputs, worst):
        log.warning(
            "The slim model's outputs differ: %s. Each of its layers gives "
            "what it should by itself: the model amplifies rounding.",
            worst,
        )
        return worst
    else:
        where = (
            "each of its layers gives what it should by itself, so that how "
            "they are connected is wrong"
        )
    what = "layers differ" if worst.equal else "outputs differ"
    raise VerificationError(
        f"The slim model's {what} from the sparse model's: {worst}; "
        f"{where}. Nothing was returned. Please report the model; until it is "
        "mended, exclude that layer."
    )


def is_telling(expected: list[Reference]) -> bool:
    """Whether any output depends on the inputs that were tried."""
    return any(reference.telling for reference in expected)
