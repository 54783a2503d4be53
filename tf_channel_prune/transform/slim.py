"""Rebuilds a model with only the channels that stay."""

from __future__ import annotations

import numpy as np

from tf_channel_prune import graph as graphs
from tf_channel_prune.channels import Channels
from tf_channel_prune.channels.rules import rule_for
from tf_channel_prune.masking import Masks
from tf_channel_prune.transform.verify import check_equal


def transform(sparse, samples=None):
    """The slim model of a sparse one.

    Its outputs are compared with the sparse model's, on random inputs and on
    `samples`; the largest difference is printed.

    Args:
        sparse: A sparse model.
        samples: A batch of inputs to compare on as well.

    Returns:
        An ordinary Keras model that needs nothing of this package.

    Raises:
        PruningError: If the model holds no masks.
        VerificationError: If the outputs differ.
    """
    masks = Masks(sparse)
    slim = make_slim(masks.channels, masks.alive())
    print(check_equal(sparse, slim, samples))
    return slim


def make_slim(channels: Channels, alive: np.ndarray):
    """The model with only the units in `alive`; not verified."""
    kept = channels.kept(alive)

    def change(node):
        rule = rule_for(node.kinds)
        return None if rule is None else rule.slim(node, kept)

    def value(weight):
        array = weight.array
        picks = []
        for axis, size in enumerate(array.shape):
            vector = channels.scope.weights.get((weight.key, axis))
            stays = kept.vector(vector)
            picks.append(
                np.arange(size) if stays is None else np.flatnonzero(stays)
            )
        whole = all(p.size == s for p, s in zip(picks, array.shape))
        # All axes at once: a large kernel is copied once.
        return array if whole else array[np.ix_(*picks)]

    return graphs.replay(channels.graph, change=change, value=value)
