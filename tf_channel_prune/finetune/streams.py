"""Training data as one stream of batches, the same in every process."""

from __future__ import annotations

import numpy as np

from tf_channel_prune.errors import PruningError
from tf_channel_prune.graph.data import is_arrays
from tf_channel_prune.graph.data import iterate
from tf_channel_prune.graph.structure import leaves
from tf_channel_prune.graph.structure import map_arguments


class Stream:
    """Batches of one epoch after the other.

    Args:
        data: One of

            - arrays `(x, y)`: shuffled anew in every epoch, by the seed and
              the epoch alone; a last batch that is not full is left out;
            - a function of the epoch (from 0) that gives an iterable of
              batches: for augmentation that is the same when it is resumed;
            - an iterable of batches (`tf.data.Dataset`,
              `keras.utils.PyDataset`): its own order, which a resumed
              training does not repeat.
        batch_size: Samples a batch, where the data are arrays.
        seed: Of the shuffling.

    Attributes:
        steps: Batches an epoch.
    """

    def __init__(self, data, batch_size: int, seed: int):
        self.data = data
        self.batch_size = batch_size
        self.seed = seed
        self._arrays = not callable(data) and is_arrays(data)
        self.steps = self._count()
        if self.steps < 1:
            raise PruningError("The data to train on are empty.")

    def __call__(self, first: int, epochs: int):
        """The batches of the epochs from `first` up to `epochs`."""
        for epoch in range(first, epochs):
            count = 0
            for batch in self._epoch(epoch):
                if count == self.steps:
                    break
                yield batch
                count += 1
            if count < self.steps:
                raise PruningError(
                    f"Epoch {epoch + 1} of the data has {count} batches; "
                    f"the first one had {self.steps}."
                )

    def _count(self) -> int:
        if self._arrays:
            samples = {len(leaf) for leaf in leaves(self.data)}
            if len(samples) != 1:
                raise PruningError(
                    "The data's arrays have different lengths: "
                    f"{', '.join(map(str, sorted(samples)))}."
                )
            self._samples = samples.pop()
            return max(self._samples // self.batch_size, min(1, self._samples))
        batches = self.data(0) if callable(self.data) else self.data
        try:
            return len(batches)
        except TypeError:
            return sum(1 for _ in iterate(batches))

    def _epoch(self, epoch):
        if self._arrays:
            return self._shuffled(epoch)
        return iterate(self.data(epoch) if callable(self.data) else self.data)

    def _shuffled(self, epoch):
        rng = np.random.default_rng([self.seed, epoch])
        order = rng.permutation(self._samples)
        for step in range(self.steps):
            chosen = order[
                step * self.batch_size : (step + 1) * self.batch_size
            ]
            yield map_arguments(lambda leaf, i=chosen: leaf[i], self.data)
