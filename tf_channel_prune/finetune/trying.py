"""Whether a model takes the data, before anything long."""

from __future__ import annotations

import sys

from tf_channel_prune.errors import PruningError
from tf_channel_prune.errors import what_it_says
from tf_channel_prune.finetune.driver import copy_of
from tf_channel_prune.finetune.recipes import Recipe
from tf_channel_prune.finetune.sequences import as_fit_takes
from tf_channel_prune.finetune.streams import Stream
from tf_channel_prune.graph import flavours
from tf_channel_prune.graph import optimizers
from tf_channel_prune.graph.randomness import repeated


def check_batch(model, data, recipe: Recipe, loss=None, taught=False) -> None:
    """Raises where a copy of a model does not take the first batch.

    Its outputs and its loss on that batch are computed. A `tf.data.Dataset`
    is not read: what it says of its shapes is tried. Data of other kinds that
    only `fit` reads are not tried.

    Args:
        model: The model; nothing of it is changed.
        data: See `Stream`.
        recipe: How large batches are.
        loss: Defaults to the loss that the model is compiled with.
        taught: Whether a teacher helps: then only the inputs are tried, as
            targets may be missing.

    Raises:
        PruningError: If Keras refuses the batch.
    """
    stream = Stream(data, recipe.batch_size, seed=0)
    with repeated(0):  # nothing that is drawn here is missed afterwards
        student = copy_of(model)
        try:
            _compile(student, loss)
            _try(student, stream, taught)
        except PruningError:
            raise
        except Exception as error:  # Keras', or of the user's data or loss
            raise PruningError(
                f"Model {model.name!r} and its loss do not take the first "
                f"batch of the data ({type(error).__name__}: "
                f"{what_it_says(error)}). Give inputs, targets and weights "
                "as its fit takes them."
            ) from error


def _compile(student, loss):
    arguments = optimizers.compile_arguments(student)
    student.compile(
        "sgd",
        loss=arguments.get("loss") if loss is None else loss,
        loss_weights=arguments.get("loss_weights"),
        run_eagerly=True,
    )


def _try(student, stream, taught):
    library = flavours.library(student)
    if not stream.fits:
        batch = stream.batch(0, 0)
    elif hasattr(stream.data, "__getitem__"):
        batch = as_fit_takes(stream.data[0])
    else:
        _trace(student, stream.data, taught)
        return
    batch = _parts(batch, taught)
    found = Stream([batch], 1, 0).dataset(library, 0)
    (student.predict if taught else student.evaluate)(found, verbose=0)


def _parts(batch, taught):
    """The inputs alone, or with the targets, which there must be."""
    batch = batch if isinstance(batch, tuple) else (batch,)
    if taught:
        return batch[:1]
    if len(batch) == 1:
        raise PruningError(
            "The data have no targets for the loss: give (x, y), or batches "
            "of this kind."
        )
    return batch


def _trace(student, data, taught):
    """Goes by what a dataset of TensorFlow says of itself."""
    tf = sys.modules.get("tensorflow")
    if tf is None or not isinstance(data, tf.data.Dataset):
        return
    backend = getattr(flavours.library(student), "config", None)
    if backend and backend.backend() != "tensorflow":
        return
    spec = _parts(data.element_spec, taught)
    if taught:
        tf.function(student).get_concrete_function(spec[0])
    else:
        tf.function(student.test_step).get_concrete_function(spec)
