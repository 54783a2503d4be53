"""Distillation by a train step of our own (tf_keras)."""

from __future__ import annotations

import tensorflow as tf
import tf_keras

from tf_channel_prune.errors import PruningError
from tf_channel_prune.finetune.distillation import output_kind


def distiller(student, teacher, settings, optimizer, compiled):
    """See `distillation.distiller`."""
    kind = output_kind(compiled.get("loss"))
    if len(student.outputs) > 1:
        raise PruningError(
            "Distillation in tf_keras is for models with one output; "
            f"{student.name!r} has {len(student.outputs)}."
        )
    model = _Distiller(student, teacher, settings, kind)
    model.compile(
        optimizer=optimizer,
        loss=compiled.get("loss"),
        loss_weights=compiled.get("loss_weights"),
    )
    return model


class _Distiller(tf_keras.Model):
    """Trains a student on targets and on a teacher's outputs."""

    def __init__(self, student, teacher, settings, kind):
        super().__init__(name="distiller")
        self.student = student
        self.teacher = teacher
        self.teacher.trainable = False
        self.settings = settings
        self.kind = kind
        self._both = [_with_features(m, settings) for m in (student, teacher)]

    def call(self, inputs, training=None):
        return self.student(inputs, training=training)

    @property
    def trainable_variables(self):
        return self.student.trainable_variables

    def train_step(self, data):
        x, y, weight = tf_keras.utils.unpack_x_y_sample_weight(data)
        taught, *wanted = tf.nest.flatten(self._both[1](x, training=False))
        share = self.settings.weight
        with tf.GradientTape() as tape:
            said, *found = tf.nest.flatten(self._both[0](x, training=True))
            own = self.compiled_loss(
                y, said, weight, regularization_losses=self.student.losses
            )
            extra = self._difference(_full(taught), _full(said))
            for one, other in zip(wanted, found):
                error = tf.reduce_mean(tf.square(_full(one) - _full(other)))
                error = tf.cast(error, extra.dtype)
                extra += self.settings.features_weight * error
            loss = share * extra + (1 - share) * tf.cast(own, extra.dtype)
        self.optimizer.minimize(loss, self.trainable_variables, tape=tape)
        return {"loss": loss}

    def _difference(self, taught, said):
        if self.kind == "values":
            return tf.reduce_mean(tf.square(taught - said))
        if self.kind == "probabilities":
            small = tf_keras.backend.epsilon()
            taught, said = (
                tf.math.log(tf.maximum(p, small)) for p in (taught, said)
            )
        heat = self.settings.temperature
        return heat**2 * tf.reduce_mean(
            tf_keras.losses.kl_divergence(
                tf.nn.softmax(taught / heat), tf.nn.softmax(said / heat)
            )
        )


def _full(x):
    """Half precision as float32: with mixed precision layers differ in it."""
    return tf.cast(x, tf.float32) if x.dtype.size < 4 else x


def _with_features(model, settings):
    """A model with its output and the features as a list of outputs."""
    features = [model.get_layer(name).output for name in settings.features]
    return tf_keras.Model(model.inputs, [model.outputs[0], *features])
