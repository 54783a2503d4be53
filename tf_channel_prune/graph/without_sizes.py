"""Operations that can be said without a size that is not known.

Each is a function of the replay, the output's shape (with a `Size` where it
depends on one), the operation's config and the arguments of the call.
"""

from __future__ import annotations

import keras
from keras import ops

from tf_channel_prune.graph.sizes import NotExactError
from tf_channel_prune.graph.sizes import Size
from tf_channel_prune.graph.structure import map_arguments


def is_open(size) -> bool:
    return size is None or isinstance(size, Size)


def depends(value) -> bool:
    found = []
    map_arguments(lambda leaf: found.append(isinstance(leaf, Size)), value)
    return any(found)


def _reshape(replay, shape, config, x):
    """A target with -1 for the size that is open."""
    unknown = [axis for axis, size in enumerate(shape) if is_open(size)]
    target = [-1 if is_open(size) else size for size in shape]
    if len(unknown) == 1:
        return ops.reshape(x, target)
    if len(unknown) == 2 and replay.sizes[id(x)][0] == shape[0] is not None:
        # The layer keeps the first axis, whatever it is.
        replay.reshapes += 1
        name = f"reshaped_{replay.reshapes}"
        return keras.layers.Reshape(target[1:], name=name, dtype=x.dtype)(x)
    raise NotExactError("its Reshape depends on several sizes")


def _broadcast(replay, shape, config, x):
    return replay.spread(x, shape)


def _tile(replay, shape, config, x):
    """Repeats along axes of one entry, beside ordinary ones."""
    repeats = [n if isinstance(n, Size) else int(n) for n in config["repeats"]]
    before = replay.sizes[id(x)]
    before = (1,) * (len(repeats) - len(before)) + before
    if any(isinstance(n, Size) and b != 1 for n, b in zip(repeats, before)):
        raise NotExactError("its Tile depends on a size that is not known")
    fixed = [1 if isinstance(n, Size) else n for n in repeats]
    if any(n > 1 for n in fixed) or len(fixed) > len(x.shape):
        x = ops.tile(x, fixed)
        replay.sizes[id(x)] = tuple(
            b if n == 1 else s for n, b, s in zip(fixed, before, shape)
        )
    return replay.spread(x, shape)


def _slice(replay, shape, config, x, start_indices):
    key = []
    for start, count in zip(start_indices, config["shape"]):
        if isinstance(count, Size) and start != 0:
            raise NotExactError("it starts a part at a size that is not known")
        key.append(slice(start, count if start == 0 else start + count))
    return _parts(replay, x, key)


def _get_item(replay, shape, config, x, key):
    key = list(key) if isinstance(key, (list, tuple)) else [key]
    if Ellipsis in key or not all(isinstance(k, slice) for k in key):
        raise NotExactError("its GetItem depends on a size that is not known")
    return _parts(replay, x, key)


def _parts(replay, x, key):
    """Parts along axes; where open, the first so many entries."""
    before = replay.sizes[id(x)]
    fixed = []
    for axis, part in enumerate(key):
        if not depends(part):
            fixed.append(part)
            continue
        fixed.append(slice(None))
        if part.start not in (None, 0) or part.step not in (None, 1):
            raise NotExactError("it takes a part of a size that is not known")
        if before[axis] != part.stop:
            x = ops.take(x, replay.range(part.stop), axis=axis)
    if any(part != slice(None) for part in fixed):
        x = x[tuple(fixed)]
    return x


BY_NAME = {
    "Reshape": _reshape,
    "BroadcastTo": _broadcast,
    "Tile": _tile,
    "Slice": _slice,
    "GetItem": _get_item,
}
