"""Looks for the layer to blame where a slim model's outputs differ.

Its operations run by themselves on what goes into the sparse model's, without
the channels that are gone. If each one gives the same, then the models are
equal, though their outputs are not.
"""

from __future__ import annotations

import numpy as np

from tf_channel_prune import graph as graphs
from tf_channel_prune.channels import understood
from tf_channel_prune.graph import twins


def first_difference(channels, alive, slim, inputs, tolerance):
    """The name of the first operation that gives something else, or None.

    Args:
        channels: The labels of the sparse model, whose masks are set.
        alive: Boolean per unit: what stays.
        slim: The slim model.
        inputs: In the structure that both models take.
        tolerance: The largest difference of an operation's outputs, relative
            to their size.

    Raises:
        Unmatched: If the two models cannot be compared in this way.
    """
    kept = channels.kept(alive)

    def cut(number, array) -> np.ndarray:
        for axis, vector in channels.scope.tensors[number].axes.items():
            stays = kept.vector(vector)
            if stays is not None:
                array = np.compress(stays, array, axis=axis)
        return array

    return twins.first_difference(
        graphs.read(slim, understood), channels.graph, inputs, tolerance, cut
    )
