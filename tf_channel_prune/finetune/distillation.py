"""Fine-tuning with a teacher: the unpruned model, as a rule.

`keras.distillation` does it for Keras 3; tf_keras has no library for it, so a
small model with its own train step does it there.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
from typing import Any

from tf_channel_prune import graph as graphs
from tf_channel_prune.channels import understood
from tf_channel_prune.errors import PruningError
from tf_channel_prune.graph import flavours
from tf_channel_prune.graph import optimizers
from tf_channel_prune.graph.digests import graph_digest
from tf_channel_prune.graph.digests import weights_digest
from tf_channel_prune.graph.structure import leaves
from tf_channel_prune.numbers import check_between
from tf_channel_prune.numbers import is_real
from tf_channel_prune.numbers import make_plain


@dataclasses.dataclass(frozen=True)
class Distill:
    """How a teacher helps.

    Attributes:
        teacher: A trained model with the same inputs and outputs. Defaults
            to None: the unpruned model, where the caller knows it.
        weight: The teacher's share of the loss; the targets have the rest.
            Defaults to 0.5.
        temperature: What logits are divided by (Hinton et al., 2015,
            "Distilling the knowledge in a neural network", section 2).
            Defaults to 3.
        features: Names of layers whose outputs should be as the teacher's
            (mean squared error). The layers must have kept their shape: a
            sparse model's have, a slim one's only where nothing was pruned.
            Each step runs the student twice. Defaults to none.
        features_weight: The weight of each such term beside the logits'.
            Defaults to 1.
    """

    teacher: Any = None
    weight: float = 0.5
    temperature: float = 3.0
    features: tuple[str, ...] = ()
    features_weight: float = 1.0

    def __post_init__(self):
        make_plain(self)
        given = self.weight, self.temperature
        weight, temperature = (
            value if is_real(value) else 0 for value in given
        )
        if not (0 < weight <= 1 and 0 < temperature < math.inf):
            raise PruningError(
                "The teacher's weight is a share of the loss, above 0 and at "
                "most 1, and its temperature is positive; got "
                f"{self.weight!r} and {self.temperature!r}."
            )
        what = "features_weight is a number"
        check_between(self.features_weight, 0, math.inf, what, ends=True)
        if isinstance(self.features, str):
            # A frozen dataclass; one name is as good as a tuple of it.
            object.__setattr__(self, "features", (self.features,))

    def as_dict(self) -> dict[str, Any]:
        """The settings as JSON values, without the teacher."""
        return {
            "weight": self.weight,
            "temperature": self.temperature,
            "features": list(self.features),
            "features_weight": self.features_weight,
        }


def as_distill(given, unpruned=None) -> Distill | None:
    """Settings from what `distill=` takes.

    Args:
        given: None or False, True (the unpruned model teaches), a model, or
            a `Distill`.
        unpruned: The unpruned model, if it is known.

    Raises:
        PruningError: If there is no teacher.
    """
    if given is None or given is False:
        return None
    if given is True:
        given = Distill()
    if not isinstance(given, Distill):
        flavours.flavour(given)
        return Distill(given)
    if given.teacher is None:
        given = dataclasses.replace(given, teacher=unpruned)
    if given.teacher is None:
        raise PruningError(
            "distill=True needs the unpruned model, which is not known here: "
            "give distill=teacher."
        )
    return given


def described(settings: Distill | None) -> dict[str, Any] | None:
    """What a training depends on of its teacher, as JSON values."""
    if settings is None:
        return None
    teacher = graphs.read(settings.teacher, understood)
    return {
        **settings.as_dict(),
        "teacher": [graph_digest(teacher), weights_digest(teacher)],
    }


def check_teacher(model, settings: Distill | None) -> None:
    """Raises unless the teacher takes and gives what the model does.

    Args:
        model: The student.
        settings: With a teacher, or None for no distillation.
    """
    if settings is None:
        return
    for what in ("inputs", "outputs"):
        own, theirs = _shapes(model, what), _shapes(settings.teacher, what)
        if own is not None and theirs is not None and own != theirs:
            raise PruningError(
                f"The teacher's {what} are of the shapes {theirs}, the "
                f"model's of {own}: it cannot teach this model."
            )


def _shapes(model, what):
    """Shapes without the batch axis; None where a model does not say."""
    tensors = getattr(model, what, None)
    if not tensors:
        return None
    return [tuple(tensor.shape)[1:] for tensor in leaves(tensors)]


def distiller(student, teacher, settings: Distill, optimizer):
    """A compiled model whose `fit` trains the student.

    Args:
        student: A compiled model; its loss and metrics are used.
        teacher: A model of its own for this: it is frozen.
        settings: See `Distill`.
        optimizer: A fresh optimizer.

    Raises:
        PruningError: If `settings.features` names layers that will not do.
    """
    for name in settings.features:
        _check_feature(student, teacher, name)
    compiled = optimizers.compile_arguments(student)
    if flavours.flavour(student) == "tf_keras":
        from tf_channel_prune.finetune import distillation_tf_keras as own
    else:
        from tf_channel_prune.finetune import distillation_keras as own
    return own.distiller(student, teacher, settings, optimizer, compiled)


def _check_feature(student, teacher, name):
    own, theirs = (_output_shape(model, name) for model in (student, teacher))
    if own != theirs:
        raise PruningError(
            f"features={name!r}: the layer's output is {own} in the "
            f"student and {theirs} in the teacher. Distil features into "
            "the sparse model, or from layers that kept their channels."
        )


def _output_shape(model, name):
    names = [layer.name for layer in model.layers]
    if name not in names:
        near = difflib.get_close_matches(str(name), names) or names
        more = ", ..." if len(near) > 5 else ""
        raise PruningError(
            f"features={name!r}: model {model.name!r} has no such layer; name "
            f"one of its own, like {', '.join(map(repr, near[:5]))}{more}."
        )
    try:
        return tuple(model.get_layer(name).output.shape)
    except (AttributeError, ValueError) as error:
        raise PruningError(
            f"features={name!r}: the layer of model {model.name!r} has "
            "several outputs, or is called several times; name one with a "
            "single output."
        ) from error


def output_kind(loss) -> str:
    """What a model's output is, by its loss.

    Returns:
        `logits`, `probabilities` or `values`.
    """
    found = leaves(loss)
    loss = found[0] if len(found) == 1 else None
    # A loss may have any name; its function or its class says what it is.
    kind = getattr(loss, "fn", loss)
    name = getattr(kind, "__name__", type(loss).__name__)
    name = loss if isinstance(loss, str) else name
    if "categoricalcrossentropy" not in name.replace("_", "").lower():
        return "values"
    config = loss.get_config() if hasattr(loss, "get_config") else {}
    return "logits" if config.get("from_logits") else "probabilities"
