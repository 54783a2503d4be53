"""Distillation by `keras.distillation` (Keras 3)."""

from __future__ import annotations

import keras
from keras import ops
from keras import tree

from tf_channel_prune.errors import PruningError
from tf_channel_prune.finetune.distillation import output_kind


def distiller(student, teacher, settings, optimizer, compiled):
    """See `distillation.distiller`."""
    library = keras.distillation
    losses = [_on_outputs(student, settings, compiled.get("loss"))]
    for name in settings.features:
        _check_feature(student, teacher, name)
        losses.append(library.FeatureDistillation("mse", name, name))
    weights = [1.0] + [settings.features_weight] * len(settings.features)
    model = library.Distiller(
        teacher,
        student,
        losses,
        weights,
        student_loss_weight=1.0 - settings.weight,
    )
    model.compile(
        optimizer=optimizer,
        loss=compiled.get("loss"),
        jit_compile=compiled.get("jit_compile", "auto"),
        run_eagerly=compiled.get("run_eagerly", False),
    )
    return model


def _on_outputs(student, settings, loss):
    kind = "values" if tree.is_nested(loss) else output_kind(loss)
    if kind == "values":
        outputs = student.outputs
        one = not tree.is_nested(loss) and len(outputs) == 1
        structure = outputs[0] if one else student.output
        mse = tree.map_structure(lambda _: "mse", structure)
        return keras.distillation.FeatureDistillation(mse)
    kinds = {
        "logits": keras.distillation.LogitsDistillation,
        "probabilities": _ProbabilitiesDistillation,
    }
    # The default, given by its name, is a function in Keras 3.15, which is
    # then applied to the logits without their softmax.
    divergence = keras.losses.KLDivergence()
    return kinds[kind](settings.temperature, divergence)


class _ProbabilitiesDistillation(keras.distillation.LogitsDistillation):
    """For models that end in a softmax: their logits are its logarithm."""

    def compute_loss(self, teacher_outputs, student_outputs, **kwargs):
        def log(p):
            return ops.log(ops.maximum(p, keras.config.epsilon()))

        return super().compute_loss(
            tree.map_structure(log, teacher_outputs),
            tree.map_structure(log, student_outputs),
            **kwargs,
        )


def _check_feature(student, teacher, name):
    shapes = []
    for model in (student, teacher):
        try:
            shapes.append(tuple(model.get_layer(name).output.shape))
        except ValueError as error:
            raise PruningError(
                f"features={name!r}: model {model.name!r} has no such layer, "
                f"or it has several outputs ({error})."
            ) from error
    if shapes[0] != shapes[1]:
        raise PruningError(
            f"features={name!r}: the layer's output is {shapes[0]} in the "
            f"student and {shapes[1]} in the teacher. Distil features into "
            "the sparse model, or from layers that kept their channels."
        )
