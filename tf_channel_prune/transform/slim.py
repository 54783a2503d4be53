"""Rebuilds a model with only the channels that stay."""

from __future__ import annotations

import logging

import numpy as np

from tf_channel_prune import graph as graphs
from tf_channel_prune.channels import Channels
from tf_channel_prune.graph.carrying import Carrier
from tf_channel_prune.graph.outputs import references
from tf_channel_prune.masking import Masks
from tf_channel_prune.transform.verify import check_equal
from tf_channel_prune.transform.verify import is_telling

log = logging.getLogger("tf_channel_prune")


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
    expected = references(sparse, masks.channels.graph, samples)
    alive = masks.alive()
    slim = make_slim(masks.channels, alive, keep_optimizer)
    print(check_equal(expected, slim, masks.channels, alive))
    if not is_telling(expected):
        log.warning(
            "Model %r gives the same for each of the inputs that it was "
            "compared on, so that its outputs prove little: give transform a "
            "batch of real samples.",
            sparse.name,
        )
    return slim


def make_slim(channels: Channels, alive: np.ndarray, keep_optimizer=False):
    """The model with only the units in `alive`; not verified."""
    cut = Cut(channels, alive)
    if not keep_optimizer:
        return cut.built(channels.graph)
    carrier = Carrier(channels.graph)
    slim = cut.built(channels.graph, carrier.hold)
    carrier.carry(slim, cut.sliced)
    return slim


class Cut:
    """What changes in a graph when only some units stay.

    Args:
        channels: The labels of the graph.
        alive: Boolean per unit: what stays.

    Attributes:
        kept: Answers about what stays.
    """

    def __init__(self, channels: Channels, alive: np.ndarray):
        self.channels = channels
        self.kept = channels.kept(alive)

    def built(self, graph, hold=None):
        """The model of the graph, or of a part of it, with what stays."""
        changes = {}
        factors = {}
        for node in graph.nodes:
            rule = self.channels.rule(node)
            if rule is not None:
                change = changes[node.index] = rule.slim(node, self.kept)
                for name, factor in change.scale.items():
                    weight = node.weight(name)
                    if weight is not None:
                        factors[weight.key] = factor

        def value(weight):
            array = self.sliced(weight, weight.array)
            factor = factors.get(weight.key, 1.0)
            return array if factor == 1.0 else array * factor

        return graphs.replay(
            graph, lambda node: changes.get(node.index), value, hold
        )

    def sliced(self, weight, array: np.ndarray) -> np.ndarray:
        """An array of a weight's shape without what goes."""
        picks = []
        for axis, size in enumerate(array.shape):
            vector = self.channels.scope.weights.get((weight.key, axis))
            stays = self.kept.vector(vector)
            picks.append(
                np.arange(size) if stays is None else np.flatnonzero(stays)
            )
        whole = all(p.size == s for p, s in zip(picks, array.shape))
        # All axes at once: a large kernel is copied once.
        return array if whole else array[np.ix_(*picks)]
