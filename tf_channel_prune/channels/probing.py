"""Finds out by trying how an operation without a rule treats channels.

The operation runs on random arrays, with some channels of an input changed:
which outputs move (`moves.py`)? What is found is used only where it holds in
trials with dead channels (`trials.py`), at inference and in training.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from tf_channel_prune.channels import moves
from tf_channel_prune.channels.labels import FIXED
from tf_channel_prune.channels.moves import NotFound
from tf_channel_prune.channels.scope import Scope
from tf_channel_prune.channels.trials import Follows
from tf_channel_prune.channels.trials import Source
from tf_channel_prune.channels.trials import Trials
from tf_channel_prune.channels.trials import joined
from tf_channel_prune.errors import what_it_says
from tf_channel_prune.graph.structure import Node
from tf_channel_prune.graph.structure import TensorRef
from tf_channel_prune.graph.structure import map_arguments
from tf_channel_prune.graph.tryout import Tryout

UNKNOWN_SIZE = 5
# Numbers that each channel has at least, over all samples of a batch.
ENTRIES = 48
# Elements of all inputs together; more would make reading a model slow.
LARGEST = 2**22


@dataclasses.dataclass(frozen=True)
class Pattern:
    """How outputs depend on the labelled axes of the inputs.

    Attributes:
        follows: Where each labelled axis of an input shows in the outputs.
        dead: By output position, what a masked channel holds; None if that
            is not known.
        random: Whether it draws random numbers in training.
    """

    follows: Follows
    dead: list[float | None]
    random: bool

    @property
    def text(self) -> str:
        """What the channels do, for people."""
        indices = [v for pairs in self.follows.values() for _, v in pairs]
        alone = all((v == np.arange(v.size)).all() for v in indices)
        text = "each channel by itself" if alone else "channels move"
        return f"{text}, at random in training" if self.random else text


def probe(node: Node, scope: Scope) -> str | None:
    """Labels a node by trying it; gives the reason where that fails.

    Calls that do the same to inputs of the same shapes are tried once.
    """
    inputs = list(dict.fromkeys(node.inputs))
    key = _key(node, scope, inputs)
    found = scope.tried.get(key)
    if found is None:
        found = _tried(node, scope, inputs)
        if key is not None:
            scope.tried[key] = found
    if isinstance(found, str):
        return found
    _apply(node, scope, inputs, found)
    return None


def _tried(node, scope, inputs) -> Pattern | str:
    if node.weights:
        return "it has weights of its own"
    try:
        return _Probe(node, scope, inputs).pattern()
    except NotFound as reason:
        return str(reason)
    except Exception as error:  # any user code may run here
        return f"it does not run on random arrays ({what_it_says(error)})"


def _key(node, scope, inputs) -> tuple | None:
    """Equal for calls that do the same; None where that cannot be told."""

    def numbered(value):
        if isinstance(value, TensorRef):
            return f"input {inputs.index(value.index)}"
        return value

    try:
        config = {k: v for k, v in node.config.items() if k != "name"}
    except Exception:  # any user code may run here
        return None
    text = repr((config, map_arguments(numbered, (node.args, node.kwargs))))
    if " at 0x" in text:  # an object that only its address tells apart
        return None
    function = getattr(node.operation, "function", None)
    tensors = [scope.graph.tensors[number] for number in inputs]
    return (
        *(node.kinds, type(node.operation), bool(node.weights), text),
        # Two functions of the same code may still mean other globals.
        id(getattr(function, "__code__", function)),
        id(getattr(function, "__globals__", None)),
        tuple((tensor.shape, tensor.dtype) for tensor in tensors),
        tuple(scope.tensors[number].dead for number in inputs),
        tuple(
            (source.place, source.axis, source.vector.tobytes())
            for source in _sources(scope, inputs)
        ),
    )


def _sources(scope, inputs) -> list[Source]:
    """The labelled axes of the inputs, labels numbered among themselves."""
    axes = [
        (place, axis, vector)
        for place, number in enumerate(inputs)
        for axis, vector in scope.tensors[number].axes.items()
    ]
    known = np.unique(np.concatenate([[FIXED], *(v for *_, v in axes)]))
    return [
        Source(place, axis, np.searchsorted(known, vector))
        for place, axis, vector in axes
    ]


def _apply(node, scope, inputs, pattern):
    """Labels the outputs as it was found."""
    axes: dict[int, dict] = {p: {} for p in range(len(node.outputs))}
    for (position, axis), pairs in pattern.follows.items():
        vectors = [
            scope.tensors[inputs[source.place]].axes[source.axis]
            for source, _ in pairs
        ]
        axes[position][axis] = joined(
            scope.space, pairs, vectors, f"{node.name} ties it"
        )
    for position, level in enumerate(pattern.dead):
        scope.output(node, axes[position], level == 0, position)
        number = node.outputs[position]
        scope.tensors[number] = dataclasses.replace(
            scope.tensors[number], fill=level
        )
    scope.probed.append((node, pattern.text))


class _Probe:
    """What is found of one node."""

    def __init__(self, node, scope, inputs):
        self.node = node
        self.graph = scope.graph
        self.inputs = inputs
        self.sources = _sources(scope, inputs)
        self.levels = {n: scope.tensors[n].dead for n in inputs}
        self.batch = self._batch()

    def pattern(self) -> Pattern:
        whole = Tryout(self.graph, self.node, self.arrays(0))
        if whole.adds_loss:
            raise NotFound("it adds to the loss")
        modes = (False, True) if self.node.is_layer else (False,)
        random = self._randomness(whole, modes)
        found, again = (self._follows(whole, modes[i]) for i in (0, -1))
        if not _equal(found, again):
            raise NotFound("training moves its channels in another way")
        if not found:
            raise NotFound("its outputs do not depend on single channels")
        trials = Trials(
            lambda arrays: Tryout(self.graph, self.node, arrays),
            whole,
            self.inputs,
            self.sources,
            found,
            self.levels,
        )
        dead = trials.run(self.arrays, {m: random and m for m in modes})
        return Pattern(found, dead, random)

    def _shape(self, number) -> list:
        tensor = self.graph.tensors[number]
        return [UNKNOWN_SIZE if s is None else s for s in tensor.shape]

    def _batch(self) -> int:
        """Samples enough that every channel has `ENTRIES` numbers."""
        most = 2
        for source in self.sources:
            elements = np.prod(self._shape(self.inputs[source.place])[1:])
            each = elements / source.vector.size
            most = max(most, int(np.ceil(ENTRIES / each)))
        return most

    def arrays(self, seed) -> dict[int, np.ndarray]:
        """Random inputs by tensor number."""
        rng = np.random.default_rng(seed)
        arrays, total = {}, 0
        for number in self.inputs:
            tensor, shape = self.graph.tensors[number], self._shape(number)
            if tensor.shape and tensor.shape[0] is None:
                shape[0] = self.batch
            total += np.prod(shape)
            if total > LARGEST:
                raise NotFound("its inputs are too large to try it")
            arrays[number] = moves.draw(rng, tuple(shape), tensor.dtype)
        return arrays

    def _randomness(self, whole, modes) -> bool:
        """Whether training draws random numbers; inference must not."""
        arrays = self.arrays(1)
        random = False
        for training in modes:
            first, again, other = (
                whole.run(arrays, training, seed) for seed in (0, 0, 1)
            )
            if any(y.ndim < 2 or len(y) != self.batch for y in first):
                raise NotFound("it gives something without a batch axis")
            random = moves.differ(first, other)
            if moves.differ(first, again) or (random and not training):
                raise NotFound("its outputs are random")
        return random

    def _follows(self, whole, training) -> Follows:
        """Reads off which outputs move when channels are changed."""
        arrays = self.arrays(2)
        before = whole.run(arrays, training)
        found: Follows = {}
        for source in self.sources:
            runs = self._runs(whole, training, source, arrays, before)
            for position in range(len(before)):
                pairs = [[one[position] for one in pair] for pair in runs]
                one = moves.follows(pairs, source.vector.size)
                if one is not None:
                    key = position, one[0]
                    found.setdefault(key, []).append((source, one[1]))
        return found

    def _runs(self, whole, training, source, arrays, before) -> list:
        """Per pair of halves, run and output: where in a sample it moved."""
        number = self.inputs[source.place]
        rng = np.random.default_rng(3)

        def run(chosen):
            array = moves.redrawn(arrays[number], source.axis, chosen, rng)
            after = whole.run({**arrays, number: array}, training)
            return [
                moves.moved(a, b).any(axis=0, keepdims=True)
                for a, b in zip(before, after)
            ]

        halves = moves.halves(source.vector.size)
        return [[run(half) for half in pair] for pair in halves]


def _equal(first: Follows, second: Follows) -> bool:
    return first.keys() == second.keys() and all(
        [source for source, _ in pairs] == [source for source, _ in second[key]]
        and all((a[1] == b[1]).all() for a, b in zip(pairs, second[key]))
        for key, pairs in first.items()
    )
