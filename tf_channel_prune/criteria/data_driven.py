"""Criteria that look at data: gradients and activations."""

from __future__ import annotations

import numpy as np

from tf_channel_prune.channels import Channels
from tf_channel_prune.criteria.base import Criterion
from tf_channel_prune.criteria.slices import axis_sums
from tf_channel_prune.criteria.slices import coupled


class DataCriterion(Criterion):
    """A criterion that runs samples through the model.

    Args:
        samples: The most samples to use. Defaults to 512.
        seed: Of the choice of samples. Defaults to 0.
        reduction, normalisation: See `Criterion`.
    """

    normalisation = "none"
    uses_data = True

    def __init__(
        self,
        samples: int = 512,
        seed: int = 0,
        reduction=None,
        normalisation=None,
    ):
        super().__init__(reduction, normalisation)
        self.samples = samples
        self.seed = seed


class Taylor(DataCriterion):
    """Squared first-order change of the loss when a slice goes.

    `mean over samples of (sum over the slice of g * w) ** 2`: Molchanov et
    al., CVPR 2019, equation 8, with each sample's own gradient; of several
    slices the mean.
    """

    name = "taylor"
    reduction = "mean"

    def score(self, channels, data=None, loss=None):
        from tf_channel_prune.graph.gradients import gradients

        self.needs(data)
        numbers = {
            (s.weight.key, s.axis): channels.weight_units[s.weight.key, s.axis]
            + 1
            for _, slices in coupled(channels)
            for s in slices
            if self.counts(s)
        }
        found = gradients(
            channels.graph,
            data,
            loss,
            slices=numbers,
            samples=self.samples,
            seed=self.seed,
        )
        return self.of(channels, found.slices)

    def of(self, channels: Channels, slices: dict) -> np.ndarray:
        """Scores from the mean squares per `(weight key, axis)`.

        Args:
            channels: The labels of a model.
            slices: Per `(weight key, axis)`, one number per unit number plus
                1.
        """
        units = channels.weight_units

        def value(s):
            first = units[s.weight.key, s.axis][s.positions[:, 0]]
            return slices[s.weight.key, s.axis][first + 1]

        return self.reduced(channels, value)


class OBD(DataCriterion):
    """Half the diagonal Hessian times the squared weights, over a slice.

    Optimal Brain Damage (LeCun et al., NIPS 1989, equation 5); the diagonal
    is the mean over samples of each sample's squared gradient (the empirical
    Fisher information), one sample at a time.
    """

    name = "obd"
    reduction = "mean"

    def score(self, channels, data=None, loss=None):
        from tf_channel_prune.graph.gradients import gradients

        self.needs(data)
        keys = {
            s.weight.key: None
            for _, slices in coupled(channels)
            for s in slices
            if self.counts(s)
        }
        found = gradients(
            channels.graph,
            data,
            loss,
            squares=keys,
            samples=self.samples,
            seed=self.seed,
        )
        return self.of(channels, found.squares)

    def of(self, channels: Channels, squares: dict) -> np.ndarray:
        """Scores from the mean squared gradient of each weight, by key."""
        folded: dict[tuple[int, int], np.ndarray] = {}
        axes: dict[int, list[int]] = {}
        for key, axis in channels.weight_units:
            axes.setdefault(key, []).append(axis)

        def value(s):
            key = s.weight.key
            if (key, s.axis) not in folded:
                weights = s.weight.array.astype(np.float64)
                shares = 0.5 * squares[key] * np.square(weights)
                for axis, sums in axis_sums(shares, axes[key]):
                    folded[key, axis] = sums
            return folded[key, s.axis][s.positions].sum(axis=1)

        return self.reduced(channels, value)


class ActivationCriterion(DataCriterion):
    """A criterion on what the unit's consumers see."""

    reduction = "mean"
    statistic = ""

    def score(self, channels, data=None, loss=None):
        from tf_channel_prune.graph.activations import activations

        self.needs(data)
        axes = seen(channels)
        found = activations(
            channels.graph,
            data,
            axes,
            samples=self.samples,
            seed=self.seed,
        )
        return self.of(channels, getattr(found, self.statistic))

    def of(self, channels: Channels, values: dict) -> np.ndarray:
        """Scores from one number per position of `(tensor, axis)` pairs."""
        raise NotImplementedError


class ActivationMean(ActivationCriterion):
    """Mean absolute activation (Molchanov et al., ICLR 2017, section 2.2)."""

    name = "activation_mean"
    normalisation = "l2"
    statistic = "means"

    def of(self, channels, values):
        return _over_tensors(channels, values, self.reduction)


class APoZ(ActivationCriterion):
    """One minus the average percentage of zeros.

    Network Trimming (Hu et al., 2016, equation 1): a channel that is mostly
    zero after its activation matters little.
    """

    name = "apoz"
    statistic = "zeros"

    def of(self, channels, values):
        alive = {pair: 1.0 - value for pair, value in values.items()}
        return _over_tensors(channels, alive, self.reduction)


def seen(channels: Channels) -> list[tuple[int, int]]:
    """`(tensor, axis)` pairs where units end: their consumers' inputs.

    Behind a global pooling the tensor before it is meant, since zeros are
    gone after it.
    """
    pairs: dict[tuple[int, int], None] = {}
    for _, number, axis in ends(channels):
        pairs[_unpooled(channels, number, axis)] = None
    return list(pairs)


def ends(channels: Channels) -> list[tuple[int, int, int]]:
    """`(node, tensor, axis)` triples where prunable units end.

    A tensor ends a unit where a node takes it in and gives no output that
    carries it on.
    """
    graph = channels.graph
    labels = channels.scope.tensors
    carried = {
        number: {
            axis: channels.units(vector) for axis, vector in one.axes.items()
        }
        for number, one in labels.items()
    }
    prunable = np.zeros(channels.unit_count + 1, bool)
    for group in channels.prunable:
        prunable[group.units] = True
    found: dict[tuple[int, int, int], None] = {}
    for node in graph.nodes:
        onward = [units for t in node.outputs for units in carried[t].values()]
        onward = np.unique(np.concatenate(onward)) if onward else []
        for number in node.inputs:
            for axis, units in carried[number].items():
                here = prunable[units] & ~np.isin(units, onward)
                if here.any():
                    found[node.index, number, axis] = None
    return list(found)


def _unpooled(channels, number, axis):
    """The tensor before a global pooling, with the units' axis there."""
    graph = channels.graph
    node = graph.producer.get(number)
    if node is None or node.weights or len(node.inputs) != 1:
        return number, axis
    before = channels.scope.tensors[node.inputs[0]]
    after = channels.scope.tensors[number]
    if len(before.shape) <= len(after.shape):
        return number, axis
    mine = channels.units(after.axes[axis])
    for other, vector in before.axes.items():
        if np.array_equal(channels.units(vector), mine):
            return _unpooled(channels, node.inputs[0], other)
    return number, axis


def _over_tensors(channels, values, reduction):
    """One score per unit: over the positions and tensors that carry it."""
    from tf_channel_prune.criteria.slices import REDUCTIONS

    found: list[np.ndarray] = []
    for (number, axis), value in values.items():
        vector = channels.scope.tensors[number].axes[axis]
        units = channels.units(vector)
        size = channels.unit_count + 1
        count = np.bincount(units + 1, minlength=size)[1:]
        total = np.bincount(units + 1, value, minlength=size)[1:]
        mean = np.full(channels.unit_count, np.nan)
        np.divide(total, count, out=mean, where=count > 0)
        found.append(mean)
    scores = np.zeros(channels.unit_count)
    if found:
        table = np.stack(found)
        here = ~np.isnan(table)
        for pattern in np.unique(here, axis=1).T:
            if pattern.any():
                units = (here == pattern[:, None]).all(axis=0)
                scores[units] = REDUCTIONS[reduction](
                    table[np.ix_(pattern, units)]
                )
    return scores
