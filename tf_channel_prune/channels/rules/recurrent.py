"""Recurrent layers: a unit is a column of every gate and a row of the state.

Kernel (inputs, gates x units), recurrent kernel (units, gates x units), bias
(gates x units). A masked unit has zeros in all of them, so its gates stand at
`f(0)` and its state stays at zero if it starts there; the rows of the recurrent
kernel are masked too, so it does not matter to the others if it does not.
"""

from __future__ import annotations

import copy

import numpy as np

from tf_channel_prune.channels.rules.activations import ELEMENTWISE
from tf_channel_prune.channels.rules.activations import ZERO_STAYS
from tf_channel_prune.channels.rules.activations import activation_name
from tf_channel_prune.channels.rules.base import Change
from tf_channel_prune.channels.rules.base import Product
from tf_channel_prune.channels.rules.base import Rule
from tf_channel_prune.channels.rules.base import register
from tf_channel_prune.channels.rules.base import sizes
from tf_channel_prune.channels.rules.convolutions import channel_axis
from tf_channel_prune.graph.kinds import kinds_of
from tf_channel_prune.graph.structure import TensorRef
from tf_channel_prune.graph.structure import leaves

GATES = {
    "LSTM": 4,
    "GRU": 3,
    "SimpleRNN": 1,
    "ConvLSTM1D": 4,
    "ConvLSTM2D": 4,
    "ConvLSTM3D": 4,
}
# Those over vectors.
_IN_SEQUENCE = ("LSTM", "GRU", "SimpleRNN")
CELLS = {"LSTMCell": "LSTM", "GRUCell": "GRU", "SimpleRNNCell": "SimpleRNN"}


def kind_of(layer, known) -> str | None:
    """The most specific kind of a layer, or a cell, that is in `known`.

    Its config has a bare name, which a class of the user's may share.
    """
    return next((k for k in kinds_of(type(layer)) if k in known), None)


def runs_plain_cells(layer) -> bool:
    """Whether a layer runs cells of Keras' own, each once at every step."""
    kinds = {*kinds_of(type(layer))}
    if "Bidirectional" in kinds:
        both = (layer.forward_layer, layer.backward_layer)
        return all(map(runs_plain_cells, both))
    if kinds & {"RNN", *GATES}:
        return runs_plain_cells(layer.cell)
    if "StackedRNNCells" in kinds:
        once = len({*map(id, layer.cells)}) == len(layer.cells)
        return once and all(map(runs_plain_cells, layer.cells))
    return not kinds.isdisjoint(CELLS)


class _Cell:
    """The weights of one cell of a node, found by the end of their names.

    Args:
        node: The layer's call.
        kind: The layer's kind, one of `GATES`.
        layer: The layer, or the cell.
        config: Its config.
        start: What the names of its weights begin with.
    """

    def __init__(self, node, kind: str, layer, config: dict, start: str = ""):
        self.node = node
        self.layer = layer
        self.gates = GATES[kind]
        self.config = config
        mine = [w for w in node.weights if w.name.startswith(start)]
        named = {w.name.rsplit("/", 1)[-1]: w for w in mine}
        self.kernel = named["kernel"]
        self.recurrent = named["recurrent_kernel"]
        self.bias = named.get("bias")

    def label(self, scope, incoming, role="") -> np.ndarray | None:
        """Ties all weights; gives the labels of the units."""
        scope.carry(self.node, self.kernel, -2, incoming)
        vector = scope.made(self.node, self.recurrent, -2, role=role)
        gates = None if vector is None else np.tile(vector, self.gates)
        scope.carry(self.node, self.recurrent, -1, gates)
        scope.carry(self.node, self.kernel, -1, gates)
        scope.carry(self.node, self.bias, -1, gates)
        return vector

    def mixing(self, scope) -> str | None:
        """The activation that is not one element at a time, if any."""
        for key in ("activation", "recurrent_activation"):
            name = self._activation(scope, key)
            if name not in ELEMENTWISE:
                return name
        return None

    def zero(self, scope) -> bool:
        """Whether a masked unit that starts at zero stays there."""
        return self._activation(scope, "activation") in ZERO_STAYS

    def _activation(self, scope, key) -> str:
        return activation_name(scope, self.layer, self.config, key)

    def work(self, node, window_axes) -> list[Product]:
        """Both products, at every step."""
        steps = sizes("tensor", node.inputs[0], (1,)) + window_axes
        products = []
        for weight in (self.kernel, self.recurrent):
            rank = len(weight.shape)
            window = float(np.prod(weight.shape[: rank - 2]))
            axes = sizes("weight", weight.key, (rank - 2, rank - 1))
            products.append(Product(window, steps + axes))
        return products


class _RecurrentRule(Rule):
    """What all layers over a sequence share."""

    def incoming(self, node, scope, axis):
        """The channels that come in; steps and positions are frozen."""
        labels = scope.input(node)
        for vector in labels.without(axis).values():
            scope.space.freeze(vector, f"{node.name} steps or slides along it")
        return labels.axis(axis)

    def states(self, node, scope):
        """Labels of the initial states that the call is given.

        tf_keras records them behind the sequence, in one list.
        """
        _sequence, *rest = leaves(node.argument(0, "sequence"))
        given = rest or leaves(node.argument(1, "initial_state"))
        return [
            scope.tensors[t.index] for t in given if isinstance(t, TensorRef)
        ]

    def start(self, node, scope, vector, states, axis) -> bool:
        """Ties initial states to the units; tells whether all are zero."""
        for labels in states:
            for other in labels.without(axis).values():
                scope.space.freeze(other, f"{node.name} starts from it")
            why = f"{node.name} starts from it"
            if labels.origin:
                why += f", beside {labels.origin}"
            scope.space.unite(vector, labels.axis(axis), why)
        return all(labels.zero for labels in states)

    def _cell(self, node):
        kind = node.kind_in(GATES)
        return _Cell(node, kind, node.operation, node.config)

    def multiply_adds_if_whole(self, node, graph):
        """Every kernel, at every step, where all cells are Keras' own."""
        if not runs_plain_cells(node.operation):
            return None
        steps = sizes("tensor", node.inputs[0], (1,))
        return [
            Product(1.0, steps + sizes("weight", weight.key, (0, 1)))
            for weight in node.weights
            if weight.name.endswith("kernel")
        ]

    def freeze_mixing(self, node, scope, cell, vector):
        mixing = cell.mixing(scope)
        if mixing is not None:
            scope.space.freeze(
                vector, f"{node.name} applies {mixing!r} over its units"
            )


@register("LSTM", "GRU", "SimpleRNN")
class RecurrentRule(_RecurrentRule):
    """Outputs: the sequence or the last step, then the states."""

    def label(self, node, scope):
        cell = self._cell(node)
        vector = cell.label(scope, self.incoming(node, scope, -1))
        states = self.states(node, scope)
        zero = self.start(node, scope, vector, states, -1) and cell.zero(scope)
        self.freeze_mixing(node, scope, cell, vector)
        for position in range(len(node.outputs)):
            last = len(scope.shape(node, position)) - 1
            axes = {} if vector is None else {last: vector}
            scope.output(node, axes, zero, position)

    def slim(self, node, kept):
        name = self._cell(node).recurrent.name
        return Change({"units": kept.weight(node, name, 0)})

    def multiply_adds(self, node, graph):
        return self._cell(node).work(node, ())


@register("RNN")
class CellRule(RecurrentRule):
    """`RNN(cell)` over one of Keras' own cells; others stay whole."""

    def label(self, node, scope):
        cell = node.operation.cell
        if kind_of(cell, CELLS) is None:
            kind = type(cell).__name__
            scope.freeze(node, f"{node.name} runs a {kind}, which has no rule")
            return
        super().label(node, scope)

    def _cell(self, node):
        cell = node.operation.cell
        kind = CELLS[kind_of(cell, CELLS)]
        return _Cell(node, kind, cell, node.config["cell"]["config"])

    def slim(self, node, kept):
        cell = copy.deepcopy(node.config["cell"])
        cell["config"].update(super().slim(node, kept).config)
        return Change({"cell": cell})


@register("ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D")
class ConvLSTMRule(_RecurrentRule):
    """Filters are the units; positions slide."""

    def label(self, node, scope):
        cell = self._cell(node)
        rank = len(scope.input(node).shape)
        # The steps stand before the positions of a convolution.
        first = node.config.get("data_format") == "channels_first"
        axis = 2 if first else rank - 1
        vector = cell.label(scope, self.incoming(node, scope, axis))
        states = self.states(node, scope)
        axis = channel_axis(node, rank - 1)
        starts = self.start(node, scope, vector, states, axis)
        zero = starts and cell.zero(scope)
        self.freeze_mixing(node, scope, cell, vector)
        for position in range(len(node.outputs)):
            sequence = len(scope.shape(node, position)) == rank
            axes = {} if vector is None else {axis + sequence: vector}
            scope.output(node, axes, zero, position)

    def slim(self, node, kept):
        name = self._cell(node).recurrent.name
        return Change({"filters": kept.weight(node, name, -2)})

    def multiply_adds(self, node, graph):
        rank = len(graph.tensors[node.inputs[0]].shape) - 1
        output = node.outputs[0]
        channels = channel_axis(node, rank)
        shift = len(graph.tensors[output].shape) - rank
        positions = [a + shift for a in range(1, rank) if a != channels]
        cell = self._cell(node)
        return cell.work(node, sizes("tensor", output, positions))


@register("Bidirectional")
class BidirectionalRule(_RecurrentRule):
    """Two layers over one sequence; both keep as many units.

    Keras takes the second to be as wide as the first, so units of the same
    position go together.
    """

    def label(self, node, scope):
        for layer in self._layers(node):
            if kind_of(layer, _IN_SEQUENCE) is None:
                kind = type(layer).__name__
                why = f"{node.name} wraps a {kind}, which has no rule"
                scope.freeze(node, why)
                return
        incoming = self.incoming(node, scope, -1)
        states = self.states(node, scope)
        half = len(states) // 2
        vectors, zeros = [], []
        for cell, own in zip(self._cells(node), (states[:half], states[half:])):
            vector = cell.label(scope, incoming)
            zeros.append(self.start(node, scope, vector, own, -1))
            zeros[-1] = zeros[-1] and cell.zero(scope)
            self.freeze_mixing(node, scope, cell, vector)
            vectors.append(vector)
        scope.space.unite(*vectors, f"{node.name} pairs its two directions")
        self._outputs(node, scope, vectors, all(zeros))

    def _outputs(self, node, scope, vectors, zero):
        """The merged output (or both), then the states of both."""
        mode = node.config["merge_mode"]
        merged = vectors if mode is None else [vectors[0]]
        if mode == "concat" and vectors[0] is not None:
            merged = [np.concatenate(vectors)]
        states = len(node.outputs) - len(merged)
        merged += [v for v in vectors for _ in range(states // 2)]
        for position, vector in enumerate(merged):
            last = len(scope.shape(node, position)) - 1
            axes = {} if vector is None else {last: vector}
            scope.output(node, axes, zero, position)

    def _layers(self, node):
        return node.operation.forward_layer, node.operation.backward_layer

    def _parts(self, node):
        """Config keys of the two layers; the second may be left out."""
        keys = ("layer", "backward_layer")
        return [key for key in keys if node.config.get(key) is not None]

    def _cells(self, node):
        starts = []
        for weight in node.weights:
            start = weight.name.split("/")[0] + "/"
            if start not in starts:
                starts.append(start)
        config = node.config
        backward = config.get("backward_layer") or config["layer"]
        return [
            _Cell(node, kind_of(layer, GATES), layer, part["config"], start)
            for part, layer, start in zip(
                (config["layer"], backward), self._layers(node), starts
            )
        ]

    def slim(self, node, kept):
        config = {}
        for key, cell in zip(self._parts(node), self._cells(node)):
            config[key] = copy.deepcopy(node.config[key])
            units = kept.weight(node, cell.recurrent.name, 0)
            config[key]["config"]["units"] = units
        return Change(config)

    def multiply_adds(self, node, graph):
        return [p for cell in self._cells(node) for p in cell.work(node, ())]
