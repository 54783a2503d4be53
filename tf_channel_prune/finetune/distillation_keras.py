"""Distillation by `keras.distillation` (Keras 3)."""

from __future__ import annotations

import keras
from keras import ops
from keras import tree

from tf_channel_prune.finetune.distillation import output_kind


def distiller(student, teacher, settings, optimizer, compiled):
    """See `distillation.distiller`."""
    library = keras.distillation
    losses = [_on_outputs(student, settings, compiled.get("loss"))]
    for name in settings.features:
        losses.append(library.FeatureDistillation("mse", name, name))
    weights = [1.0] + [settings.features_weight] * len(settings.features)
    model = _Distiller(teacher, student, losses, weights, settings.weight)
    model.compile(
        optimizer=optimizer,
        loss=compiled.get("loss"),
        jit_compile=compiled.get("jit_compile", "auto"),
        run_eagerly=compiled.get("run_eagerly", False),
    )
    return model


class _Distiller(keras.distillation.Distiller):
    """Keras' own leaves out sample weights, weights of losses, regularizers
    and other losses of layers, which the student itself takes in.
    """

    def __init__(self, teacher, student, losses, weights, share):
        super().__init__(
            teacher, student, losses, weights, student_loss_weight=0.0
        )
        self.share = share
        self.on_targets = keras.metrics.Mean(name="on_targets")

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
        if y_pred is None:
            y_pred = self(x, training=training)
        taught = super().compute_loss(x, None, y_pred, training=training)
        if y is None or self.share == 1:
            return self.share * taught
        own = self.student.compute_loss(
            x, y, y_pred, sample_weight, training=training
        )
        self.on_targets.update_state(own)
        return self.share * taught + (1 - self.share) * own

    def get_metrics_result(self):
        found = super().get_metrics_result()
        found["student_loss"] = found.pop("on_targets")
        found["total_loss"] = found["loss"]
        return found


def _on_outputs(student, settings, loss):
    kind = output_kind(loss) if len(student.outputs) == 1 else "values"
    if kind == "values":
        return _ValuesDistillation("mse")
    kinds = {
        "logits": keras.distillation.LogitsDistillation,
        "probabilities": _ProbabilitiesDistillation,
    }
    # The default, given by its name, is a function in Keras 3.15, which is
    # then applied to the logits without their softmax.
    divergence = keras.losses.KLDivergence()
    return kinds[kind](settings.temperature, divergence)


class _ValuesDistillation(keras.distillation.FeatureDistillation):
    """The outputs themselves, one or several in any structure."""

    def validate_outputs(self, teacher_outputs, student_outputs):
        pass  # done before training

    def compute_loss(self, teacher_outputs, student_outputs, **kwargs):
        pairs = zip(
            tree.flatten(teacher_outputs), tree.flatten(student_outputs)
        )
        return sum(ops.mean(ops.square(one - other)) for one, other in pairs)


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
