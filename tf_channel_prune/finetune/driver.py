"""Trains a model by several recipes and keeps the best, resumably."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import pathlib
from collections.abc import Callable
from collections.abc import Iterator
from typing import Any

from tf_channel_prune import graph as graphs
from tf_channel_prune.analysis import score_of
from tf_channel_prune.channels import understood
from tf_channel_prune.errors import PruningError
from tf_channel_prune.errors import what_it_says
from tf_channel_prune.finetune.checkpoints import Checkpoint
from tf_channel_prune.finetune.distillation import as_distill
from tf_channel_prune.finetune.distillation import check_teacher
from tf_channel_prune.finetune.distillation import described
from tf_channel_prune.finetune.distillation import distiller
from tf_channel_prune.finetune.recipes import Recipe
from tf_channel_prune.finetune.recipes import as_recipes
from tf_channel_prune.finetune.streams import Stream
from tf_channel_prune.graph import flavours
from tf_channel_prune.graph import optimizers
from tf_channel_prune.graph.digests import graph_digest
from tf_channel_prune.graph.digests import text_digest
from tf_channel_prune.graph.digests import value_digest
from tf_channel_prune.graph.digests import weights_digest
from tf_channel_prune.masking import Masks
from tf_channel_prune.masking import make_sparse
from tf_channel_prune.numbers import check_count
from tf_channel_prune.numbers import plain

KEEPS = ("last", "best")


@dataclasses.dataclass(frozen=True)
class Trial:
    """One recipe's training.

    Attributes:
        recipe: The recipe, or the name of the function that trained.
        score: On the validation data; -inf if training diverged (its loss is
            not finite), None if nothing was evaluated.
        seconds: Of training, over all processes that it took.
        history: Logs by epoch; of a metric that is an array, lists.
    """

    recipe: Recipe | str
    score: float | None
    seconds: float
    history: list[dict[str, Any]]


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What fine-tuning gave.

    Attributes:
        model: The best trial's model: a new one.
        trial: The best trial.
        trials: All of them, in the order of the recipes.
    """

    model: Any
    trial: Trial
    trials: tuple[Trial, ...]


def finetune(
    model,
    data,
    evaluate: Callable[[Any], float] | None = None,
    recipes=None,
    distill=None,
    unpruned=None,
    loss=None,
    keep="last",
    seed=0,
    folder=None,
    callbacks=(),
    advance: Callable[[str], None] | None = None,
    known: dict[str, Any] | None = None,
) -> Outcome:
    """Trains copies of a model, one a recipe, and gives the best.

    After every epoch the state (weights, optimizer, epoch) is in `folder`,
    written whole or not at all. Called again with the same arguments after
    an interruption, at most the epoch in flight is lost; data are shuffled
    and random generators seeded by epoch, so the result is the one that
    training without the interruption gives.

    Args:
        model: A sparse, slim or ordinary compiled model. It is not changed.
        data: See `Stream`.
        evaluate: Function of a model that gives a score, larger for a better
            model, on *validation* data. Needed for several recipes.
        recipes: A `Recipe`, a list of them, or None for the defaults.
        distill: A teacher, True for the unpruned model, or a `Distill`.
        unpruned: The unpruned model, if the caller knows it.
        loss: Defaults to the loss that the model is compiled with.
        keep: `last` gives the weights after the last epoch, `best` those of
            the epoch with the best score. Defaults to `last`.
        seed: Of shuffling and random layers. Defaults to 0. Python's,
            NumPy's and the backend's global seeds are set from it.
        folder: Where the states are kept. Defaults to None: nowhere.
        callbacks: Keras callbacks, or a function that makes them: one set a
            recipe. After an interruption they have the state again that they
            had, as far as it is numbers, strings, arrays, and lists, tuples
            and dictionaries of such; the rest of it starts anew.
        advance: Called after every epoch with what was done.
        known: What `origin` gives of these arguments, where the caller has
            it: it reads all weights. Defaults to None.

    Raises:
        PruningError: If arguments make no sense, or every recipe diverges.
        StaleFileError: If `folder` holds states of another training.
    """
    recipes = as_recipes(recipes)
    check(model, data, evaluate, recipes, loss, keep, seed, callbacks)
    distill = as_distill(distill, unpruned)
    check_teacher(model, distill)
    seed = plain(seed)
    if known is None:
        known = origin(model, data, distill, loss, seed, keep)
    job = _Job(
        model,
        data,
        evaluate,
        distill,
        loss,
        keep,
        seed,
        folder,
        callbacks,
        known,
    )
    best, trials = None, []
    for recipe in recipes:
        student, trial = job.train(recipe, advance or (lambda what: None))
        trials.append(trial)
        if best is None or (trial.score or 0) > (best[1].score or 0):
            best = student, trial
    if best[1].score == -math.inf:
        raise PruningError(
            "Training diverged with every recipe (the loss is not finite): "
            "lower their learning rates."
        )
    return Outcome(*best, tuple(trials))


def check(
    model, data, evaluate, recipes, loss=None, keep="last", seed=0, callbacks=()
) -> None:
    """Raises where `finetune` with these arguments could not train.

    Args:
        recipes: A list of recipes.
        (others): See `finetune`.

    Raises:
        PruningError: If they make no sense.
    """
    if keep not in KEEPS:
        raise PruningError(f"keep={keep!r}: expected one of {KEEPS}.")
    if evaluate is None and (len(recipes) > 1 or keep == "best"):
        raise PruningError(
            "Choosing among recipes or epochs needs evaluate=, a function of "
            "a model that gives its score on validation data."
        )
    flavours.flavour(model)
    if loss is None and not optimizers.compile_arguments(model).get("loss"):
        raise PruningError(
            f"Model {model.name!r} is not compiled: compile it with its loss, "
            "or give loss=."
        )
    check_count(seed, 0, "seed")
    if not callable(callbacks) and not isinstance(callbacks, (list, tuple)):
        raise PruningError(
            "callbacks is a list of Keras callbacks, or a function that makes "
            f"one; got {callbacks!r}."
        )
    for size in {recipe.batch_size for recipe in recipes}:
        Stream(data, size, seed=0)


def circumstances(model, data, distill, loss, seed, keep) -> dict[str, Any]:
    """What a training depends on beside its model and recipe.

    Args:
        distill: A `Distill` with its teacher, or None.
        (others): See `finetune`.

    Returns:
        JSON values by name.
    """
    compiled = optimizers.compile_arguments(model)
    if loss is None:
        loss = compiled.get("loss")
    trained = {id(weight) for weight in model.trainable_weights}
    return {
        "seed": seed,
        "keep": keep,
        "loss": value_digest([loss, compiled.get("loss_weights")]),
        "trained": value_digest([id(w) in trained for w in model.weights]),
        "data": Stream(data, 1, seed).digest(),
        "distill": described(distill),
    }


def origin(model, *given) -> dict[str, Any]:
    """What a training depends on beside its recipe.

    Args:
        model, given: See `circumstances`.
    """
    graph = graphs.read(model, understood)
    return {
        "graph": graph_digest(graph),
        "weights": weights_digest(graph),
        **circumstances(model, *given),
    }


@contextlib.contextmanager
def _training(recipe) -> Iterator[None]:
    """Says that it was the training where Keras raises what it likes.

    Data and losses that do not fit the model are found out by it alone; a
    callback or the data may raise anything, too. The error is the cause of
    the one that comes out, with all of its traceback.
    """
    try:
        yield
    except PruningError:
        raise
    except Exception as error:
        raise PruningError(
            f"Training by {recipe} failed with {type(error).__name__}: "
            f"{what_it_says(error)}"
        ) from error


def copy_of(model):
    """A model like another, sparse if it is, with weights of its own."""
    graph = graphs.read(model)
    if any(node.holder is not None for node in graph.nodes):
        masks = Masks(model)
        return make_sparse(masks.channels, masks.alive())
    return graphs.replay(graph)


@dataclasses.dataclass
class _Job:
    """What the trials of one call of `finetune` have in common."""

    model: Any
    data: Any
    evaluate: Callable | None
    distill: Any
    loss: Any
    keep: str
    seed: int
    folder: Any
    callbacks: Any
    origin: dict[str, Any]

    def train(self, recipe, advance):
        """The student and its trial, from where an earlier process was."""
        # A Keras callback, and Keras takes seconds to import.
        from tf_channel_prune.finetune.saving import Saver

        stream = Stream(self.data, recipe.batch_size, self.seed)
        student, trainer = self._compiled(recipe, stream.steps)
        saver = Saver(self, recipe, student, stream, advance)
        first = saver.resume(trainer.optimizer)
        if not saver.ended:
            given = self.callbacks
            given = given() if callable(given) else list(given)
            saver.dataset = stream.dataset(flavours.library(student), first)
            saver.prepare(first)  # Keras reads before the epoch begins
            # Also without an epoch to train: callbacks may have to finish.
            with _training(recipe):
                trainer.fit(
                    saver.dataset,
                    epochs=saver.epochs,
                    initial_epoch=first,
                    verbose=0,
                    shuffle=False,
                    callbacks=saver.beside(given),
                )
        if not saver.finished:
            saver.finish(trainer.optimizer)
        for _ in range(recipe.epochs - saver.done["epoch"]):
            advance(f"{recipe}: stopped before")
        done = saver.done
        trial = Trial(recipe, done["score"], done["seconds"], done["history"])
        return student, trial

    def score(self, student) -> float | None:
        if self.evaluate is None:
            return None
        return score_of(lambda: self.evaluate(student), "the fine-tuned model")

    def _compiled(self, recipe, steps):
        """A copy of the model, and the model whose `fit` trains it."""
        library = flavours.library(self.model)
        # Layers draw the seed of their generator when they are made.
        library.utils.set_random_seed(self.seed % 2**31)
        student = copy_of(self.model)
        optimizer = recipe.make_optimizer(library, steps)
        arguments = optimizers.compile_arguments(student)
        if self.loss is not None:
            arguments["loss"] = self.loss
        with _training(recipe):
            student.compile(optimizer=optimizer, **arguments)
        if self.distill is None:
            return student, student
        teacher = copy_of(self.distill.teacher)
        # The student keeps an optimizer of its own, which is never used.
        optimizer = recipe.make_optimizer(library, steps)
        return student, distiller(student, teacher, self.distill, optimizer)

    def checkpoints(self, recipe, stream):
        """The state after the last epoch, and that after the best one."""
        origin = {
            **self.origin,
            "recipe": recipe.as_dict(),
            "steps": stream.steps,
        }
        if self.folder is None:
            return Checkpoint(None, origin), Checkpoint(None, origin)
        name = text_digest(str(sorted(recipe.as_dict().items())))[:12]
        folder = pathlib.Path(self.folder)
        return (
            Checkpoint(folder / f"recipe-{name}.npz", origin),
            Checkpoint(folder / f"recipe-{name}-best.npz", origin),
        )
