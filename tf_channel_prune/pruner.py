"""`Pruner`: the verbs over a workspace."""

from __future__ import annotations

import dataclasses
import functools
import json
import logging
import pathlib
from collections.abc import Mapping
from typing import Any

from tf_channel_prune import criteria
from tf_channel_prune import finetune as tuning
from tf_channel_prune.analysis import RATIOS
from tf_channel_prune.analysis import Sensitivity
from tf_channel_prune.analysis import analyse
from tf_channel_prune.analysis import analyse_many
from tf_channel_prune.analysis import assemble
from tf_channel_prune.analysis import check_ratios
from tf_channel_prune.analysis import curves_of
from tf_channel_prune.analysis import steps
from tf_channel_prune.api import channels_of
from tf_channel_prune.channels import ChannelGroup
from tf_channel_prune.channels import Channels
from tf_channel_prune.cost import METRICS
from tf_channel_prune.cost import CostTable
from tf_channel_prune.errors import PruningError
from tf_channel_prune.graph.digests import graph_digest
from tf_channel_prune.graph.digests import text_digest
from tf_channel_prune.graph.digests import weights_digest
from tf_channel_prune.graph.files import write_model
from tf_channel_prune.masking import Masks
from tf_channel_prune.masking import living_units
from tf_channel_prune.masking import make_sparse
from tf_channel_prune.masking.jobs import in_processes
from tf_channel_prune.masking.trials import analyse_on_data
from tf_channel_prune.planning import Limits
from tf_channel_prune.planning import Plan
from tf_channel_prune.planning import Request
from tf_channel_prune.planning import exactly_one
from tf_channel_prune.workspace import Workspace

_log = logging.getLogger("tf_channel_prune")


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
        data: Samples for criteria that look at data; training data, best.
        loss: The loss on them, where the model is not compiled with it.

    Attributes:
        groups: The groups of channels, frozen ones included.
        plan: The plan of the last `prune`, or None.
        plan_path: Its file, or None.
        history: What the last `run` did, or None.

    Raises:
        PruningError: If an entry of `exclude` matches no layer, or nothing
            of the model can be pruned.
    """

    def __init__(self, model, workspace, exclude=(), data=None, loss=None):
        self.model = model
        self.data = data
        self.loss = loss
        self.exclude = [exclude] if isinstance(exclude, str) else list(exclude)
        self.workspace = Workspace(workspace)
        self._channels = channels_of(model, self.exclude)
        self.groups: list[ChannelGroup] = self._channels.groups
        self.plan: Plan | None = None
        self.plan_path: pathlib.Path | None = None
        self.history: tuning.Run | None = None
        if not self._channels.prunable:
            reasons = dict.fromkeys(group.reason for group in self.groups)
            raise PruningError(
                f"Nothing of model {model.name!r} can be pruned: "
                f"{'; '.join(reasons) or 'no layer makes channels'}."
            )

    def ana(
        self,
        evaluate=None,
        ratios=RATIOS,
        criterion=None,
        progress=True,
        data=None,
        metric="accuracy",
        loss=None,
        share=0.5,
        jobs=1,
    ) -> Sensitivity:
        """Measures how much the score suffers when one group is pruned.

        Either `evaluate` scores every group at every ratio; or, with `data`,
        a fast analysis scores only what decides, on a share of the data, with
        the running statistics of normalisation layers measured anew for every
        point. That takes about a fifth of the work.

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
                package's, `criteria.DEFAULT`.
            progress: Whether to show a progress bar. Defaults to True.
            data: Instead of `evaluate`: samples with targets, as arrays
                `(x, y)` or batches of them.
            metric: With `data`: `accuracy`, `loss` (negative, so that larger
                is better), or a function of `(y, y_pred)` that gives one
                number a sample, larger for better. Defaults to `accuracy`.
            loss: With `data`, where the loss is needed and the model is not
                compiled with it.
            share: With `data`: the share of them to score on, a random
                choice. Defaults to 0.5.
            jobs: How many processes evaluate at once; with more than one,
                `evaluate` must be picklable. Defaults to 1.

        Returns:
            The scores; `prune` uses them from now on.

        Raises:
            PruningError: If the model cannot be pruned (found in the first
                seconds), if `evaluate` raises or gives no finite number, or
                if another process is using the workspace.
        """
        ratios = check_ratios(ratios)
        criterion = criteria.get(criterion)
        by = "evaluate" if data is None else _metric_name(metric)
        with self.workspace.lock():
            results = self.workspace.results(self._origin_of(criterion, by))
            if not results.known:
                self._notice_others(results.origin)
            if data is not None:
                if results.ratios != ratios:
                    self._score(
                        results,
                        progress,
                        criterion,
                        data,
                        metric,
                        loss,
                        share,
                        ratios,
                    )
            else:
                todo = self._steps(self._channels, criterion, ratios)
                if not all(step.key in results.known for step in todo):
                    self._evaluate(
                        evaluate, ratios, criterion, results, progress, jobs
                    )
            results.finish(ratios)
        sensitivity = _curves(self._channels, results)
        if sensitivity.rises:
            _log.warning(
                "Most scores of the analysis are above the baseline: larger "
                "must mean better. If evaluate returns a loss, return -loss."
            )
        return sensitivity

    def _rehearsed(self) -> Masks:
        """The masks of a new sparse copy that has gone the whole way once."""
        from tf_channel_prune.transform import rehearse

        sparse = make_sparse(self._channels)
        masks = Masks(sparse, self._like_mine(sparse))
        self._check_like_mine(sparse, masks.channels)
        rehearse(sparse, masks)
        return masks

    def _evaluate(self, evaluate, ratios, criterion, results, progress, jobs):
        """Evaluates what is not known, on one sparse copy of the model."""
        from tf_channel_prune.report.progress import progress_bar

        if not callable(evaluate):
            raise PruningError(
                "ana needs evaluate, a function of a model that gives a "
                f"score, or data; got {evaluate!r}."
            )
        masks = self._rehearsed()
        todo = self._steps(masks.channels, criterion, ratios)

        def measure(alive):
            with masks.trial(alive):
                return evaluate(masks.model)

        with progress_bar("ana", len(todo), progress) as advance:
            if jobs > 1:
                file = self.workspace.model_path("ana")
                write_model(file, masks.model)
                spread = in_processes(file, evaluate, jobs)
                analyse_many(todo, spread, results, advance)
            else:
                units = masks.channels.unit_count
                analyse(todo, units, measure, results, advance)

    def _score(self, results, progress, criterion, data, *options):
        """The fast analysis, on one sparse copy of the model."""
        from tf_channel_prune.report.progress import progress_bar

        masks = self._rehearsed()
        groups = len(masks.channels.prunable)
        with progress_bar("ana", groups, progress) as advance:
            _, effort = analyse_on_data(
                self._channels,
                criterion,
                data,
                *options,
                results,
                masks,
                lambda group: advance(f"group {group.name!r}"),
            )
        _log.info("ana scored %s.", effort)

    def sensitivity(self, criterion=None) -> Sensitivity | None:
        """The finished analysis of the model as it is now, or None.

        One by `evaluate` goes before those on data.

        Args:
            criterion: The criterion of the analysis. Defaults to the
                package's.
        """
        for by in ("evaluate", *_METRICS):
            results = self.workspace.results(self._origin_of(criterion, by))
            if results.ratios is not None:
                return _curves(self._channels, results)
            if results.known:
                _log.warning(
                    "The analysis in %s is not finished and is not used: call "
                    "ana again to finish it.",
                    results.path,
                )
        self._notice_others(self._origin_of(criterion))
        return None

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
    ):
        """A sparse model, by one of `ratio`, `threshold` and `plan`.

        With an analysis in the workspace, the plan is the one with the least
        sum of losses by its curves; else channels are ranked by the
        normalised criterion. The plan is written to the workspace.

        Args:
            ratio: Share of the dense model's cost to remove, between 0 and 1;
                or a dictionary of targets by cost, all of which are met, each
                a share to remove or, from 1 up, the most that may be left.
            of: What cost: `flops`, `params` or `activation_memory`. Defaults
                to `flops`.
            threshold: The loss of score that each group alone may cause, by
                the analysis.
            plan: A plan file, its name in the workspace, or a `Plan`.
            model: A sparse model to go on from, with its weights; what is
                masked there stays masked, and `ratio` counts from the dense
                model all the same. Defaults to the pruner's own model.
            criterion: Which channels of a group go first. Defaults to the
                package's.
            min_channels, max_ratio, divisor: Limits for every group, or
                dictionaries of them by pattern of group or layer names; see
                `planning.Limits`.
            allocation: How the target is shared out among the groups; see
                `prune`. Defaults to `sensitivity` with an analysis.

        Returns:
            A new sparse model; `pruner.plan` says what was done, and prints
            as a table that says why.

        Raises:
            TargetError: If no allowed plan removes that much.
            StaleFileError: If the plan was made from another graph.
            PruningError: If the request makes no sense.
        """
        by_group = isinstance(allocation, Mapping) and ratio is None
        exactly_one(
            ratio=ratio,
            threshold=threshold,
            plan=plan,
            allocation=allocation if by_group else None,
        )
        limits = Limits(min_channels, max_ratio, divisor)
        channels = self._like_mine(model)
        living = living_units(self.model if model is None else model, channels)
        if plan is not None:
            alive, name, request = self._replayed(plan, channels)
            why = {}
        else:
            asked = Request(ratio, threshold, of, limits, allocation)
            for reach in asked.reach(channels):
                print(reach)
            scores = self._scores(channels, criterion)
            known = self.sensitivity(criterion)
            choice = asked.choose(channels, scores, living, known)
            alive, why = choice.alive, choice.explanation.by_group()
            name = str(asked)
            by_curves = choice.explanation.allocation == "sensitivity"
            request = {
                **asked.as_dict(),
                "criterion": criteria.get(criterion).name,
                "by": "analysis" if by_curves else "criterion",
            }
        alive &= living
        self._write(channels, alive, name, request, why)
        return make_sparse(channels, alive)

    def finetune(
        self,
        sparse,
        data,
        evaluate=None,
        recipes=None,
        distill=None,
        progress=True,
        **options,
    ):
        """The sparse model, trained by the best of several recipes.

        After every epoch the state is in the workspace; called again after an
        interruption, it goes on with the epoch that was in flight.

        Args:
            sparse: A sparse model of this pruner; it is not changed.
            data: Training data: arrays, a function of the epoch, or what
                `fit` takes; see `finetune.streams.Stream`.
            evaluate: Function of a model that gives its score on validation
                data; needed to choose among several recipes.
            recipes: A `tcp.Recipe`, a list of them, or None for the defaults.
            distill: True for the unpruned model as the teacher, another
                teacher, or a `tcp.Distill`. Defaults to none.
            progress: Whether to show a progress bar. Defaults to True.
            options: `loss`, `keep`, `seed` and `callbacks`; see
                `finetune.finetune`.

        Returns:
            A new sparse model.
        """
        from tf_channel_prune.report.progress import progress_bar

        recipes = tuning.as_recipes(recipes)
        key = weights_digest(channels_of(sparse).graph)[:12]
        total = sum(recipe.epochs for recipe in recipes)
        with (
            self.workspace.lock(),
            progress_bar("finetune", total, progress) as advance,
        ):
            return tuning.finetune(
                sparse,
                data,
                evaluate,
                recipes,
                distill,
                unpruned=self.model,
                folder=self.workspace.path / "finetune" / key,
                advance=advance,
                **options,
            ).model

    def run(
        self,
        data,
        evaluate,
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
        **options,
    ):
        """Prunes, fine-tunes and transforms, round after round, unattended.

        A round whose score does not come back within the tolerance is tried
        again with half of its step. The run ends at the target, or at the
        last acceptable model. All of it is in the workspace: killed at any
        moment, the same call goes on, losing at most the epoch or the
        evaluation in flight.

        With an analysis in the workspace (`ana`), rounds are planned by it.

        Args:
            data, evaluate, recipes, distill: See `finetune`.
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
            options: `loss`, `keep` and `callbacks`; see `finetune.finetune`.

        Returns:
            The slim model; `pruner.history` has the rounds, and is printed
            as a table.

        Raises:
            TargetError: If the ratio cannot be reached.
        """
        from tf_channel_prune.report.progress import progress_bar
        from tf_channel_prune.report.tables import rounds_table
        from tf_channel_prune.report.tables import to_text

        target = tuning.Target(ratio, max_drop, rounds, tolerance)
        recipes = tuning.as_recipes(recipes)
        how = {"of": of, "criterion": criterion, **(limits or {})}
        known = self.sensitivity(criterion)
        origin = {
            "model": self.digest,
            "target": dataclasses.asdict(target),
            "recipes": [recipe.as_dict() for recipe in recipes],
            "distill": tuning.described(distill),
            "seed": seed,
            "prune": {name: str(value) for name, value in how.items()},
            "analysed": known is not None,
            "keep": options.get("keep", "last"),
        }
        key = text_digest(json.dumps(origin, sort_keys=True))[:12]
        folder = self.workspace.path / "runs" / key
        epochs = sum(recipe.epochs for recipe in recipes)

        def prune(model, share):
            sparse = self.prune(share, model=model, **how)
            return sparse, self.plan.achieved[of]

        with (
            self.workspace.lock(),
            progress_bar("run", epochs * rounds, progress) as advance,
        ):
            self._rehearsed()

            def tune(sparse, into):
                return tuning.finetune(
                    sparse,
                    data,
                    evaluate,
                    recipes,
                    distill,
                    unpruned=self.model,
                    seed=seed,
                    folder=into,
                    advance=advance,
                    **options,
                )

            start = make_sparse(self._channels)
            done = tuning.run(
                start, prune, tune, evaluate, target, folder, origin
            )
        self.history = done
        print(to_text(rounds_table(done)))
        slim = self.transform(done.model)
        write_model(folder / "slim.keras", slim)
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

    def _like_mine(self, model) -> Channels:
        """The labels of a model that was made from the pruner's own."""
        if model is None:
            return self._channels
        channels = channels_of(model, self.exclude)
        self._check_like_mine(model, channels)
        return channels

    def _check_like_mine(self, model, channels: Channels) -> None:
        if _outline(channels) != _outline(self._channels):
            raise PruningError(
                f"Model {model.name!r} was not made from model "
                f"{self.model.name!r}, or with another exclude: their groups "
                "of channels differ. Give a sparse model of this pruner, or "
                "make a pruner for the other model."
            )

    def _replayed(self, plan, channels):
        """What stays by a plan, a name for the file and the request."""
        name = "given"
        if not isinstance(plan, Plan):
            path = self.workspace.find_plan(plan)
            name, plan = path.stem, Plan.read(path)
        plan.check_graph(self._graph_digest)
        made_from = plan.digests.get("weights")
        digests = [weights_digest(c.graph) for c in (channels, self._channels)]
        if made_from and made_from not in digests:
            _log.warning(
                "The plan was made from other weights: its channels may not "
                "be the best ones of this model."
            )
        return plan.alive(channels), f"replay-{name}", {"plan": name}

    def _write(self, channels, alive, name, request, why) -> None:
        """Makes the plan and writes it to the workspace."""
        table = CostTable(channels)
        digests = {
            "graph": self._graph_digest,
            "weights": weights_digest(channels.graph),
        }
        achieved = {of: table.removed(alive, of) for of in METRICS}
        self.plan = Plan.of(
            channels,
            alive,
            request=request,
            achieved=achieved,
            digests=digests,
            why=why,
        )
        with self.workspace.lock():
            text = self.plan.to_json()
            self.plan_path = self.workspace.save_plan(text, name)

    def _steps(self, channels, criterion, ratios):
        return steps(channels, self._scores(channels, criterion), ratios)

    def _scores(self, channels, criterion):
        return criteria.scores(channels, criterion, self.data, self.loss)

    @property
    def digest(self) -> str:
        """Another one for another graph, other weights or other excludes."""
        return text_digest(json.dumps(self._origin_of(None)))

    @functools.cached_property
    def _graph_digest(self) -> str:
        return graph_digest(self._channels.graph)

    def _origin_of(self, criterion, by="evaluate") -> dict[str, Any]:
        """What an analysis depends on."""
        units = [
            (group.name, group.units.tolist())
            for group in self._channels.prunable
        ]
        return {
            "graph": self._graph_digest,
            "weights": weights_digest(self._channels.graph),
            "groups": text_digest(json.dumps(units)),
            "criterion": criteria.get(criterion).name,
            "scores": by,
        }

    def _notice_others(self, origin) -> None:
        for file, differs in self.workspace.other_results(origin).items():
            _log.warning(
                "The analysis %s is not used: its %s differ.",
                file,
                " and ".join(differs),
            )


# The names of scores that the fast analysis is kept under.
_METRICS = ("accuracy", "loss", "function")


def _metric_name(metric) -> str:
    return metric if metric in _METRICS else "function"


def _curves(channels, results) -> Sensitivity:
    """The curves of a finished analysis."""
    if results.origin["scores"] == "evaluate":
        return assemble(channels, results.known, results.ratios)
    return curves_of(channels, results.known)


def _outline(channels: Channels):
    """What two models of the same making have in common."""
    return {g.name: (g.size, g.layers) for g in channels.prunable}
