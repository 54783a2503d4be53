"""Training data that are the same in every process, epoch by epoch."""

from __future__ import annotations

import numpy as np

from tf_channel_prune.errors import PruningError
from tf_channel_prune.graph.data import is_arrays
from tf_channel_prune.graph.data import length
from tf_channel_prune.graph.digests import value_digest
from tf_channel_prune.graph.structure import leaves
from tf_channel_prune.graph.structure import map_arguments


class Stream:
    """The batches of every epoch.

    Args:
        data: One of

            - arrays `(x, y)` or `(x, y, sample weights)`: shuffled anew in
              every epoch, by the seed and the epoch alone; a last batch that
              is not full is left out;
            - a function of the epoch (from 0) that gives a sequence of
              batches, something with a length whose entries can be read in
              any order and always are the same: for augmentation that a
              resumed training repeats;
            - anything else that `fit` takes (`tf.data.Dataset`,
              `PyDataset`): its own order, which a resumed training does not
              repeat.
        batch_size: Samples a batch, where the data are arrays.
        seed: Of the shuffling.

    Attributes:
        steps: Batches an epoch.
    """

    def __init__(self, data, batch_size: int, seed: int):
        self.data = data
        self.batch_size = batch_size
        self.seed = seed
        self._fits = False
        self._current = None, None
        if data is None or isinstance(data, str):
            raise PruningError(
                "data is what the model is trained on: arrays (x, y), a "
                f"function of the epoch, or what fit takes; got {data!r}."
            )
        if callable(data):
            self._epoch = data
        elif is_arrays(data):
            self._epoch = self._shuffled
            self._samples = _samples(data)
        else:
            self._fits = True
        self.steps = _steps(data if self._fits else self._epoch(0))
        if self.steps < 1:
            raise PruningError("The data to train on are empty.")

    def digest(self) -> str:
        """Another one for other data, as far as a short look can tell.

        That is by shapes and types, and of arrays by some of the rows.
        """
        if self._fits:
            return value_digest(self.steps)
        if callable(self.data):
            first = self.batch(0, 0)
            return value_digest([_form(leaf) for leaf in leaves(first)])
        step = max(1, self._samples // 64)
        return value_digest(
            [[_form(v), np.asarray(v[::step])] for v in leaves(self.data)]
        )

    def dataset(self, library, epoch: int):
        """What to give to `fit`; its `epoch` is to be kept up to date.

        Args:
            library: The module `keras` or `tf_keras`.
            epoch: The first epoch.
        """
        if self._fits:
            return self.data
        stream = self

        class Batches(
            getattr(library.utils, "PyDataset", None) or library.utils.Sequence
        ):
            def __init__(self):
                super().__init__()
                self.epoch = epoch

            def __len__(self):
                return stream.steps

            def __getitem__(self, index):
                return stream.batch(self.epoch, index)

        return Batches()

    def batch(self, epoch: int, index: int):
        """One batch; only for arrays and functions of the epoch."""
        known, sequence = self._current
        if known != epoch:
            sequence = self._epoch(epoch)
            # One assignment: readers of two epochs may overlap for a moment.
            self._current = epoch, sequence
        if index == 0 and len(sequence) != self.steps:
            raise PruningError(
                f"Epoch {epoch + 1} of the data has {len(sequence)} batches; "
                f"the first one has {self.steps}."
            )
        return _without_lists(sequence[index])

    def _shuffled(self, epoch):
        return _Shuffled(self, epoch)


class _Shuffled:
    """The batches of arrays in one epoch."""

    def __init__(self, stream, epoch):
        rng = np.random.default_rng([stream.seed, epoch])
        self.data = stream.data
        self.size = min(stream.batch_size, stream._samples)
        self.order = rng.permutation(stream._samples)

    def __len__(self):
        return len(self.order) // self.size if self.size else 0

    def __getitem__(self, index):
        chosen = self.order[index * self.size : (index + 1) * self.size]
        return map_arguments(lambda leaf: leaf[chosen], self.data)


def _without_lists(batch):
    """A batch as `fit` takes it from a sequence: there lists are refused."""
    if isinstance(batch, dict):
        return {key: _without_lists(one) for key, one in batch.items()}
    if isinstance(batch, (list, tuple)):
        return tuple(map(_without_lists, batch))
    return batch


def _samples(data) -> int:
    counts = sorted({length(leaf) for leaf in leaves(data)})
    if len(counts) != 1:
        raise PruningError(
            "The data's arrays have different lengths: "
            f"{', '.join(map(str, counts))}."
        )
    return counts[0]


def _form(leaf) -> list:
    return [list(np.shape(leaf))[1:], str(getattr(leaf, "dtype", ""))]


def _steps(batches) -> int:
    try:
        return len(batches)
    except TypeError as error:
        raise PruningError(
            "The number of batches of the data is not known: give data with a "
            "length (for a tf.data.Dataset, assert_cardinality), or a "
            "function of the epoch that gives a list of batches."
        ) from error
