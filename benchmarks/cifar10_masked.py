"""A model on CIFAR-10 whose plans are scored without any training."""

import dataclasses

import keras
import numpy as np

from tf_channel_prune import criteria
from tf_channel_prune import graph as graphs
from tf_channel_prune.api import channels_of
from tf_channel_prune.channels import understood
from tf_channel_prune.cost import CostTable
from tf_channel_prune.graph import run
from tf_channel_prune.graph.compiling import compiled
from tf_channel_prune.graph.recalibration import Recalibration
from tf_channel_prune.masking import Masks
from tf_channel_prune.masking import make_sparse
from tf_channel_prune.masking.trials import analyse_on_data
from tf_channel_prune.masking.trials import plan_scorer
from tf_channel_prune.planning import Request
from tf_channel_prune.planning.candidates import try_plans
from tf_channel_prune.planning.proposals import Problem

TRIED = 16
BATCH = 250


class Masked:
    """One sparse copy of the model that is masked, recalibrated, scored.

    Args:
        model: Classifies images; its outputs are logits.
        data: The arrays of `cifar10_arrays.load`.
    """

    def __init__(self, model, data):
        self.data = data
        self.loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        self.channels = channels_of(model)
        self.table = CostTable(self.channels)
        self.masks = Masks(make_sparse(self.channels))
        graph = graphs.read(self.masks.model, understood)
        self._recalibrate = Recalibration(graph)

        def predict(x):
            made = run.run(graph, run.inputs(graph, x))
            return made[graph.outputs[0]]

        self._predict = compiled(graph, predict)

    def curves(self, scores, images):
        """Loss curves by the fast analysis, and what they took."""
        return analyse_on_data(
            self.channels,
            scores,
            images,
            metric="loss",
            loss=self.loss,
            masks=self.masks,
        )

    def as_expected(self, curves, criterion, scores):
        """The curves, between their points as a criterion expects."""
        by_group = criteria.by_group(self.channels, scores)
        expected = criteria.expected(criterion, by_group)
        return dataclasses.replace(curves, expected=expected)

    def problem(self, ratio, scores, curves):
        """Removing a share of the FLOPs by loss curves."""
        request = Request(ratio, allocation="sensitivity")
        return Problem(
            self.channels, scores, request, self.table, curves=curves
        )

    def tried(self, problem, images, seed):
        """The best of several plans near that of the curves."""
        measure = plan_scorer(self.masks, images)

        def score(alive, number):
            return measure(alive)

        return try_plans(problem, score, TRIED, seed)[1]

    def accuracy(self, alive, part, count=None, images=None):
        """The accuracy in percent with only `alive` left.

        Args:
            alive: Boolean per unit.
            part: `val` or `test`.
            count: How many of its images. Defaults to all.
            images: What the statistics are measured on anew. Defaults to
                leaving them as they are.
        """
        x, y = self.data[f"x_{part}"][:count], self.data[f"y_{part}"][:count]
        right = 0
        with self.masks.trial(alive):
            if images is not None:
                self._recalibrate(images, samples=len(images))
            for start in range(0, len(x), BATCH):
                batch = x[start : start + BATCH].astype("float32")
                labels = np.asarray(self._predict(batch)).argmax(-1)
                right += int((labels == y[start : start + BATCH]).sum())
        return 100 * right / len(x)
