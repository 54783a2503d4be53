"""Pruning while training: masks are set again and again, on a schedule."""

from __future__ import annotations

import logging
import warnings

import numpy as np

from tf_channel_prune import criteria
from tf_channel_prune.cost import CostTable
from tf_channel_prune.errors import PruningError
from tf_channel_prune.graph import optimizers
from tf_channel_prune.graph.arrays import to_numpy
from tf_channel_prune.masking.callback import Callback
from tf_channel_prune.masking.masks import Masks
from tf_channel_prune.masking.schedules import final_ratio
from tf_channel_prune.planning import Limits
from tf_channel_prune.planning import plan_for_ratio
from tf_channel_prune.planning.budget import check_target

log = logging.getLogger("tf_channel_prune")


class GradualPruning(Callback):
    """Prunes a sparse model while it trains, on a schedule.

    At each step that the schedule names, the channels are ranked anew by a
    criterion, and masks are set so that the scheduled share of the cost is
    gone. Masks are set before a batch, so whatever other callbacks save after
    a batch or an epoch is sparse, in whatever order they stand.

    *Soft* pruning: until step `soft_until` channels may come back. Masked
    weights are zero in the model all the same; the values that they had when
    they were masked are kept aside, the criterion ranks channels by them, and
    a channel that comes back has them again (BatchNormalization statistics
    and averaged weights included), with no momentum. From `soft_until` on,
    what is masked stays masked. A training that is resumed from a file has
    forgotten the values: what is masked then stays masked too.

    Optimizer slots (momentum, averages) of masked weights are cleared.

    Example:

        sparse = tcp.make_sparse(model)
        sparse.compile(...)
        schedule = tcp.callbacks.Polynomial(0.5, begin=0, end=2000)
        sparse.fit(x, y, callbacks=[tcp.callbacks.GradualPruning(schedule)])

    Args:
        schedule: A function of the step (batches so far) that gives
            `(prune now, ratio)`: one of this package, a `PruningSchedule` of
            tensorflow-model-optimization, or your own. The ratio is the share
            of the dense model's cost to remove.
        criterion: How channels are ranked. Defaults to `l2`.
        of: `flops`, `params` or `activation_memory`. Defaults to `flops`.
        min_channels: The least that every group keeps. Defaults to 1.
        max_ratio: The largest share of a group that may go. Defaults to 1.
        divisor: What kept counts are multiples of. Defaults to `"auto"`.
        soft_until: The step from which on nothing comes back. Defaults to 0.
        data: Samples with targets, for criteria that look at data.
        loss: The loss on them. Defaults to the compiled model's.
        verbose: Whether to print a line at each change. Defaults to 0.

    Attributes:
        step: Batches so far, over all fits that the callback served. A fit
            that starts at a later epoch (`initial_epoch`) is taken to be
            resumed: after so many epochs of the steps that `fit` knows of,
            or, with data of unknown size, after the batches that the
            optimizer counts since it was made (on TensorFlow up to one too
            many an epoch). May be set before `fit`.

    Raises:
        TargetError: When training starts, if the schedule's last ratio
            cannot be reached.
        PruningError: When training is resumed, if its step is not known.
    """

    def __init__(
        self,
        schedule,
        criterion="l2",
        of="flops",
        min_channels=1,
        max_ratio=1.0,
        divisor="auto",
        soft_until=0,
        data=None,
        loss=None,
        verbose=0,
    ):
        super().__init__()
        self.schedule = schedule
        self.criterion = criteria.get(criterion)
        self.of = of
        self.limits = Limits(min_channels, max_ratio, divisor)
        self.soft_until = soft_until
        self.data = data
        self.loss = loss
        self.verbose = verbose
        self.step = 0
        self._seen = -1
        self._aside = _Aside()
        if final_ratio(schedule) is not None:
            check_target(final_ratio(schedule), of)

    def on_train_begin(self, logs=None):
        self._masks = Masks(self.pruned)
        self._table = CostTable(self._masks.channels)
        self._warn_of_uncounted()
        self._first = self._masks.alive()
        ratio = final_ratio(self.schedule)
        if ratio:  # refused now rather than when the schedule gets there
            self._plan(ratio, self._first, np.zeros(self._first.size))

    def _warn_of_uncounted(self):
        from tf_channel_prune.report.tables import not_counted

        if self.of == "flops" and self._table.uncounted:
            log.warning(
                "GradualPruning: %s.", not_counted(self._table.uncounted)
            )

    def on_epoch_begin(self, epoch, logs=None):
        if self.step == 0 and self._seen < 0 and epoch:
            self._resume(epoch)
        self._epoch_start = self.step

    def _resume(self, epoch):
        """Goes on at the step with which an epoch starts."""
        steps = self.params.get("steps")
        if steps:
            self.step = epoch * steps
            self._seen = self.step - 1
            return
        self.step = optimizers.batches_seen(self.model.optimizer)
        # It may be one too many an epoch: nothing that was due is left out.
        self._seen = self.step - 1 - epoch
        if not self.step:
            raise PruningError(
                "GradualPruning does not know at which step of its schedule "
                f"epoch {epoch + 1} starts: the data do not tell their size "
                "and the optimizer is new. Give fit steps_per_epoch=, or set "
                "the callback's step before."
            )

    def on_train_batch_begin(self, batch, logs=None):
        # Where several steps are run at once, one in between may be due.
        self.step = self._epoch_start + batch
        passed = range(self._seen + 1, self.step + 1)
        due = [ratio for now, ratio in map(self.schedule, passed) if bool(now)]
        self._seen = self.step
        if due:
            self._update(float(due[-1]))

    def on_train_batch_end(self, batch, logs=None):
        self.step = self._epoch_start + batch + 1

    def on_train_end(self, logs=None):
        ratio = final_ratio(self.schedule)
        reached = self._table.removed(self._masks.alive(), self.of)
        if ratio and reached < ratio - 1e-6:
            warnings.warn(
                f"Training ended at step {self.step} with {reached:.1%} of "
                f"{self.of} removed; the schedule ends at {ratio:.1%}.",
                stacklevel=2,
            )

    def _update(self, ratio):
        optimizer = self.model.optimizer  # on JAX, brings the values back
        masks = self._masks
        before = masks.alive()
        soft = self.step < self.soft_until
        if soft:
            self._aside.bring_back(masks, self._first, optimizer)
        start = self._first if soft else before
        alive = self._plan(ratio, start) if ratio > 0 else start
        if soft:
            self._aside.put(masks, alive)
        else:
            self._aside.forget()
        masks.set(alive, optimizer)
        if self.verbose and (alive != before).any():
            print(
                f"\nStep {self.step}: "
                f"{self._table.removed(alive, self.of):.1%} of {self.of} "
                f"removed, {int((before & ~alive).sum())} units masked, "
                f"{int((alive & ~before).sum())} back"
            )

    def _plan(self, ratio, alive, scores=None):
        channels = self._masks.channels
        if scores is None:
            scores = criteria.scores(
                channels, self.criterion, data=self.data, loss=self.loss
            )
        return plan_for_ratio(
            channels,
            scores,
            ratio,
            self.of,
            self.limits,
            self._table,
            alive,
        )


class _Aside:
    """The values of masked weights while their channels may come back."""

    def __init__(self):
        self._values: dict[int, np.ndarray] = {}

    def put(self, masks, alive) -> None:
        """Keeps the values of all weights that `alive` masks anything of."""
        self._values = {
            weight.key: to_numpy(weight.variable).copy()
            for weight, living in masks.entries(alive)
            if not living.all()
        }

    def bring_back(self, masks, first, optimizer) -> None:
        """Unmasks down to `first`, with the values that were put aside."""
        lost = {
            weight.key: (weight, ~living)
            for weight, living in masks.entries(masks.alive())
            if weight.key in self._values
        }
        masks.set(first, optimizer)
        for key, (weight, dead) in lost.items():
            self._fill(weight.variable, dead, key)
        trained = masks.model.trainable_variables
        for slot in optimizers.slots(optimizer, trained):
            if slot.kind == optimizers.AVERAGE and id(slot.trained) in lost:
                key = id(slot.trained)
                self._fill(slot.variable, lost[key][1], key)
        masks.enforce()

    def forget(self) -> None:
        self._values = {}

    def _fill(self, variable, dead, key):
        value = to_numpy(variable).copy()
        dead = np.broadcast_to(dead, value.shape)
        value[dead] = self._values[key][dead]
        variable.assign(value)
