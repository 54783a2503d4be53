"""What a rule sees: the labels so far, and the weight axes it may tie."""

from __future__ import annotations

import copy
import dataclasses

import numpy as np

from tf_channel_prune.channels.labels import FIXED
from tf_channel_prune.channels.labels import Labels
from tf_channel_prune.channels.labels import LabelSpace
from tf_channel_prune.graph.structure import Graph
from tf_channel_prune.graph.structure import Node
from tf_channel_prune.graph.structure import Weight


@dataclasses.dataclass(frozen=True)
class Watched:
    """Which input axes of an operation its masked form must know."""

    form: str
    axes: dict[int, np.ndarray]


class Scope:
    """The state of one walk over a graph.

    Attributes:
        graph: The graph being walked.
        space: Where labels come from, are united and frozen.
        tensors: Labels of every tensor so far, by tensor number.
        weights: Labels of weight axes, by `(weight key, axis)`.
        producers: `(labels, node, role)` of every fresh vector, in order.
        least: `(labels, count)` where fewer channels than that would break a
            layer.
        avoided: `(labels, count)` where exactly that many would break one.
        fillers: `(labels, node)` of positions that no layer makes: constants,
            the channels of a padding.
        left_whole: `(node, reason)` of every node without understanding.
        whole: `id(node)` of the same nodes: no rule treats them.
        probed: `(node, pattern)` of every node that was tried out.
        tried: What trials have said so far; see `probing.py`.
        inner: The scope inside a wrapper, by `id(node)`.
        watched: What a masked form must know, by `id(node.operation)`.
    """

    def __init__(self, graph: Graph):
        self.graph = graph
        self.space = LabelSpace()
        self.tensors: dict[int, Labels] = {}
        self.weights: dict[tuple[int, int], np.ndarray] = {}
        self.producers: list[tuple[np.ndarray, Node, str]] = []
        self.least: list[tuple[np.ndarray, int]] = []
        self.avoided: list[tuple[np.ndarray, int]] = []
        self.fillers: list[tuple[np.ndarray, Node]] = []
        self.left_whole: list[tuple[Node, str]] = []
        self.whole: set[int] = set()
        self.probed: list[tuple[Node, str]] = []
        self.tried: dict[tuple, object] = {}
        self.inner: dict[int, Scope] = {}
        self.watched: dict[int, Watched] = {}
        self._tied: dict[tuple[int, str], Labels] = {}

    def inside(self, graph: Graph) -> Scope:
        """A scope for a graph of its own that shares all but the tensors."""
        inner = copy.copy(self)
        inner.graph = graph
        inner.tensors = {}
        return inner

    def input(self, node: Node, position: int = 0) -> Labels:
        """Labels of the node's input number `position`."""
        return self.tensors[node.inputs[position]]

    def shape(self, node: Node, position: int = 0) -> tuple:
        """Shape of the node's output number `position`."""
        return self.graph.tensors[node.outputs[position]].shape

    def output(self, node: Node, axes=None, zero=True, position=0, origin=""):
        """Sets the labels of the node's output number `position`.

        An axis whose vector is None is fixed.
        """
        axes = {a: v for a, v in (axes or {}).items() if v is not None}
        self.tensors[node.outputs[position]] = Labels(
            self.shape(node, position), axes, zero, origin
        )

    def put(self, node: Node, labels: Labels, position=0) -> None:
        """Sets the labels of the node's output number `position`."""
        self.tensors[node.outputs[position]] = dataclasses.replace(
            labels, shape=self.shape(node, position)
        )

    def passes(self, node: Node, labels: Labels, zero=True, position=0):
        """The output has its input's labels (the shapes' ranks are equal)."""
        self.output(
            node, labels.axes, labels.zero and zero, position, labels.origin
        )

    def fresh(
        self, node: Node, size: int, fixed: str | None = None, role: str = ""
    ):
        """New labels for channels that `node` makes; None where there is one.

        A single channel can never go, so it has no label. `role` tells the
        channels of a node apart that makes several kinds of them.
        """
        if size is None or size < 2:
            return None
        vector = self.space.fresh(size)
        self.producers.append((vector, node, role))
        if fixed is not None:
            self.space.freeze(vector, fixed)
        return vector

    def filler(self, node: Node, size: int) -> np.ndarray:
        """New labels for positions that no layer makes.

        They can go along with the channels that they meet.
        """
        vector = self.space.fresh(size)
        self.fillers.append((vector, node))
        return vector

    def carry(self, node: Node, weight: str | Weight, axis: int, vector):
        """A weight's axis carries these labels (None: it is fixed).

        Gives the labels that the axis has, which on a shared weight are the
        first call's, united with these.
        """
        if isinstance(weight, str):
            weight = node.weight(weight)
        if weight is None:
            return vector
        axis %= len(weight.shape)
        key = (weight.key, axis)
        if key in self.weights:
            known = self.weights[key]
            self.space.unite(
                known, vector, f"{node.name} shares its {weight.name}"
            )
            if known is None or vector is None:
                self.weights[key] = None
            return self.weights[key]
        if vector is not None and vector.size != weight.shape[axis]:
            raise ValueError(
                f"{node.name}: {vector.size} labels for axis {axis} of "
                f"{weight.name} with shape {weight.shape}"
            )
        self.weights[key] = vector
        return vector

    def made(
        self,
        node: Node,
        weight: str | Weight,
        axis: int,
        why: str | None = None,
        role: str = "",
    ):
        """The labels of the channels that a weight's axis makes.

        Fresh at the first call of the layer, the same at every other.
        """
        if isinstance(weight, str):
            weight = node.weight(weight)
        axis %= len(weight.shape)
        if (weight.key, axis) not in self.weights:
            self.weights[weight.key, axis] = self.fresh(
                node, weight.shape[axis], why, role
            )
        return self.weights[weight.key, axis]

    def keep(self, vector, count: int) -> None:
        """At least `count` channels of each group in a vector stay."""
        if vector is not None:
            self.least.append((vector, count))

    def biased(self, bias: Weight | None, vector) -> None:
        """At least two channels stay along the last of a bias's axes.

        With one, a bias of shape (heads, width) becomes one that Keras may
        add along another axis; see `added_along`.
        """
        if bias is not None and len(bias.shape) > 1:
            self.keep(vector, 2)

    def added_along(self, node: Node, vector, shape, axis: int) -> None:
        """A bias is as long as `vector`, and stays where it is added.

        Keras adds biases with `ops.add`, which on TensorFlow takes one with a
        single axis longer than 1, such as (1, channels, 1, 1) or (heads, 1),
        for a vector. It adds that along the last axis if that is as long, else
        along axis 1 if that is as long (`tf.nn.bias_add`). Lengths that the
        model leaves open cannot be avoided here.

        Args:
            node: The layer that adds it.
            vector: The labels along the bias's one axis.
            shape: Of the tensor that it is added to.
            axis: The axis of that tensor that it belongs to.
        """
        last = len(shape) - 1
        graph = self.graph
        by_length = graph.flavour == "keras" and graph.backend == "tensorflow"
        if vector is None or axis == last or not by_length:
            return
        for length in {shape[other] for other in (1, last) if other != axis}:
            if length == vector.size:
                why = f"{node.name} adds its bias along an axis as long as it"
                self.space.freeze(vector, why)
            elif length is not None and 1 < length < vector.size:
                self.avoided.append((vector, length))

    def tie(self, node: Node, what: str, labels: Labels) -> None:
        """Unites `labels` over all calls of one operation.

        For operations whose config speaks of sizes (a Reshape layer that is
        called twice has one target shape).
        """
        key = (id(node.operation), what)
        first = self._tied.setdefault(key, labels)
        if first is labels:
            return
        self._unite_axes(first, labels, f"{node.name} is shared")

    def meet(self, first: int, second: int, reason: str) -> None:
        """Unites the labels of two tensors that stand for the same thing."""
        self._unite_axes(self.tensors[first], self.tensors[second], reason)

    def _unite_axes(self, first: Labels, second: Labels, reason: str):
        for axis in sorted(first.axes.keys() | second.axes.keys()):
            one, two = first.axes.get(axis), second.axes.get(axis)
            if one is not None and two is not None and one.size != two.size:
                self.space.freeze(one, reason)
                self.space.freeze(two, reason)
            else:
                self.space.unite(one, two, reason)

    def watch(self, node: Node, form: str, axes: dict[int, np.ndarray]):
        """The sparse model computes the node over living positions only.

        Args:
            node: An operation that mixes positions along prunable axes
                without weights (a mean over channels).
            form: The name of the masked form; see `masking/forms.py`.
            axes: The label vector of each of those axes of its first input.
        """
        self.tie(node, "watched", Labels(self.input(node).shape, axes))
        self.watched.setdefault(id(node.operation), Watched(form, axes))

    def freeze(self, node: Node, reason: str) -> None:
        """The node stays whole: nothing that touches it can be removed."""
        for number in dict.fromkeys(node.inputs):
            for vector in self.tensors[number].axes.values():
                self.space.freeze(vector, reason)
        for position in range(len(node.outputs)):
            shape = self.shape(node, position)
            axes = {}
            if len(shape) > 1:
                # Frozen labels, so that what they join names this reason.
                vector = self.fresh(node, shape[-1], reason)
                if vector is not None:
                    axes[len(shape) - 1] = vector
            self.output(
                node, axes, False, position=position, origin=f"{node.name!r}"
            )
        self.left_whole.append((node, reason))
        self.whole.add(id(node))
        for weight in node.weights:
            for axis in range(len(weight.shape)):
                self.carry(node, weight, axis, None)


def is_fixed(vector) -> bool:
    """Whether no position of an axis can be removed."""
    return vector is None or not (vector != FIXED).any()
