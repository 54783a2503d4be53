"""Rebuilds a model with only the channels that stay."""

from __future__ import annotations

import numpy as np

from tf_channel_prune import graph as graphs
from tf_channel_prune.channels import Channels
from tf_channel_prune.graph.carrying import Carrier
from tf_channel_prune.masking import Masks
from tf_channel_prune.transform.verify import check_equal
from tf_channel_prune.transform.verify import references


def transform(sparse, samples=None, keep_optimizer=False):
    """The slim model of a sparse one.

    Its outputs are compared with the sparse model's, on random inputs and on
    `samples`; the largest difference is printed.

    Args:
        sparse: A sparse model.
        samples: A batch of inputs to compare on as well.
        keep_optimizer: Whether the slim model's optimizer has the state of
            the sparse model's, sliced as the weights are, so that training
            goes on as if it had never stopped. Defaults to False: the same
            optimizer, started anew.

    Returns:
        An ordinary Keras model that needs nothing of this package.

    Raises:
        PruningError: If the model holds no masks.
        VerificationError: If the outputs differ.
    """
    masks = Masks(sparse)
    expected = references(sparse, samples)
    slim = make_slim(masks.channels, masks.alive(), keep_optimizer)
    print(check_equal(expected, slim))
    return slim


def make_slim(channels: Channels, alive: np.ndarray, keep_optimizer=False):
    """The model with only the units in `alive`; not verified."""
    kept = channels.kept(alive)
    changes = {}
    factors = {}
    for node in channels.graph.nodes:
        rule = channels.rule(node)
        if rule is not None:
            change = changes[node.index] = rule.slim(node, kept)
            for name, factor in change.scale.items():
                weight = node.weight(name)
                if weight is not None:
                    factors[weight.key] = factor

    def cut(weight, array):
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

    def value(weight):
        array = cut(weight, weight.array)
        factor = factors.get(weight.key, 1.0)
        return array if factor == 1.0 else array * factor

    def change(node):
        return changes.get(node.index)

    if not keep_optimizer:
        return graphs.replay(channels.graph, change=change, value=value)
    carrier = Carrier(channels.graph)
    slim = graphs.replay(
        channels.graph, change=change, value=value, hold=carrier.hold
    )
    carrier.carry(slim, cut)
    return slim
