"""`Pruner.finetune` and `Pruner.run`: training, once or round after round."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
from collections.abc import Callable
from typing import Any

from tf_channel_prune import finetune as tuning
from tf_channel_prune.analysis import score_of
from tf_channel_prune.api import transform
from tf_channel_prune.cost.latency_table import as_table
from tf_channel_prune.errors import PruningError
from tf_channel_prune.graph.digests import text_digest
from tf_channel_prune.graph.digests import value_digest
from tf_channel_prune.graph.files import write_model
from tf_channel_prune.masking import make_sparse
from tf_channel_prune.numbers import check_count
from tf_channel_prune.numbers import plain
from tf_channel_prune.planning import Request
from tf_channel_prune.planning.limits import Limits
from tf_channel_prune.pruner import analysing
from tf_channel_prune.pruner.choosing import choose
from tf_channel_prune.pruner.subject import Subject
from tf_channel_prune.workspace import Workspace

_LIMITS = ("min_channels", "max_ratio", "divisor", "allocation")


def finetune(
    workspace: Workspace | None, sparse, data, recipes, progress=True, **how
):
    """The best fine-tuned copy of a sparse model.

    Args:
        workspace: Where the states of the training are kept; None keeps
            none.
        how: See `finetune.finetune`; `evaluate`, `loss`, `keep`, `seed` and
            `distill` are there.
        (others): See `Pruner.finetune`.
    """
    from tf_channel_prune.report.progress import progress_bar

    recipes = tuning.as_recipes(recipes)
    loss, keep = how["loss"], how["keep"]
    how["seed"] = check_count(how["seed"], 0, "seed")
    tuning.check(sparse, data, how["evaluate"], recipes, loss, keep)
    lock, folder = contextlib.nullcontext(), None
    if workspace is not None:
        distill = tuning.as_distill(how["distill"], how.get("unpruned"))
        known = tuning.origin(sparse, data, distill, loss, how["seed"], keep)
        how["known"] = known
        folder = workspace.path / "finetune" / value_digest(known)[:12]
        lock = workspace.lock()
    total = sum(recipe.epochs for recipe in recipes)
    with lock, progress_bar("finetune", total, progress) as advance:
        return tuning.finetune(
            sparse,
            data,
            recipes=recipes,
            folder=folder,
            advance=advance,
            **how,
        ).model


@dataclasses.dataclass(frozen=True)
class Training:
    """How a run fine-tunes: by recipes on data, or by the user's function."""

    data: Any
    recipes: Any
    train: Callable | None
    distill: Any
    options: dict[str, Any]

    def __post_init__(self):
        if (self.data is None) == (self.train is None):
            raise PruningError(
                "Give one of data, which recipes train on, and train, a "
                "function that trains a model in place."
            )
        if self.train is None:
            recipes = tuning.as_recipes(self.recipes)
            object.__setattr__(self, "recipes", recipes)
        elif self.recipes is not None or self.distill:
            raise PruningError(
                "recipes and distill go with data; train trains by itself."
            )

    @property
    def steps(self) -> int:
        """How many steps of progress a round has."""
        if self.train is not None:
            return 1
        return sum(recipe.epochs for recipe in self.recipes)

    def check(self, model, evaluate, seed) -> None:
        """Raises now what training would raise after a long analysis."""
        if self.train is None:
            tuning.check(
                model,
                self.data,
                evaluate,
                self.recipes,
                seed=seed,
                **self.options,
            )
            distill = tuning.as_distill(self.distill, model)
            tuning.check_teacher(model, distill)
            tuning.check_batch(
                model,
                self.data,
                self.recipes[0],
                self.options["loss"],
                taught=distill is not None,
            )
        elif not callable(self.train):
            raise PruningError(
                "train is a function that trains a model in place; got "
                f"{self.train!r}."
            )

    def as_dict(self, model, seed) -> dict[str, Any]:
        """What the result of a run depends on, as JSON values."""
        if self.train is not None:
            name = getattr(self.train, "__qualname__", "train")
            return {"train": name, "seed": seed}
        return {
            "recipes": [recipe.as_dict() for recipe in self.recipes],
            **tuning.circumstances(
                model,
                self.data,
                tuning.as_distill(self.distill, model),
                self.options["loss"],
                seed,
                self.options["keep"],
            ),
        }

    def __call__(self, subject, evaluate, seed, sparse, folder, advance):
        """The fine-tuned copy of a sparse model."""
        if self.train is not None:
            outcome = tuning.train_by(sparse, self.train, evaluate, seed)
            advance("trained")
            return outcome
        return tuning.finetune(
            sparse,
            self.data,
            evaluate,
            self.recipes,
            self.distill,
            unpruned=subject.model,
            seed=seed,
            folder=folder,
            advance=advance,
            **self.options,
        )


def run(
    subject: Subject,
    training: Training,
    evaluate,
    target: tuning.Target,
    of,
    criterion,
    limits,
    seed,
    analyse,
    progress,
    latency=None,
    told=print,
):
    """The slim model and what was done; see `Pruner.run`.

    Returns:
        The slim model and the `finetune.Run`.
    """
    from tf_channel_prune.report.progress import progress_bar

    limits = _checked(limits)
    seed = check_count(seed, 0, "seed")
    latency = as_table(latency) if of == "latency" else None
    how = {"of": of, "criterion": criterion, "latency": latency, **limits}
    _check_evaluate(evaluate, training, target)
    training.check(subject.model, evaluate, seed)
    with subject.workspace.lock():
        _check_reach(subject, target, how, told)
        loss = training.options["loss"]
        baseline = _baseline(subject, evaluate)
        if analyse:
            analysing.measure_once(
                subject, evaluate, criterion, loss, progress, first=baseline
            )
        else:
            subject.rehearsed()
        by, known = analysing.ranking(subject, criterion)
        origin = {
            "model": subject.digest,
            "target": dataclasses.asdict(target),
            **training.as_dict(subject.model, seed),
            "prune": {**_described(limits), "of": of, "criterion": by.key},
            "analysed": known and value_digest([known.baseline, known.curves]),
            "latency": _latency(subject, of, latency),
        }
        key = text_digest(json.dumps(origin, sort_keys=True))[:12]
        folder = subject.workspace.path / "runs" / key

        def prune(model, share):
            chosen = choose(subject, share, model=model, loss=loss, **how)
            chosen.write(subject)
            sparse = make_sparse(chosen.channels, chosen.alive)
            return sparse, chosen.plan.achieved[of]

        with progress_bar("run", training.steps, progress) as advance:

            def tune(sparse, into):
                return training(subject, evaluate, seed, sparse, into, advance)

            def begin(number, remaining):
                advance.expect(f"round {number}", training.steps * remaining)

            start = make_sparse(subject.channels)
            done = tuning.run(
                start, prune, tune, baseline, target, folder, origin, begin
            )
        slim = transform(done.model)
        write_model(folder / "slim.keras", slim)
    return slim, done


def _baseline(subject, evaluate) -> Callable[[], float | None]:
    """The dense model's score, evaluated when it is first asked for."""

    @functools.cache
    def score():
        if evaluate is None:
            return None
        dense = make_sparse(subject.channels)
        return score_of(lambda: evaluate(dense), "the dense model")

    return score


def _checked(limits) -> dict[str, Any]:
    limits = {} if limits is None else limits
    if not isinstance(limits, dict) or not set(limits) <= set(_LIMITS):
        raise PruningError(
            f"limits is a dictionary of any of {', '.join(_LIMITS)}; got "
            f"{limits!r}."
        )
    return plain(limits)


def _latency(subject, of, table) -> str | None:
    """A digest of the latencies that plans are made with."""
    if of != "latency":
        return None
    return text_digest((table or as_table(subject.latency_path)).to_json())


def _described(limits) -> dict[str, str]:
    return {name: str(value) for name, value in limits.items()}


def _check_evaluate(evaluate, training, target) -> None:
    if evaluate is None and training.train is not None and target.ratio:
        return  # nothing to choose by: every round is kept
    if not callable(evaluate):
        raise PruningError(
            "run needs evaluate, a function of a model that gives its score "
            f"on validation data; got {evaluate!r}."
        )


def _check_reach(subject, target, how, told) -> None:
    """Refuses an impossible target before anything long."""
    limits = {name: how[name] for name in _LIMITS[:3] if name in how}
    asked = Request(
        # With max_drop anything that can be removed is a beginning.
        1e-6 if target.ratio is None else target.ratio,
        of=how["of"],
        limits=Limits(**limits),
        allocation=how.get("allocation"),
    )
    table = subject.costs(subject.channels, asked.metrics, how["latency"])
    for reach in asked.check_reach(subject.channels, table):
        told(str(reach))
