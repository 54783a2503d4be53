"""Training that makes channels ready to go, before they are pruned.

Both callbacks shrink weights beside the optimizer, as decoupled weight decay
does (Loshchilov and Hutter, ICLR 2019): by the learning rate times a strength,
every few batches, so that momentum and Adam's moments stay those of the loss.
They serve dense and sparse models, any optimizer and any backend. What is
frozen (`trainable = False`) stays as it is.
"""

from __future__ import annotations

import numpy as np

from tf_channel_prune import criteria
from tf_channel_prune import graph as graphs
from tf_channel_prune.channels import Channels
from tf_channel_prune.channels import understood
from tf_channel_prune.criteria.slices import coupled
from tf_channel_prune.errors import PruningError
from tf_channel_prune.graph import optimizers
from tf_channel_prune.graph.arrays import to_numpy
from tf_channel_prune.masking.callback import Callback


class SparsityLearning(Callback):
    """What the two have in common.

    Args:
        strength: How hard, relative to the learning rate.
        grow: Epochs over which the strength rises from zero, in equal steps.
            Defaults to 0: all of it from the start.
        frequency: Weights are shrunk every so many batches, by so many
            batches' worth. Defaults to 10.
        exclude: Names of layers, or patterns of them, that will keep their
            channels. Defaults to none.
    """

    def __init__(self, strength, grow=0, frequency=10, exclude=()):
        super().__init__()
        if strength <= 0 or grow < 0 or frequency < 1:
            raise PruningError(
                "Sparsity learning has a positive strength, grows over 0 or "
                "more epochs and acts every 1 or more batches; got "
                f"{strength}, {grow} and {frequency}."
            )
        self.strength = strength
        self.grow = grow
        self.frequency = frequency
        self.exclude = exclude

    def on_train_begin(self, logs=None):
        graph = graphs.read(self.pruned, understood)
        self._channels = Channels(graph, self.exclude)
        # In tf_keras a layer says what trains, not the variable.
        self._trained = {id(v) for v in self.pruned.trainable_variables}
        self._waiting = 0
        self._last = -1

    def on_epoch_begin(self, epoch, logs=None):
        share = min((epoch + 1) / self.grow, 1.0) if self.grow else 1.0
        self._now = self.strength * share
        self._last = -1
        self.prepare()

    def on_train_batch_end(self, batch, logs=None):
        self._waiting += batch - self._last
        self._last = batch
        if self._waiting >= self.frequency:
            self._shrink()

    def on_epoch_end(self, epoch, logs=None):
        if self._waiting:
            self._shrink()

    def trains(self, weight) -> bool:
        """Whether training moves a weight at all."""
        return weight.key in self._trained

    def _shrink(self):
        rate = to_numpy(optimizers.learning_rate(self.model.optimizer))
        self.shrink(float(rate) * self._now * self._waiting)
        self._waiting = 0

    def prepare(self) -> None:
        """Called before every epoch."""

    def shrink(self, amount: float) -> None:
        """Makes weights smaller.

        Args:
            amount: Learning rate times strength, for all batches since the
                last call.
        """
        raise NotImplementedError


class SlimmingL1(SparsityLearning):
    """An L1 penalty on the scales of BatchNormalization layers.

    "Learning Efficient Convolutional Networks through Network Slimming" (Liu
    et al., ICCV 2017, equation 1), by its proximal step: a scale moves
    towards zero by `learning rate * strength` a batch and stops there. Only
    scales that train, of channels that can be pruned, shrink. Rank by the
    criterion `bn_scale` afterwards.

    Example:

        model.fit(x, y, callbacks=[tcp.callbacks.SlimmingL1(1e-4)])

    Args:
        strength: The penalty's factor. Defaults to 1e-4, as in the paper.
        grow, frequency, exclude: See `SparsityLearning`.
    """

    def __init__(self, strength=1e-4, grow=0, frequency=10, exclude=()):
        super().__init__(strength, grow, frequency, exclude)

    def on_train_begin(self, logs=None):
        super().on_train_begin(logs)
        self._scales = []
        for _, slices in coupled(self._channels):
            for part in slices:
                if part.weight.name.rsplit("/", 1)[-1] == "gamma":
                    self._scales.append((part.weight, part.positions.ravel()))
        if not self._scales:
            raise PruningError(
                f"Model {self.pruned.name!r} has no normalisation scales of "
                "channels that can be pruned: use GroupSparsity."
            )
        self._scales = [pair for pair in self._scales if self.trains(pair[0])]
        if not self._scales:
            raise PruningError(
                f"The normalisation scales of model {self.pruned.name!r} are "
                "frozen: set trainable = True on their layers and compile "
                "again, or use GroupSparsity."
            )

    def shrink(self, amount):
        for weight, where in self._scales:
            value = to_numpy(weight.variable).copy()
            scales = value[where]
            size = np.maximum(np.abs(scales) - amount, 0)
            value[where] = np.sign(scales) * size
            weight.variable.assign(value)


class GroupSparsity(SparsityLearning):
    """Shrinks all coupled slices of the channels that matter least.

    DepGraph's regularisation (Fang et al., CVPR 2023, equations 5 and 6): the
    slices w of unit k in group g shrink by `rate * strength * gamma_k * w` a
    batch, with

        gamma_k = 2 ^ (alpha (I_max - I_k) / (I_max - I_min))

    where I_k is the norm of all slices of the unit, so the weakest shrink
    2^alpha times as fast as the strongest. I is taken anew before every
    epoch. With `grow` the strength rises epoch by epoch ("Neural pruning via
    growing regularization", Wang et al., ICLR 2021).

    Args:
        strength: Defaults to 5e-4.
        alpha: Defaults to 4.
        grow, frequency, exclude: See `SparsityLearning`.
    """

    def __init__(
        self, strength=5e-4, alpha=4.0, grow=0, frequency=10, exclude=()
    ):
        super().__init__(strength, grow, frequency, exclude)
        self.alpha = alpha

    def prepare(self):
        _ = self.model  # on JAX, brings the values back
        squares = criteria.get("l2").score(self._channels)
        gamma = np.zeros(self._channels.unit_count + 1)
        for group in self._channels.prunable:
            gamma[group.units] = factors(squares[group.units], self.alpha)
        self._axes: dict[int, list] = {}
        for (key, axis), units in self._channels.weight_units.items():
            weight = self._channels.graph.weights[key]
            if self.trains(weight) and gamma[units].any():
                pairs = self._axes.setdefault(key, [])
                pairs.append((axis, gamma[units]))
        if not self._axes:
            raise PruningError(
                f"Model {self.pruned.name!r} has no weights that train of "
                "channels that can be pruned: set trainable = True on their "
                "layers and compile again."
            )

    def shrink(self, amount):
        for key, axes in self._axes.items():
            variable = self._channels.graph.weights[key].variable
            value = to_numpy(variable)
            total = 0.0
            for axis, gamma in axes:
                shape = np.ones(value.ndim, int)
                shape[axis] = -1
                total = total + gamma.reshape(shape)
            kept = np.clip(1 - amount * total, 0, 1)
            variable.assign((value * kept).astype(value.dtype))


def factors(squares, alpha: float) -> np.ndarray:
    """DepGraph's gamma of one group, from its units' squared norms."""
    norms = np.sqrt(squares)
    spread = norms.max() - norms.min()
    if not spread:
        return np.ones_like(norms)
    return 2.0 ** (alpha * (norms.max() - norms) / spread)
