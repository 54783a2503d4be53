"""Batches of data, from arrays or from any iterable of batches."""

from __future__ import annotations

import numpy as np

from tf_channel_prune.errors import PruningError
from tf_channel_prune.graph.arrays import to_numpy
from tf_channel_prune.graph.structure import leaves
from tf_channel_prune.graph.structure import map_arguments


def batches(data, size: int, limit: int | None = None, seed: int = 0):
    """Yields `(x, y)` batches; `y` is None where the data have no targets.

    Args:
        data: Arrays `x` or a tuple `(x, y)` (`x` may be a list or a dict of
            arrays), or an iterable of such batches (`tf.data.Dataset`,
            `keras.utils.PyDataset`, a list). A generator can be read once.
        size: Samples a batch, where `data` are arrays; an iterable's own
            batches are kept.
        limit: The most samples to give. Of arrays a random choice is taken,
            of an iterable the first ones. Defaults to all.
        seed: Of that choice.
    """
    if is_arrays(data):
        yield from _of_arrays(data, size, limit, seed)
        return
    left = np.inf if limit is None else limit
    for batch in iterate(data):
        x, y = _pair(batch)
        count = length(x)
        if count > left:
            x, y = take((x, y), slice(0, int(left)))
        yield x, y
        left -= count
        if left <= 0:
            return


def count_of(data) -> int | None:
    """How many samples arrays hold; None for an iterable of batches."""
    return length(data) if is_arrays(data) else None


def length(data) -> int:
    """How many samples arrays hold.

    Raises:
        PruningError: If they are no arrays, or numbers alone.
    """
    first = leaves(data)[:1]
    if not first or getattr(first[0], "shape", ()) == ():
        kind = type(first[0] if first else data).__name__
        raise PruningError(
            "Data are arrays, of which the first axis is that of the samples, "
            f"or batches of such; got a {kind} where an array is expected."
        )
    return len(first[0])


def rows(array, index):
    """Samples of an array, in the order of their numbers.

    Args:
        array: An array, a tensor, a table of pandas or a data set of h5py.
        index: A slice, or an array of numbers of which none is there twice.

    Returns:
        What a slice of the array gives, for numbers a NumPy array.
    """
    if hasattr(array, "iloc"):  # a table: its own index means columns
        return array.iloc[index].to_numpy()
    if isinstance(index, slice):
        return array[index]
    if isinstance(array, np.ndarray):
        return array[index]
    if hasattr(array, "numpy"):  # TensorFlow's tensors take no numbers
        return to_numpy(array)[index]
    # A file may be larger than the memory, and is read in one direction.
    order = np.argsort(index)
    read = np.asarray(array[index[order]])
    found = np.empty_like(read)
    found[order] = read
    return found


def take(data, index):
    """Samples of arrays in any structure, as `rows` takes them.

    Args:
        data: The arrays, or None in place of one.
        index: As of `rows`.
    """
    return map_arguments(
        lambda leaf: None if leaf is None else rows(leaf, index), data
    )


def are_samples_with_targets(data) -> bool:
    """Whether data are arrays `(x, y)`, which can be read again and again."""
    return is_arrays(data) and _pair(data)[1] is not None


def _of_arrays(data, size, limit, seed):
    pair = _pair(data)
    counts = {length(leaf) for leaf in leaves(pair) if leaf is not None}
    if len(counts) != 1:
        raise PruningError(
            "The data's arrays have different lengths: "
            + ", ".join(map(str, sorted(counts)))
            + "."
        )
    total = counts.pop()
    chosen = np.arange(total)
    if limit is not None and limit < total:
        rng = np.random.default_rng(seed)
        chosen = np.sort(rng.permutation(total)[:limit])
        # Labels are often stored in order; every batch should hold them all.
        chosen = rng.permutation(chosen)
    for start in range(0, len(chosen), size):
        yield take(pair, chosen[start : start + size])


def is_read_once(data) -> bool:
    """Whether data are an iterator, which is empty afterwards."""
    return hasattr(data, "__next__")


def is_arrays(data) -> bool:
    """Whether data are arrays, not an iterable of batches."""
    parts = leaves(data)
    return (
        bool(parts)
        and all(
            part is None
            or (hasattr(part, "shape") and hasattr(part, "__getitem__"))
            for part in parts
        )
        and not _is_batch_list(data)
    )


def kept(data):
    """The data so that they can be read more than once."""
    return data if is_arrays(data) else list(iterate(data))


def _is_batch_list(data) -> bool:
    """A list of `(x, y)` tuples is an iterable of batches."""
    return (
        isinstance(data, list)
        and bool(data)
        and all(isinstance(item, tuple) for item in data)
    )


def iterate(data):
    """The batches of an iterable, once."""
    if hasattr(data, "__iter__"):
        yield from data
    elif hasattr(data, "__getitem__") and hasattr(data, "__len__"):
        for index in range(len(data)):  # keras.utils.PyDataset
            yield data[index]
    else:
        raise PruningError(
            f"Expected data as arrays or batches, got {type(data).__name__}."
        )


def _pair(batch):
    """`(x, y)` of a batch; sample weights are not used."""
    if isinstance(batch, tuple):
        return (batch[0], batch[1] if len(batch) > 1 else None)
    return (batch, None)
