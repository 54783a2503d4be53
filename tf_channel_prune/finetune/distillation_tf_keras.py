"""Distillation by a train step of our own (tf_keras)."""

from __future__ import annotations

import tensorflow as tf
import tf_keras

from tf_channel_prune.finetune.distillation import output_kind


def distiller(student, teacher, settings, optimizer, compiled):
    """See `distillation.distiller`."""
    several = len(student.outputs) > 1
    kind = "values" if several else output_kind(compiled.get("loss"))
    model = _Distiller(student, teacher, settings, kind)
    how = {n: compiled.get(n) for n in ("jit_compile", "run_eagerly")}
    model.compile(optimizer=optimizer, **how)
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
        self._loss = tf_keras.metrics.Mean(name="loss")

    def call(self, inputs, training=None):
        return self.student(inputs, training=training)

    @property
    def trainable_variables(self):
        return self.student.trainable_variables

    @property
    def metrics(self):
        return [self._loss]  # set to zero at the beginning of every epoch

    def train_step(self, data):
        x, y, weight = tf_keras.utils.unpack_x_y_sample_weight(data)
        taught = tf.nest.flatten(self._both[1](x, training=False))
        share = self.settings.weight
        with tf.GradientTape() as tape:
            found = tf.nest.flatten(self._both[0](x, training=True))
            extra = self._differences(taught, found)
            said = found[: len(self.student.outputs)]
            said = tf.nest.pack_sequence_as(self.student.output, said)
            own = self.student.compute_loss(x, y, said, weight)
            loss = share * extra + (1 - share) * tf.cast(own, extra.dtype)
        self.optimizer.minimize(loss, self.trainable_variables, tape=tape)
        self._loss.update_state(loss)
        return {"loss": self._loss.result()}

    def _differences(self, taught, found):
        """Of the outputs, and of the features that stand behind them."""
        count = len(self.student.outputs)
        pairs = [
            (_full(one), _full(other)) for one, other in zip(taught, found)
        ]
        extra = sum(self._difference(*pair) for pair in pairs[:count])
        for one, other in pairs[count:]:
            error = tf.cast(tf.reduce_mean((one - other) ** 2), extra.dtype)
            extra += self.settings.features_weight * error
        return extra

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
    """A model with its outputs and the features as a list of outputs."""
    features = [model.get_layer(name).output for name in settings.features]
    return tf_keras.Model(model.inputs, [*model.outputs, *features])
