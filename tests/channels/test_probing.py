"""Operations without a rule: tried on random arrays, used if that is safe."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from rule_checks import prune_and_compare
from rule_checks import randomise
from rule_checks import reasons
from rule_checks import sizes


class Closed(layers.Layer):
    """A layer that Keras cannot see into: it leaves the symbolic world."""

    def compute_output_shape(self, shape):
        return shape

    def call(self, x):
        return self.compute(tf.convert_to_tensor(x))


@keras.saving.register_keras_serializable("test_probing")
class Softened(Closed):
    def compute(self, x):
        return tf.math.asinh(x)


@keras.saving.register_keras_serializable("test_probing")
class Lifted(Closed):
    def compute(self, x):
        return tf.math.cosh(tf.math.tanh(x))


@keras.saving.register_keras_serializable("test_probing")
class Stepped(Closed):
    """Most changes of a channel change nothing."""

    def compute(self, x):
        return tf.cast(x > 2.0, tf.float32)


@keras.saving.register_keras_serializable("test_probing")
class Reversed(Closed):
    def compute(self, x):
        return tf.reverse(x, [-1])


@keras.saving.register_keras_serializable("test_probing")
class Turned(Closed):
    """Neighbours change places: there is no neighbour when one is gone."""

    def compute(self, x):
        shape = tf.shape(x)
        pairs = tf.reshape(x, (shape[0], shape[1], -1, 2))
        return tf.reshape(tf.reverse(pairs, [-1]), shape)


@keras.saving.register_keras_serializable("test_probing")
class Mixed(Closed):
    def compute(self, x):
        return x - tf.reduce_mean(x, axis=-1, keepdims=True)


@keras.saving.register_keras_serializable("test_probing")
class Sorted(Closed):
    def compute(self, x):
        return tf.sort(x, axis=-1)


@keras.saving.register_keras_serializable("test_probing")
class Rolled(Closed):
    """Steps move, channels stay."""

    def compute(self, x):
        return tf.roll(x, 1, axis=1)


@keras.saving.register_keras_serializable("test_probing")
class Noisy(Closed):
    def compute(self, x):
        return x + tf.random.normal(tf.shape(x))


@keras.saving.register_keras_serializable("test_probing")
class Failing(Closed):
    def compute(self, x):
        raise RuntimeError("out of paper")


@keras.saving.register_keras_serializable("test_probing")
class Dropped(Closed):
    """Drop path: per sample, in training only."""

    def call(self, x, training=False):
        if training:
            keep = tf.random.uniform((tf.shape(x)[0], 1, 1)) > 0.5
            return tf.where(keep, x, 0.0)
        return tf.identity(tf.convert_to_tensor(x))


@keras.saving.register_keras_serializable("test_probing")
class Scaled(Closed):
    """A weight for each channel, and one that all share."""

    def build(self, shape):
        self.slope = self.add_weight(shape=(shape[-1],), name="slope")
        self.shared = self.add_weight(shape=(1,), name="shared")

    def compute(self, x):
        return tf.where(x > 0, x, self.slope * x) + self.shared * x


@keras.saving.register_keras_serializable("test_probing")
class Lines(Closed):
    """A weight for each channel that lifts it off zero."""

    def build(self, shape):
        self.offset = self.add_weight(shape=(shape[-1],), name="offset")

    def compute(self, x):
        return tf.math.asinh(x) + tf.math.cos(self.offset)


@keras.saving.register_keras_serializable("test_probing")
class Projected(Closed):
    def build(self, shape):
        self.kernel = self.add_weight(
            shape=(shape[-1], shape[-1]), name="kernel"
        )

    def compute(self, x):
        return tf.matmul(x, self.kernel)


def chain(*parts, first=8):
    inputs = keras.Input((5, 3))
    x = layers.Dense(first, name="a")(inputs)
    for part in parts:
        x = part(x)
    x = layers.Dense(2, name="z")(x)
    return randomise(keras.Model(inputs, x))


ITSELF, MOVES = "each channel by itself", "channels move"

FOUND = {
    "element by element": (lambda: Softened(name="m"), ITSELF, True),
    "lifted off zero": (lambda: Lifted(name="m"), ITSELF, False),
    "steps": (lambda: Stepped(name="m"), ITSELF, True),
    "reversed": (lambda: Reversed(name="m"), MOVES, True),
    "rolled along the steps": (lambda: Rolled(name="m"), ITSELF, True),
    "weights for each channel": (lambda: Scaled(name="m"), ITSELF, True),
    "lambda": (
        lambda: layers.Lambda(lambda x: tf.math.asinh(x), name="m"),
        ITSELF,
        True,
    ),
    "drop path": (
        lambda: Dropped(name="m"),
        f"{ITSELF}; it was tried at inference, and training differs",
        True,
    ),
}


@pytest.mark.parametrize("row", FOUND)
def test_a_pattern_that_holds_is_used(row):
    make, pattern, zero = FOUND[row]
    channels, _, _ = prune_and_compare(chain(make()))
    assert sizes(channels) == {"a": 8}
    assert channels.probed == [("m", pattern)]
    assert channels.left_whole == []
    node = next(n for n in channels.graph.nodes if n.name == "m")
    assert channels.scope.tensors[node.outputs[0]].zero == zero


def test_a_weight_that_all_channels_share_stays():
    _, _, slim = prune_and_compare(chain(Scaled(name="m")))
    assert slim.get_layer("m").slope.shape == (slim.get_layer("a").units,)
    assert slim.get_layer("m").shared.shape == (1,)


WHOLE = {
    "neighbours": (lambda: Turned(name="m"), "for fewer channels"),
    "mean": (lambda: Mixed(name="m"), "it mixes channels"),
    "sort": (lambda: Sorted(name="m"), "it mixes channels"),
    "noise": (lambda: Noisy(name="m"), "its outputs are random"),
    "kernel": (lambda: Projected(name="m"), "it mixes channels"),
    "constant output shape": (
        lambda: layers.Lambda(
            lambda x: tf.math.asinh(x), output_shape=(5, 8), name="m"
        ),
        "it states its output's shape as a constant",
    ),
    "picks by number": (
        lambda: layers.Lambda(
            lambda x: tf.gather(x, [7, 0, 3], axis=-1), name="m"
        ),
        "for fewer channels",
    ),
}


@pytest.mark.parametrize("row", WHOLE)
def test_anything_else_is_left_whole(row):
    make, why = WHOLE[row]
    model = chain(make())
    if row == "noise":
        from tf_channel_prune.api import channels_of

        channels = channels_of(model)
    else:
        channels, _, _ = prune_and_compare(model)
    assert sizes(channels) == {}
    assert channels.probed == []
    ((name, reason),) = channels.left_whole
    assert name == "m"
    assert why in reason
    assert why in reasons(channels)["a"]


def test_a_layer_that_fails_names_its_error():
    inputs = keras.Input((5, 3))
    x = layers.Dense(4, name="a")(inputs)
    x = Failing(name="m")(x)
    x = layers.Dense(2, name="z")(x)
    from tf_channel_prune.api import channels_of

    channels = channels_of(keras.Model(inputs, x))
    ((_, reason),) = channels.left_whole
    assert "out of paper" in reason


@keras.saving.register_keras_serializable("test_probing")
class Gated(layers.Layer):
    def compute_output_shape(self, x_shape, gate_shape):
        return x_shape

    def call(self, x, gate):
        return tf.math.asinh(tf.convert_to_tensor(x)) * gate


def test_two_inputs_are_tied():
    inputs = keras.Input((5, 3))
    x = layers.Dense(8, name="a")(inputs)
    gate = layers.Dense(8, name="b")(inputs)
    x = layers.Dense(2, name="z")(Gated(name="m")(x, gate))
    channels, _, _ = prune_and_compare(randomise(keras.Model(inputs, x)))
    assert channels.prunable[0].layers == ("a", "b")
    assert channels.prunable[0].size == 8


def test_a_fixed_input_holds_the_other():
    inputs = keras.Input((5, 8))
    x = layers.Dense(8, name="a")(inputs)
    x = layers.Dense(2, name="z")(Gated(name="m")(x, inputs))
    channels, _, _ = prune_and_compare(randomise(keras.Model(inputs, x)))
    assert sizes(channels) == {}
    assert "for fewer channels" in reasons(channels)["a"]


def test_masked_weights_do_not_hide_the_pattern():
    """A sparse model reads as the dense one did, whatever is masked."""
    channels, alive, _ = prune_and_compare(chain(Scaled(name="m")))
    from tf_channel_prune.masking import Masks
    from tf_channel_prune.masking import make_sparse

    sparse = make_sparse(channels, alive)
    again = Masks(sparse).channels
    assert again.probed == channels.probed
    np.testing.assert_array_equal(Masks(sparse).alive(), alive)


def test_the_users_layer_is_not_called():
    calls = []

    @keras.saving.register_keras_serializable("test_probing")
    class Counting(Softened):
        def call(self, x):
            if not isinstance(x, keras.KerasTensor):
                calls.append(self)
            return super().call(x)

    layer = Counting(name="m")
    model = chain(layer)
    from tf_channel_prune.api import channels_of

    assert channels_of(model).probed
    assert calls
    assert not any(called is layer for called in calls)
    assert len(layer._inbound_nodes) == 1
