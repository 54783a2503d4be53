"""The batches of one epoch, by number."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from tf_channel_prune.errors import PruningError
from tf_channel_prune.graph.arrays import to_numpy
from tf_channel_prune.graph.data import length
from tf_channel_prune.graph.data import take
from tf_channel_prune.graph.structure import leaves
from tf_channel_prune.graph.structure import map_arguments


class Shuffled:
    """Batches of arrays; a last one that is not full is left out.

    Args:
        data: Arrays, as `as_arrays` gives them.
        size: Samples a batch; there is one batch where there are fewer.
        seed: Of the order.
    """

    def __init__(self, data, size: int, seed):
        samples = samples_of(data)
        self.data = data
        self.size = min(size, samples)
        self.order = np.random.default_rng(seed).permutation(samples)

    def __len__(self):
        return len(self.order) // self.size if self.size else 0

    def __getitem__(self, index):
        chosen = self.order[index * self.size : (index + 1) * self.size]
        return take(self.data, chosen)


class InOrder:
    """Batches of what can only be read from its beginning (`tf.data`).

    One batch is held at a time. `fit` reads the first ones more than once: to
    go back, the data are made anew, so that what is drawn while they are read
    is drawn again.

    Args:
        batches: An iterable with a length.
        make: Gives another one, of the same batches.
    """

    def __init__(self, batches, make: Callable[[], Any]):
        self._made = batches
        self._make = make
        self._length = len(batches)
        self._batches = None
        self._number, self._batch = -1, None
        # Keras reads in threads, of which an old one may not have ended.
        self._lock = threading.Lock()

    def __len__(self):
        return self._length

    def __getitem__(self, index):
        with self._lock:
            if index < self._number:
                self._made = self._make()
                self._batches = None
            if self._batches is None:
                self._batches = iter(self._made)
                self._number = -1
            while self._number < index:
                self._batch = next(self._batches, None)
                self._number += 1
                if self._batch is None:
                    raise PruningError(
                        f"The data ended after {self._number} batches; their "
                        f"length is {self._length}."
                    )
            return self._batch


def as_arrays(data):
    """Arrays that samples are taken from by their numbers.

    Args:
        data: `(x, y)`, `(x, y, sample weights)` or `x`; the last ones of a
            tuple may be None.

    Raises:
        PruningError: If there are more than three.
    """
    data = tuple(data) if isinstance(data, list) else data
    if isinstance(data, tuple) and len(data) > 3:
        raise PruningError(
            f"data has {len(data)} parts: give arrays as (x, y) or (x, y, "
            "sample weights), with several inputs as a list, and batches as a "
            "list of such tuples."
        )
    return map_arguments(_converted, without_nones(data))


def samples_of(data) -> int:
    """How many samples arrays hold.

    Raises:
        PruningError: If they have different lengths.
    """
    found = [leaf for leaf in leaves(data) if leaf is not None]
    counts = sorted({length(leaf) for leaf in found})
    if len(counts) != 1:
        raise PruningError(
            "The data's arrays have different lengths: "
            f"{', '.join(map(str, counts))}."
        )
    return counts[0]


def as_fit_takes(batch):
    """A batch as `fit` takes it from a sequence.

    There lists are refused, and so is None for sample weights.
    """
    return _without_lists(without_nones(batch))


def without_nones(batch):
    """A batch without None for the targets or the weights at its end."""
    while isinstance(batch, tuple) and len(batch) > 1 and batch[-1] is None:
        batch = batch[:-1]
    return batch


def _without_lists(batch):
    if isinstance(batch, dict):
        return {key: _without_lists(one) for key, one in batch.items()}
    if isinstance(batch, (list, tuple)):
        return tuple(map(_without_lists, batch))
    return batch


def _converted(leaf):
    """Tensors as arrays, once and not for every batch."""
    return to_numpy(leaf) if hasattr(leaf, "numpy") else leaf
