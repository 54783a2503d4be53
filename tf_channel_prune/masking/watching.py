"""Callbacks that watch the masks: do they hold, how many, are they settled?"""

from __future__ import annotations

import numpy as np

from tf_channel_prune import criteria
from tf_channel_prune.cost import PRODUCT_METRICS
from tf_channel_prune.cost import CostTable
from tf_channel_prune.cost import check_metric
from tf_channel_prune.errors import PruningError
from tf_channel_prune.masking.callback import Callback
from tf_channel_prune.masking.masks import Masks


class MaskCheck(Callback):
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

    def __init__(self, of="params", verbose=0):
        super().__init__()
        check_metric(of)
        self.of = of
        self.verbose = verbose

    def on_train_begin(self, logs=None):
        self._masks = Masks(self.pruned)
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


class PruningSummaries(Callback):
    """Writes sparsity and scores for TensorBoard, every epoch.

    Scalars `sparsity/flops`, `sparsity/params` and
    `sparsity/activation_memory` (shares that are removed), `kept/<group>`
    (units), and histograms `scores/<group>` of the living units' scores.

    Args:
        log_dir: The folder, as `keras.callbacks.TensorBoard` takes it.
        criterion: What scores to write; None writes none. Defaults to `l2`.
        data, loss: For criteria that look at data.

    Raises:
        PruningError: If TensorFlow or TensorBoard is not installed.
    """

    def __init__(self, log_dir, criterion="l2", data=None, loss=None):
        super().__init__()
        self.log_dir = str(log_dir)
        self.criterion = criterion and criteria.get(criterion)
        self.data = data
        self.loss = loss
        try:
            import tensorboard  # noqa: F401
            import tensorflow as tf
        except ImportError as error:
            raise PruningError(
                "PruningSummaries writes with TensorFlow and TensorBoard; "
                f"install them ({error})."
            ) from error
        self._summary = tf.summary

    def on_train_begin(self, logs=None):
        self._masks = Masks(self.pruned)
        self._table = CostTable(self._masks.channels)
        self._writer = self._summary.create_file_writer(self.log_dir)

    def on_epoch_end(self, epoch, logs=None):
        _ = self.model  # on JAX, brings the values back
        channels = self._masks.channels
        alive = self._masks.alive()
        with self._writer.as_default(step=epoch):
            for of in PRODUCT_METRICS:
                share = self._table.removed(alive, of)
                self._summary.scalar(f"sparsity/{of}", share)
            for group in channels.prunable:
                kept = int(alive[group.units].sum())
                self._summary.scalar(f"kept/{group.name}", kept)
            if self.criterion is not None:
                self._write_scores(channels, alive)
        self._writer.flush()

    def _write_scores(self, channels, alive):
        scores = self.criterion.score(channels, data=self.data, loss=self.loss)
        for group in channels.prunable:
            living = group.units[alive[group.units]]
            self._summary.histogram(f"scores/{group.name}", scores[living])

    def on_train_end(self, logs=None):
        self._writer.close()


class StopWhenStable(Callback):
    """Stops training once the masks have settled.

    After each epoch the masks are compared with those of the last `patience`
    epochs; training stops when none of them differs from the newest in more
    than `tolerance` of the units ("Drawing Early-Bird Tickets", You et al.,
    ICLR 2020, section 3.3: five epochs, a distance of 0.1). Epochs before
    the first change do not count.

    Args:
        patience: How many epochs back. Defaults to 5.
        tolerance: The largest share of prunable units. Defaults to 0.
        verbose: Whether to say why training stops. Defaults to 0.

    Attributes:
        stopped_epoch: The epoch after which training stopped, or None.
    """

    def __init__(self, patience=5, tolerance=0.0, verbose=0):
        super().__init__()
        if patience < 1 or not 0 <= tolerance < 1:
            raise PruningError(
                "patience is at least 1 and tolerance a share from 0 to 1; "
                f"got {patience} and {tolerance}."
            )
        self.patience = patience
        self.tolerance = tolerance
        self.verbose = verbose
        self.stopped_epoch: int | None = None

    def on_train_begin(self, logs=None):
        self._masks = Masks(self.pruned)
        self._first = self._masks.alive()
        # A list, which fine-tuning keeps for after an interruption.
        self._last: list[np.ndarray] = []
        self.stopped_epoch = None

    def on_epoch_end(self, epoch, logs=None):
        _ = self.model  # on JAX, brings the values back
        alive = self._masks.alive()
        if not self._last and (alive == self._first).all():
            return
        if len(self._last) == self.patience:
            units = sum(g.size for g in self._masks.channels.prunable)
            distance = max(
                np.count_nonzero(alive != other) for other in self._last
            )
            if distance <= self.tolerance * units:
                self.stopped_epoch = epoch
                self.model.stop_training = True
                if self.verbose:
                    print(f"\nEpoch {epoch + 1}: the masks are stable.")
        self._last = [*self._last, alive][-self.patience :]
