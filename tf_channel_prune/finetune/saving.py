"""Writes the state of a training after every epoch."""

from __future__ import annotations

import math
import time

import numpy as np

from tf_channel_prune.finetune.callback_states import CallbackStates
from tf_channel_prune.graph import flavours
from tf_channel_prune.graph import optimizers
from tf_channel_prune.graph.arrays import to_numpy
from tf_channel_prune.masking.callback import Callback

UNKNOWN = "not yet"


class Saver(Callback):
    """Seeds every epoch, and writes the state after it.

    It stands last among the callbacks, so that it sees what the others did
    and can undo it where they start anew.

    Attributes:
        done: What is remembered beside the state, as JSON values.
        dataset: What `fit` reads.
    """

    def __init__(self, job, recipe, student, stream, advance):
        super().__init__()
        self.job = job
        self.recipe = recipe
        self.name = str(recipe)
        self.student = student
        self.advance = advance
        self.dataset = None
        self._states = CallbackStates([])
        self.state, self.best = job.checkpoints(recipe, stream)
        self.done = {
            "epoch": 0,
            "history": [],
            "seconds": 0.0,
            "score": UNKNOWN,
            "best": None,
            "stopped": False,
            "rates": [],
            "callbacks": [],
            **(self.state.progress() or {}),
        }

    @property
    def ended(self) -> bool:
        """Whether an earlier process has trained to the end."""
        return self.done["score"] != UNKNOWN

    @property
    def finished(self) -> bool:
        """Whether it has evaluated, too."""
        if self.done["score"] is None:  # nothing was evaluated then
            return self.job.evaluate is None
        return self.ended

    @property
    def epochs(self) -> int:
        """How many there are; fewer than planned where a callback stopped."""
        return (
            self.done["epoch"] if self.done["stopped"] else self.recipe.epochs
        )

    def resume(self, optimizer) -> int:
        """Loads what there is; gives the number of epochs done."""
        if self.done["epoch"]:
            self.state.load(self.student, optimizer)
            optimizers.set_rates(optimizer, self.done["rates"])
        for _ in range(self.done["epoch"]):
            self.advance(f"{self.name}: done before")
        return self.done["epoch"]

    def beside(self, callbacks) -> list:
        """The callbacks of `fit`: these, of which it keeps the state, and it.

        Args:
            callbacks: The user's.
        """
        self._states = CallbackStates(callbacks)
        return [*callbacks, self]

    def on_train_begin(self, logs=None):
        self._states.note()
        if self.done["callbacks"]:
            self._states.put_back(self.done["callbacks"], self.state.more())

    def prepare(self, epoch) -> None:
        """Makes the data and random generators those of an epoch."""
        if hasattr(self.dataset, "epoch"):
            self.dataset.epoch = epoch
        library = flavours.library(self.student)
        library.utils.set_random_seed((self.job.seed * 7919 + epoch) % 2**31)

    def on_epoch_begin(self, epoch, logs=None):
        self._start = time.monotonic()
        self.prepare(epoch)

    def on_epoch_end(self, epoch, logs=None):
        model = self.model  # on JAX, brings the values back
        self.done["seconds"] += time.monotonic() - self._start
        self.done["epoch"] = epoch + 1
        self.done["history"].append(
            {
                name: to_numpy(value).tolist()
                for name, value in (logs or {}).items()
            }
        )
        if self.job.keep == "best" and not self._diverged():
            score = self.job.score(self.student)
            if self.done["best"] is None or score > self.done["best"]:
                self.done["best"] = score
                self.best.save(self.student, None)
        self.done["stopped"] = bool(model.stop_training)
        self.done["rates"] = optimizers.rates(model.optimizer)
        self.done["callbacks"], arrays = self._states.packed()
        self.state.save(self.student, model.optimizer, arrays, **self.done)
        self.advance(f"{self.name}: epoch {epoch + 1}")
        # tf_keras reads ahead before it says that the next epoch begins.
        self.prepare(epoch + 1)

    def finish(self, optimizer) -> None:
        """Evaluates what is kept, and writes that."""
        if self.done["best"] is not None:
            self.best.load(self.student)
            self.done["score"] = self.done["best"]
        elif self._diverged():
            self.done["score"] = -math.inf
        else:
            self.done["score"] = self.job.score(self.student)
        self.done["callbacks"] = []  # nothing goes on from here
        self.state.save(self.student, optimizer, **self.done)

    def _diverged(self) -> bool:
        """By the loss: a metric may be undefined while all is well."""
        loss = self.done["history"][-1].get("loss", 0.0)
        return not np.all(np.isfinite(loss))
