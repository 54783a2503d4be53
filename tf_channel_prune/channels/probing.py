"""Finds out by trying how an operation without a rule treats channels.

The operation runs on random arrays, with some channels of an input changed:
which outputs move? Channels are told apart by the bits of their numbers: all
those with a bit set are changed together, then all those without it. An
output that depends on one channel only moves in exactly one run of each such
pair, and these spell the channel's number; one that moves in both runs of a
pair depends on several channels.

What is found is used only if a copy of the operation, made for fewer
channels, gives the same outputs without those that are gone.
"""

from __future__ import annotations

import dataclasses
import re

import numpy as np

from tf_channel_prune.channels.labels import FIXED
from tf_channel_prune.channels.moves import Classes
from tf_channel_prune.channels.moves import Moves
from tf_channel_prune.channels.moves import NotFound
from tf_channel_prune.channels.moves import Source
from tf_channel_prune.channels.moves import draw
from tf_channel_prune.channels.moves import moved
from tf_channel_prune.channels.moves import redraw
from tf_channel_prune.channels.scope import Scope
from tf_channel_prune.graph.structure import Node

DRAWS = 3
BATCH = 3
UNKNOWN_SIZE = 5
# Elements of all inputs together; more would make reading a model slow.
LARGEST = 2**24


@dataclasses.dataclass
class Found:
    """How outputs depend on the labelled axes of the inputs.

    Attributes:
        follows: By `(output position, output axis)`: pairs of a source and,
            for each position of the axis, the position of the source that it
            depends on, -1 for none.
        zero: Whether a masked channel is zero in the outputs.
        note: What training does otherwise; empty for nothing.
    """

    follows: dict[tuple[int, int], list[tuple[Source, np.ndarray]]]
    zero: bool
    note: str = ""

    @property
    def pattern(self) -> str:
        """What the channels do, for people."""
        moves = [
            vector
            for pairs in self.follows.values()
            for source, vector in pairs
            if not source.weight
        ]
        if all((v == np.arange(v.size)).all() for v in moves):
            text = "each channel by itself"
        else:
            text = "channels move"
        return f"{text}; {self.note}" if self.note else text


def probe(node: Node, scope: Scope) -> str | None:
    """Labels a node by trying it; gives the reason where that fails."""
    try:
        found = _Probe(node, scope).found()
    except NotFound as reason:
        return str(reason)
    except Exception as error:  # any user code may run here
        return f"it does not run on random arrays ({_first_line(error)})"
    _apply(node, scope, found)
    return None


def _first_line(error) -> str:
    """What an error says, without colours and without what Keras adds."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
    lines = [line for line in text.splitlines() if line.strip()]
    if len(lines) > 1 and lines[0].startswith("Exception encountered"):
        lines = lines[1:]
    return lines[0].strip() if lines else type(error).__name__


def _apply(node, scope, found):
    """Labels outputs and weights as it was found."""
    axes: dict[int, dict] = {p: {} for p in range(len(node.outputs))}
    for (position, axis), pairs in found.follows.items():
        vector = None
        for source, index in pairs:
            if source.weight:
                continue
            own = scope.tensors[source.number].axes[source.axis]
            labels = np.where(index < 0, FIXED, own[index])
            if vector is None:
                vector = labels
            else:
                scope.space.unite(vector, labels, f"{node.name} ties it")
        axes[position][axis] = vector
        for source, index in pairs:
            if source.weight:
                carried = np.empty(source.size, int)
                carried[index] = vector
                scope.carry(node, source.name, source.axis, carried)
    for weight in node.weights:
        for axis in range(len(weight.shape)):
            if (weight.key, axis) not in scope.weights:
                scope.carry(node, weight, axis, None)
    for position, vectors in axes.items():
        scope.output(node, vectors, found.zero, position)
    scope.probed.append((node, found.pattern))


class _Probe:
    """The tries of one node."""

    def __init__(self, node, scope):
        self.node = node
        self.scope = scope
        self.inputs = list(dict.fromkeys(node.inputs))
        self.moves: Moves | None = None
        self.sources = [
            Source(number, axis, vector.size)
            for number in self.inputs
            for axis, vector in scope.tensors[number].axes.items()
        ]

    def found(self) -> Found:
        arrays = self._random(0)
        self.copy = self.node.tryout(arrays)
        if set(self.copy.names) != {w.name for w in self.node.weights}:
            raise NotFound("a copy of it has other weights")
        self.sources += self._weight_axes()
        for seed in range(DRAWS):
            self._try(seed)
        follows = self._follows()
        if not follows:
            raise NotFound("its outputs do not depend on single channels")
        classes = Classes(follows, self.sources, self._labels)
        for seed in range(DRAWS):
            self._verify(follows, classes, seed)
        return Found(follows, self._zero(follows, classes), self._training())

    def _random(self, seed) -> dict[int, np.ndarray]:
        rng = np.random.default_rng(seed)
        arrays = {}
        for number in self.inputs:
            tensor = self.scope.graph.tensors[number]
            shape = [UNKNOWN_SIZE if s is None else s for s in tensor.shape]
            if tensor.shape and tensor.shape[0] is None:
                shape[0] = BATCH
            arrays[number] = draw(rng, tuple(shape), tensor.dtype)
        if sum(a.size for a in arrays.values()) > LARGEST:
            raise NotFound("its inputs are too large to try it")
        return arrays

    def _weight_axes(self) -> list[Source]:
        """Axes of weights that are as long as a labelled axis."""
        sizes = {source.size for source in self.sources}
        return [
            Source(position, axis, size, self.copy.names[position])
            for position, weight in enumerate(self.copy.weights)
            for axis, size in enumerate(weight.shape)
            if size in sizes and np.issubdtype(weight.dtype, np.floating)
        ]

    def _try(self, seed):
        """Moves the positions of every source, half of them at a time."""
        rng = np.random.default_rng(seed + 100)
        arrays = self._random(seed)
        weights = self.copy.weights
        before = self.copy.run(arrays)
        if any(y.ndim < 2 for y in before):
            raise NotFound("it gives something without a batch axis")
        again = self.copy.run(arrays)
        if any(moved(a, b).any() for a, b in zip(before, again)):
            raise NotFound("its outputs are random")
        if self.moves is None:
            self.moves = Moves([y.shape for y in before])
        for source in self.sources:
            for bit, value, chosen in Moves.halves(source.size):
                after = self._changed(source, chosen, arrays, weights, rng)
                self.moves.note(source, bit, value, before, after)

    def _changed(self, source, chosen, arrays, weights, rng):
        if source.weight:
            changed = [w.copy() for w in weights]
            redraw(changed[source.number], source.axis, chosen, rng)
            self.copy.weights = changed
            after = self.copy.run(arrays)
            self.copy.weights = weights
            return after
        changed = {**arrays, source.number: arrays[source.number].copy()}
        redraw(changed[source.number], source.axis, chosen, rng)
        return self.copy.run(changed)

    def _follows(self):
        """Reads the positions off the runs in which outputs moved."""
        follows: dict[tuple[int, int], list] = {}
        for source in self.sources:
            for position in range(len(self.moves.shapes)):
                try:
                    found = self.moves.follows(source, position)
                except NotFound:
                    if source.weight:
                        continue  # channels share it: it stays whole
                    raise
                if found is None:
                    continue
                axis, index = found
                if source.weight and (
                    sorted(index) != list(range(source.size))
                ):
                    continue
                follows.setdefault((position, axis), []).append((source, index))
        return {
            key: pairs
            for key, pairs in follows.items()
            if any(not source.weight for source, _ in pairs)
        }

    def _labels(self, source) -> np.ndarray | None:
        if source.weight:
            return None
        return self.scope.tensors[source.number].axes[source.axis]

    def _verify(self, follows, classes, seed):
        """Makes the operation for fewer channels and compares."""
        alive = classes.alive(seed)
        arrays = self._random(seed + 10)
        reduced = dict(arrays)
        weights = self.copy.weights
        slim_weights = list(weights)
        for source in self.sources:
            stays = classes.stays(source, alive)
            if stays is None:
                continue
            part = slim_weights if source.weight else reduced
            part[source.number] = np.compress(
                stays, part[source.number], axis=source.axis
            )
        try:
            slim = self.node.tryout(reduced)
            slim.weights = slim_weights
            found = slim.run(reduced)
            stated = slim.stated(reduced)
        except Exception as error:  # any user code may run here
            raise NotFound("it cannot be made for fewer channels") from error
        if stated != [y.shape for y in found]:
            raise NotFound("it states its output's shape as a constant")
        for position, y in enumerate(self.copy.run(arrays)):
            for (p, axis), pairs in follows.items():
                if p == position:
                    stays = classes.outputs(pairs, alive)
                    y = np.compress(stays, y, axis=axis)
            if y.shape != found[position].shape or not np.allclose(
                y, found[position], rtol=1e-4, atol=1e-5, equal_nan=True
            ):
                raise NotFound("made for fewer channels it computes otherwise")

    def _zero(self, follows, classes) -> bool:
        """Whether outputs of masked channels are zero, masks in place."""
        for seed in range(DRAWS):
            alive = classes.alive(seed)
            arrays = self._random(seed + 20)
            weights = self.copy.weights
            masked = [w.copy() for w in weights]
            for source in self.sources:
                stays = classes.stays(source, alive)
                if stays is None:
                    continue
                part = masked if source.weight else arrays
                np.moveaxis(part[source.number], source.axis, 0)[~stays] = 0
            self.copy.weights = masked
            outputs = self.copy.run(arrays)
            self.copy.weights = weights
            for (position, axis), pairs in follows.items():
                dead = ~classes.outputs(pairs, alive)
                if np.compress(dead, outputs[position], axis=axis).any():
                    return False
        numbers = {
            source.number for source in self.sources if not source.weight
        }
        return all(self.scope.tensors[number].zero for number in numbers)

    def _training(self) -> str:
        if not self.copy.takes_training:
            return ""
        arrays = self._random(0)
        before = self.copy.run(arrays, training=False)
        after = self.copy.run(arrays, training=True)
        if any(
            a.shape != b.shape or moved(a, b).any()
            for a, b in zip(before, after)
        ):
            return "it was tried at inference, and training differs"
        return ""
