"""Callbacks for the training of sparse models.

Masks hold without any callback. These set them on a schedule, report them,
prove that they hold, and stop when they settle.
"""

from __future__ import annotations

from tf_channel_prune.cost import CostTable
from tf_channel_prune.cost import check_metric
from tf_channel_prune.masking.callback import Callback
from tf_channel_prune.masking.gradual import GradualPruning
from tf_channel_prune.masking.masks import Masks
from tf_channel_prune.masking.schedules import Constant
from tf_channel_prune.masking.schedules import OneShot
from tf_channel_prune.masking.schedules import Polynomial
from tf_channel_prune.masking.watching import PruningSummaries
from tf_channel_prune.masking.watching import StopWhenStable

__all__ = [
    "Constant",
    "GradualPruning",
    "MaskCheck",
    "OneShot",
    "Polynomial",
    "PruningSummaries",
    "StopWhenStable",
]


class MaskChecker:
    """What `MaskCheck` does, for the callbacks of any Keras."""

    def __init__(self, of="params", verbose=0):
        super().__init__()
        check_metric(of)
        self.of = of
        self.verbose = verbose

    def on_train_begin(self, logs=None):
        self._masks = Masks(self.model)
        self._table = CostTable(self._masks.channels)
        self._masks.check()

    def on_epoch_end(self, epoch, logs=None):
        self._masks.check()
        share = self._table.removed(self._masks.alive(), self.of)
        if logs is not None:
            logs["sparsity"] = share
        if self.verbose:
            print(f"Epoch {epoch + 1}: {share:.1%} of {self.of} masked")

    def on_train_end(self, logs=None):
        self._masks.check()


class MaskCheck(MaskChecker, Callback):
    """Reports sparsity and checks that the masks hold.

    At the end of every epoch it puts `sparsity` into the logs, so that the
    history has it, and raises if any masked weight is not zero.

    Example:

        history = sparse.fit(x, y, callbacks=[tcp.callbacks.MaskCheck()])
        history.history["sparsity"]

    Args:
        of: What sparsity is a share of: `flops`, `params` or
            `activation_memory`. Defaults to `params`.
        verbose: Whether to print it at every epoch. Defaults to 0.

    Raises:
        PruningError: In training, if the model holds no masks, or if a
            masked weight is not zero, with the layer's name.
    """
