"""`Pruner`: the verbs over a workspace."""

from __future__ import annotations

import pathlib

from tf_channel_prune import finetune as tuning
from tf_channel_prune.analysis import RATIOS
from tf_channel_prune.analysis import Sensitivity
from tf_channel_prune.channels import ChannelGroup
from tf_channel_prune.cost import LatencyTable
from tf_channel_prune.errors import PruningError
from tf_channel_prune.masking import make_sparse
from tf_channel_prune.planning import Candidates
from tf_channel_prune.planning import Explanation
from tf_channel_prune.planning import Limits
from tf_channel_prune.planning import Plan
from tf_channel_prune.pruner import analysing
from tf_channel_prune.pruner import choosing
from tf_channel_prune.pruner import running
from tf_channel_prune.pruner import searching
from tf_channel_prune.pruner.subject import Subject
from tf_channel_prune.workspace import Workspace


class Pruner:
    """Analyses, prunes and transforms one model, with a folder for results.

    Example:

        pruner = tcp.Pruner(model, workspace="runs/resnet")
        pruner.ana(evaluate)
        sparse = pruner.prune(ratio=0.5)
        sparse.compile(...); sparse.fit(...)
        slim = pruner.transform(sparse)

    Args:
        model: A built Keras model. It is never changed.
        workspace: The folder for analyses and plans. It may hold those of
            other models and other weights: nothing is mixed up.
        exclude: Names of layers, or patterns of them, that keep their
            channels.
        data: Samples for criteria that look at data and, as arrays `(x, y)`,
            for the analysis of `run`; held-out samples, or training samples
            augmented as in training.
        loss: The loss on them, where the model is not compiled with it.

    Attributes:
        groups: The groups of channels, frozen ones included.
        plan: The plan of the last `prune`, or None.
        plan_path: Its file, or None.
        candidates: The plans of the last `search` and their scores, or None.
        history: What the last `run` did, or None.

    Raises:
        PruningError: If an entry of `exclude` matches no layer, or nothing
            of the model can be pruned.
    """

    def __init__(self, model, workspace, exclude=(), data=None, loss=None):
        self._subject = Subject(model, workspace, exclude, data, loss)
        self.plan: Plan | None = None
        self.plan_path: pathlib.Path | None = None
        self.candidates: Candidates | None = None
        self._explanation: Explanation | None = None
        self.history: tuning.Run | None = None

    @property
    def model(self):
        return self._subject.model

    @property
    def workspace(self) -> Workspace:
        return self._subject.workspace

    @property
    def groups(self) -> list[ChannelGroup]:
        return self._subject.groups

    def ana(
        self,
        evaluate=None,
        ratios=RATIOS,
        criterion=None,
        progress=True,
        data=None,
        metric="accuracy",
        loss=None,
        share=1.0,
        jobs=1,
    ) -> Sensitivity:
        """Measures how much the score suffers when one group is pruned.

        Either `evaluate` scores every group at every ratio; or, with `data`,
        a fast analysis scores only what decides, with the running statistics
        of normalisation layers measured anew for every point. That takes
        about a fifth of the work.

        Each result is on disk before the next evaluation starts. Called again
        after an interruption, it goes on where it stopped; called again on
        the same model, it gives what is known. The results belong to
        `evaluate` or `data` too, of which nothing is recorded: use another
        workspace for another evaluation.

        Args:
            evaluate: Function of a model that gives a score, larger for a
                better model. It gets one sparse copy of the model again and
                again, with other channels masked, and must not train it.
            ratios: Shares of each group to try. Defaults to 0.1 to 0.9.
            criterion: Which channels of a group go first. Defaults to the
                package's: `criteria.DEFAULT_WITH_DATA` where this or the
                pruner has data, else `criteria.DEFAULT_WITH_CURVES`.
            progress: Whether to show a progress bar. Defaults to True.
            data: Instead of `evaluate`: samples with targets, as arrays
                `(x, y)` or batches of them; held-out ones, or training
                samples augmented as in training. Without both, the pruner's
                are used, if it has targets too.
            metric: With `data`: `accuracy`, `loss` (negative, so that larger
                is better), or a function of `(y, y_pred)` that gives one
                number a sample, larger for better. Defaults to `accuracy`.
            loss: With `data`, where the loss is needed and the model is not
                compiled with it. Defaults to the pruner's.
            share: With `data`: the share of them to score on, a random
                choice. Defaults to 1: all of them.
            jobs: How many processes evaluate at once; with more than one,
                `evaluate` must be picklable. Defaults to 1.

        Returns:
            The scores; `prune` uses them from now on.

        Raises:
            PruningError: If the model cannot be pruned (found in the first
                seconds), if `evaluate` raises or gives no finite number, or
                if another process is using the workspace.
        """
        if data is None and evaluate is None:
            data = self._subject.samples
        if data is None:
            return analysing.measure(
                self._subject, evaluate, ratios, criterion, progress, jobs
            )
        return analysing.measure_on_data(
            self._subject,
            data,
            ratios,
            criterion,
            progress,
            metric,
            loss,
            share,
        )

    def sensitivity(self, criterion=None) -> Sensitivity | None:
        """The finished analysis of the model as it is now, or None.

        One by `evaluate` goes before those on data.

        Args:
            criterion: The criterion of the analysis. Defaults to the
                package's.
        """
        return analysing.known(self._subject, criterion)

    def measure_latency(
        self, target="litert", threads=None, device=None, progress=True
    ) -> LatencyTable:
        """Measures what `prune(of="latency")` plans with.

        The table is `latency.json` in the workspace; see
        `tcp.measure_latency`, which writes one anywhere.

        Args:
            target, threads, device, progress: See `tcp.measure_latency`.
        """
        from tf_channel_prune import latency

        with self.workspace.lock():
            return latency.fill(
                self._subject.channels,
                self._subject.latency_path,
                latency.target_for(target, threads),
                device,
                progress,
            )

    def prune(
        self,
        ratio=None,
        of="flops",
        threshold=None,
        plan=None,
        model=None,
        criterion=None,
        min_channels=1,
        max_ratio=1.0,
        divisor="auto",
        allocation=None,
        latency=None,
        keep_optimizer=False,
    ):
        """A sparse model, by one of `ratio`, `threshold` and `plan`.

        With an analysis in the workspace, the plan is the one with the least
        sum of losses by its curves; else channels are ranked by the
        normalised criterion. The plan is written to the workspace.

        Args:
            ratio: Share of the dense model's cost to remove, between 0 and 1;
                or a dictionary of targets by cost, all of which are met, each
                a share to remove or, from 1 up, the most that may be left.
            of: What cost: `flops`, `params`, `activation_memory` or
                `latency`. Defaults to `flops`.
            threshold: The loss of score that each group alone may cause, by
                the analysis.
            plan: A plan file, its name in the workspace, or a `Plan`.
            model: A sparse model to go on from, with its weights; what is
                masked there stays masked, and `ratio` counts from the dense
                model all the same. Defaults to the pruner's own model.
            criterion: Which channels of a group go first. Defaults to
                `criteria.DEFAULT_WITH_DATA` or `DEFAULT_WITH_CURVES` where
                there is an analysis by it and it is used, else to
                `criteria.DEFAULT`.
            min_channels, max_ratio, divisor: Limits for every group, or
                dictionaries of them by pattern of group or layer names; see
                `planning.Limits`.
            allocation: How the target is shared out among the groups; see
                `prune`. Defaults to `sensitivity` with an analysis.
            latency: Where latency is a target: the `LatencyTable`, or its
                file. Defaults to what `measure_latency` measured.
            keep_optimizer: Whether the new model's optimizer has the state of
                the given one's, with nothing left where weights are masked.
                Defaults to False.

        Returns:
            A new sparse model; `pruner.plan` says what was done, and
            `pruner.explain()` why.

        Raises:
            TargetError: If no allowed plan removes that much.
            StaleFileError: If the plan was made from another graph.
            PruningError: If the request makes no sense.
        """
        chosen = choosing.choose(
            self._subject,
            ratio,
            of,
            threshold,
            plan,
            model,
            criterion,
            min_channels,
            max_ratio,
            divisor,
            allocation,
            latency,
            told=print,
        )
        return self._kept(chosen, keep_optimizer)

    def search(
        self,
        evaluate,
        data=None,
        ratio=None,
        of="flops",
        candidates=50,
        criterion=None,
        min_channels=1,
        max_ratio=1.0,
        divisor="auto",
        latency=None,
        seed=0,
        samples=2048,
        progress=True,
    ):
        """The best of several plans within one budget, without training.

        Plans that share the budget out at random among the groups, and the
        one that `prune` makes, are scored one after the other, each with the
        running statistics of its normalisation layers measured anew
        (EagleEye: Li et al., ECCV 2020). Every score is in the workspace
        before the next is begun: called again, with more candidates or after
        an interruption, only what is new is scored. The scores belong to
        `evaluate` and `data` too, of which nothing is recorded.

        Args:
            evaluate: Function of a model that gives a score, larger for a
                better model; it must not train it.
            data: Inputs to measure running statistics on, as the model is
                trained on; see `tcp.recalibrate`. Defaults to the pruner's.
            ratio, of, criterion, min_channels, max_ratio, divisor, latency:
                See `prune`.
            candidates: How many plans to score. Defaults to 50.
            seed: Of the random plans. Defaults to 0.
            samples: The most samples to measure statistics on. Defaults to
                2,048.
            progress: Whether to show a progress bar. Defaults to True.

        Returns:
            A new sparse model by the best plan, its running statistics
            measured anew; `pruner.candidates` is the table of all plans, and
            `pruner.plan` the best one, written to the workspace.

        Raises:
            TargetError: If no allowed plan removes that much.
            PruningError: If the request makes no sense, or `evaluate` raises
                or gives no finite number.
        """
        data = self._subject.data if data is None else data
        data = searching.kept(data, samples)
        found = searching.search(
            self._subject,
            evaluate,
            data,
            ratio,
            of,
            candidates,
            criterion,
            Limits(min_channels, max_ratio, divisor),
            latency,
            seed,
            samples,
            progress,
            told=print,
        )
        self.candidates = found.candidates
        sparse = self._kept(found.chosen)
        return searching.recalibrated(sparse, data, samples)

    def explain(self, plan=None) -> Explanation:
        """Why each group of a plan got what it got; it prints as a table.

        Args:
            plan: A plan file, its name in the workspace, or a `Plan`.
                Defaults to that of the last `prune` or `search`.

        Returns:
            The `Explanation`: `.rows` has one `GroupReason` a group.

        Raises:
            PruningError: If there is no plan, or it is of another model.
        """
        if plan is not None:
            return choosing.explained(self._subject, plan)
        if self._explanation is None:
            raise PruningError(
                "There is no plan to explain yet: prune first, or name a plan."
            )
        return self._explanation

    def _kept(self, chosen, keep_optimizer=False):
        """The sparse model of a plan that is in the workspace from now on."""
        self.plan_path = chosen.write(self._subject)
        self.plan = chosen.plan
        self._explanation = chosen.explanation
        return make_sparse(chosen.channels, chosen.alive, keep_optimizer)

    def finetune(
        self,
        sparse,
        data,
        evaluate=None,
        recipes=None,
        distill=None,
        progress=True,
        loss=None,
        keep="last",
        seed=0,
        callbacks=(),
    ):
        """The sparse model, trained by the best of several recipes.

        After every epoch the state is in the workspace; called again after an
        interruption, it goes on with the epoch that was in flight.

        Args:
            sparse: A sparse model of this pruner; it is not changed.
            data: Training data: arrays, a list of batches, a function of the
                epoch, or what `fit` takes; see `finetune.streams.Stream`.
            evaluate: Function of a model that gives its score on validation
                data; needed to choose among several recipes.
            recipes: A `tcp.Recipe`, a list of them, or None for the defaults.
            distill: True for the unpruned model as the teacher, another
                teacher, or a `tcp.Distill`. Defaults to none.
            progress: Whether to show a progress bar. Defaults to True.
            loss: Defaults to the loss that the model is compiled with.
            keep: `last` gives the weights after the last epoch, `best` those
                of the epoch with the best score. Defaults to `last`.
            seed: Of shuffling and random layers. Defaults to 0.
            callbacks: Keras callbacks, or a function that makes them.

        Returns:
            A new sparse model.
        """
        return running.finetune(
            self.workspace,
            sparse,
            data,
            recipes,
            progress,
            unpruned=self.model,
            evaluate=evaluate,
            distill=distill,
            loss=loss,
            keep=keep,
            seed=seed,
            callbacks=callbacks,
        )

    def run(
        self,
        data=None,
        evaluate=None,
        ratio=None,
        max_drop=None,
        recipes=None,
        distill=None,
        rounds=3,
        tolerance=None,
        of="flops",
        criterion=None,
        progress=True,
        seed=0,
        limits=None,
        loss=None,
        keep="last",
        callbacks=(),
        train=None,
        steps="geometric",
        analyse=True,
        latency=None,
    ):
        """Prunes, fine-tunes and transforms, round after round, unattended.

        A round whose score does not come back within the tolerance is tried
        again with half of its step. The run ends at the target, or at the
        last acceptable model. All of it is in the workspace: killed at any
        moment, the same call goes on, losing at most the epoch or the
        evaluation in flight.

        First the dense model is analysed, where the workspace does not know
        the analysis yet; rounds are planned by it. With arrays `(x, y)` as
        the Pruner's data it is the fast analysis of the loss on them, else
        that by `evaluate`, which takes about five times as long.

        Args:
            data, recipes, distill, loss, keep, callbacks: See `finetune`.
            evaluate: Function of a model that gives its score on validation
                data, larger for a better model. Only a run by `train` to a
                ratio can do without; then every round is kept.
            ratio: The share of the dense model's cost to remove.
            max_drop: Instead: the smallest model that loses at most this
                much of the score (0.005 is half a point of an accuracy).
            rounds: Into how many rounds a ratio is divided. Defaults to 3.
            tolerance: What each round may lose against the baseline.
                Defaults to `max_drop`, or to 0.02 with a ratio.
            of, criterion: See `prune`.
            progress: Whether to show a progress bar. Defaults to True.
            seed: Of shuffling and random layers. Defaults to 0.
            limits: `min_channels`, `max_ratio`, `divisor` and `allocation`
                of `prune`, as a dictionary.
            train: Instead of data and recipes: a function that compiles and
                trains a model in place.
            steps: `geometric`: every round removes the same share of what is
                left; `linear`: the same share of the whole. Defaults to
                `geometric`.
            analyse: Whether to analyse first. If not, an analysis that the
                workspace knows is used all the same. Defaults to True.
            latency: See `prune`.

        Returns:
            The slim model; `pruner.history` has the rounds, and is printed
            as a table.

        Raises:
            TargetError: If the ratio cannot be reached.
            PruningError: If arguments make no sense, or the model does not
                take the first batch of the data.
        """
        from tf_channel_prune.report.tables import rounds_table
        from tf_channel_prune.report.tables import to_text

        training = running.Training(
            data,
            recipes,
            train,
            distill,
            {"loss": loss, "keep": keep, "callbacks": callbacks},
        )
        slim, self.history = running.run(
            self._subject,
            training,
            evaluate,
            tuning.Target(ratio, max_drop, rounds, tolerance, steps=steps),
            of,
            criterion,
            limits,
            seed,
            analyse,
            progress,
            latency,
        )
        print(to_text(rounds_table(self.history)))
        return slim

    def transform(self, sparse, samples=None, keep_optimizer=False):
        """The slim model of a sparse one, verified.

        Args:
            sparse: A sparse model.
            samples: A batch of inputs to compare the two models on, beside
                the random ones that they are always compared on.
            keep_optimizer: Whether the new model's optimizer has the state of
                the given one's, so that training goes on as if it had never
                stopped; see `transform.transform`. Defaults to False.

        Returns:
            An ordinary Keras model that needs nothing of this package.

        Raises:
            PruningError: If the model holds no masks.
            VerificationError: If the outputs differ.
        """
        from tf_channel_prune.transform import transform

        return transform(sparse, samples, keep_optimizer)
