"""Training data that are the same in every process, epoch by epoch."""

from __future__ import annotations

import numpy as np

from tf_channel_prune.errors import PruningError
from tf_channel_prune.finetune.sequences import InOrder
from tf_channel_prune.finetune.sequences import Shuffled
from tf_channel_prune.finetune.sequences import as_arrays
from tf_channel_prune.finetune.sequences import as_fit_takes
from tf_channel_prune.finetune.sequences import samples_of
from tf_channel_prune.graph.data import is_arrays
from tf_channel_prune.graph.data import rows
from tf_channel_prune.graph.digests import value_digest
from tf_channel_prune.graph.structure import leaves


class Stream:
    """The batches of every epoch.

    Args:
        data: One of

            - arrays `(x, y)` or `(x, y, sample weights)`: shuffled anew in
              every epoch, by the seed and the epoch alone; a last batch that
              is not full is left out. Tensors count as arrays, as do tables
              of pandas and data sets of h5py (of which a batch is read at a
              time), and a list of arrays as the tuple of the same;
            - a list of batches, each a tuple `(x, y)` or `(x, y, sample
              weights)`: the same ones in the same order in every epoch;
            - a function of the epoch (from 0), for augmentation that a
              resumed training repeats. It gives arrays as a tuple, which are
              shuffled and divided into batches as above; a list of batches;
              a sequence of them, something with a length whose entries can
              be read in any order (`PyDataset`); or something with a length
              that is read from its beginning (`tf.data.Dataset`), batch by
              batch, for which the function is called anew wherever the
              beginning is read again. All must be the same whenever the
              function is called with the same epoch, and as many batches in
              every epoch;
            - anything else that `fit` takes (`tf.data.Dataset`,
              `PyDataset`): its own order, which a resumed training does not
              repeat.
        batch_size: Samples a batch, where there are arrays.
        seed: Of the shuffling.

    Attributes:
        steps: Batches an epoch.
        fits: Whether the data are given to `fit` as they are.
    """

    def __init__(self, data, batch_size: int, seed: int):
        self.data = data
        self.batch_size = batch_size
        self.seed = seed
        self._current = None, None
        if data is None or isinstance(data, str):
            raise PruningError(
                "data is what the model is trained on: arrays (x, y), a list "
                "of batches (x, y), a function of the epoch, or what fit "
                f"takes; got {data!r}."
            )
        self._made = callable(data)
        self._arrays = None
        if not self._made and is_arrays(data):
            self._arrays = as_arrays(data)
        self.fits = not (
            self._made or self._arrays is not None or isinstance(data, list)
        )
        self.steps = _steps(data if self.fits else self._sequence(0))
        if self.steps < 1:
            raise PruningError("The data to train on are empty.")

    def digest(self) -> str:
        """Another one for other data, as far as a short look can tell.

        That is by shapes and types, and of arrays by some of the rows.
        """
        if self.fits:
            return value_digest(self.steps)
        if self._made:
            first = self.batch(0, 0)
            return value_digest([_form(leaf) for leaf in leaves(first)])
        if self._arrays is None:  # a list of batches
            first = [leaf for leaf in leaves(self.data[:64]) if np.ndim(leaf)]
            some = [leaf[:1] for leaf in first]
        else:
            arrays = [leaf for leaf in leaves(self._arrays) if leaf is not None]
            step = max(1, samples_of(arrays) // 64)
            some = [rows(leaf, slice(None, None, step)) for leaf in arrays]
        return value_digest([[_form(row), np.asarray(row)] for row in some])

    def dataset(self, library, epoch: int):
        """What to give to `fit`; its `epoch` is to be kept up to date.

        Args:
            library: The module `keras` or `tf_keras`.
            epoch: The first epoch.
        """
        if self.fits:
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
        """One batch; not for what `fits`."""
        known, sequence = self._current
        if known != epoch:
            sequence = self._sequence(epoch)
            # One assignment: readers of two epochs may overlap for a moment.
            self._current = epoch, sequence
        if index == 0 and len(sequence) != self.steps:
            raise PruningError(
                f"Epoch {epoch + 1} of the data has {len(sequence)} batches; "
                f"the first one has {self.steps}."
            )
        return as_fit_takes(sequence[index])

    def _sequence(self, epoch):
        """The batches of an epoch, by number."""
        if self._arrays is not None:
            return self._shuffled(self._arrays, epoch)
        if not self._made:
            return self.data
        given = self.data(epoch)
        # Of a function, a list is one of batches whatever these are.
        if not isinstance(given, list) and is_arrays(given):
            return self._shuffled(as_arrays(given), epoch)
        if hasattr(given, "__getitem__") or not hasattr(given, "__len__"):
            return given
        return InOrder(given, lambda: self.data(epoch))

    def _shuffled(self, arrays, epoch):
        return Shuffled(arrays, self.batch_size, [self.seed, epoch])


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
