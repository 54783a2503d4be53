"""Rules for layers of the user's own."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tf_channel_prune as tcp
from tf_channel_prune.channels.rules import rule_for
from tf_channel_prune.graph.kinds import kinds_of


class Scale(keras.layers.Layer):
    """Written with TensorFlow's own functions, so it does not open."""

    def build(self, shape):
        self.scale = self.add_weight(
            shape=(shape[-1],), initializer="uniform", name="scale"
        )

    def call(self, x):
        mean = tf.reduce_mean(x, axis=-1, keepdims=True)
        return tf.raw_ops.Mul(x=x - mean, y=self.scale)


class RegisteredScale(Scale):
    """A scale alone, with a rule."""

    def call(self, x):
        return tf.multiply(x, self.scale)


@tcp.register_rule(RegisteredScale)
class ScaleRule(tcp.Rule):
    def label(self, node, scope):
        labels = scope.input(node)
        scope.carry(node, "scale", 0, labels.axis(-1))
        scope.passes(node, labels)


def model_with(layer):
    image = keras.Input((4, 4, 3))
    x = keras.layers.Conv2D(8, 3, name="a")(image)
    x = keras.layers.GlobalAveragePooling2D()(layer(x))
    return keras.Model(image, keras.layers.Dense(2)(x))


def test_without_a_rule_the_layer_is_frozen_with_the_reason():
    group = tcp.channel_groups(model_with(Scale(name="mine")))[0]
    assert group.frozen
    assert group.reason.startswith("mine (Scale) has no rule")


def test_with_a_rule_its_weights_are_sliced():
    model = model_with(RegisteredScale(name="mine"))
    assert not tcp.channel_groups(model)[0].frozen
    slim = tcp.transform(tcp.prune(model, ratio=0.5))
    kept = np.isin(
        model.get_layer("mine").get_weights()[0],
        slim.get_layer("mine").get_weights()[0],
    )
    assert kept.sum() == slim.get_layer("a").filters == 4


def test_a_subclass_that_leaves_call_alone_has_the_rule_too():
    class Child(RegisteredScale):
        pass

    class Other(RegisteredScale):
        def call(self, x):
            return tf.reduce_sum(x)

    assert isinstance(rule_for(kinds_of(Child)), ScaleRule)
    assert rule_for(kinds_of(Other)) is None


def no_label():
    @tcp.register_rule(Scale)
    class Empty(tcp.Rule):
        pass


@pytest.mark.parametrize(
    "wrong, message",
    [
        (lambda: tcp.register_rule("Scale"), "takes classes of layers"),
        (lambda: tcp.register_rule(Scale)(Scale), "subclass of tcp.Rule"),
        (no_label, "Empty needs a label method"),
    ],
)
def test_mistakes_are_named(wrong, message):
    with pytest.raises(tcp.PruningError, match=message):
        wrong()
