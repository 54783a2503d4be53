"""Compares a slim model with the sparse one that it is made from."""

from __future__ import annotations

import logging

from tf_channel_prune.errors import VerificationError
from tf_channel_prune.graph.outputs import Difference
from tf_channel_prune.graph.outputs import Reference

log = logging.getLogger("tf_channel_prune")


def check_equal(expected: list[Reference], slim, channels, alive) -> Difference:
    """Compares a slim model with what is expected of it.

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
    if not worst.equal:
        reference = expected[found.index(worst)]
        _check_layers(reference, worst, slim, channels, alive)
    return worst


def _check_layers(reference, worst, slim, channels, alive):
    """Tells rounding that a deep model amplifies from a layer that is wrong."""
    from tf_channel_prune.transform import locate

    try:
        name = locate.first_difference(
            channels, alive, slim, reference.inputs, reference.tolerance
        )
    except Exception as error:  # any layer may fail when it runs by itself
        text = str(error).strip().splitlines() or [type(error).__name__]
        where = f"the layer to blame is not known ({text[0]})"
    else:
        if name is None:
            log.warning(
                "The slim model's outputs differ: %s. Each of its layers gives "
                "what it should by itself: the model amplifies rounding.",
                worst,
            )
            return
        where = f"given the same inputs, the first layer to differ is {name!r}"
    raise VerificationError(
        f"The slim model's outputs differ from the sparse model's: {worst}; "
        f"{where}. Nothing was returned. Please report the model; until it is "
        "mended, exclude that layer."
    )
