"""Operations without a rule: tried on random arrays, used where that holds."""

import random

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from model_checks import check
from rule_checks import prune_and_compare
from rule_checks import randomise
from rule_checks import reasons
from rule_checks import sizes

from tf_channel_prune.api import channels_of
from tf_channel_prune.channels import probing

register = keras.saving.register_keras_serializable("test_probing")


def closed(x):
    """What `keras.ops` has no counterpart of, so that it is not opened."""
    return tf.raw_ops.Identity(input=x)


class Closed(layers.Layer):
    """A layer that Keras cannot see into: it leaves the symbolic world."""

    def compute_output_shape(self, shape):
        return shape

    def call(self, x):
        return self.compute(closed(x))


@register
class Softened(Closed):
    def compute(self, x):
        return tf.math.asinh(x)


@register
class Lifted(Closed):
    """A dead channel holds one."""

    def compute(self, x):
        return tf.math.cosh(tf.math.tanh(x))


@register
class Stepped(Closed):
    """Most changes of a channel change nothing; there is no gradient."""

    def compute(self, x):
        return tf.cast(x > 2.0, tf.float32)


@register
class Reversed(Closed):
    def compute(self, x):
        return tf.reverse(x, [-1])


@register
class Turned(Closed):
    """Neighbours change places: there is no neighbour when one is gone."""

    def compute(self, x):
        shape = tf.shape(x)
        pairs = tf.reshape(x, (shape[0], shape[1], -1, 2))
        return tf.reshape(tf.reverse(pairs, [-1]), shape)


@register
class Mixed(Closed):
    def compute(self, x):
        return x - tf.reduce_mean(x, axis=-1, keepdims=True)


@register
class Slightly(Closed):
    """What the channels' number changes shows in no single run."""

    def compute(self, x):
        return x / tf.cast(tf.shape(x)[-1], tf.float32)


@register
class Sorted(Closed):
    def compute(self, x):
        return tf.sort(x, axis=-1)


@register
class Rolled(Closed):
    """Steps move, channels stay."""

    def compute(self, x):
        return tf.roll(x, 1, axis=1)


@register
class Standard(Closed):
    """A channel that is the same everywhere has no finite gradient."""

    def __init__(self, least=0.0, **kwargs):
        super().__init__(**kwargs)
        self.least = least

    def get_config(self):
        return {**super().get_config(), "least": self.least}

    def compute(self, x):
        variance = tf.math.reduce_variance(x, axis=1, keepdims=True)
        return x + tf.sqrt(variance + self.least)


@register
class Root(Closed):
    def compute(self, x):
        return tf.sqrt(tf.abs(x))


@register
class Logarithm(Closed):
    def compute(self, x):
        return tf.math.log(tf.abs(x))


@tf.custom_gradient
def straight(x):
    return tf.identity(x), lambda slope: slope / tf.norm(slope)


@register
class Normalized(Closed):
    """Each channel by itself, but not on the way back."""

    def compute(self, x):
        return straight(x)


@register
class Noisy(Closed):
    def compute(self, x):
        return x + tf.random.normal(tf.shape(x))


@register
class Failing(Closed):
    def compute(self, x):
        raise RuntimeError("out of paper")


@register
class Costly(Closed):
    def compute(self, x):
        self.add_loss(tf.reduce_mean(tf.square(x)))
        return tf.identity(x)


@register
class Weighted(Closed):
    def build(self, shape):
        self.slope = self.add_weight(shape=(shape[-1],), name="slope")

    def compute(self, x):
        return tf.math.asinh(x) * self.slope


@register
class DropPath(layers.Layer):
    """Stochastic depth: whole samples, in training only."""

    def __init__(self, rate=0.5, **kwargs):
        super().__init__(**kwargs)
        self.rate = rate
        self.seeds = keras.random.SeedGenerator(1337)

    def get_config(self):
        return {**super().get_config(), "rate": self.rate}

    def call(self, x, training=False):
        if not training:
            return x
        shape = (keras.ops.shape(x)[0],) + (1,) * (len(x.shape) - 1)
        kept = 1 - self.rate
        mask = keras.random.uniform(shape, seed=self.seeds) + kept
        return x * keras.ops.floor(mask) / kept


@register
class UnseededDropPath(Closed):
    def call(self, x, training=False):
        x = tf.convert_to_tensor(x)
        if training:
            keep = tf.random.uniform((tf.shape(x)[0], 1, 1)) > 0.5
            return tf.where(keep, x, 0.0)
        return tf.identity(x)


@register
class Sprinkled(DropPath):
    """Noise on every entry."""

    def call(self, x, training=False):
        if not training:
            return x
        shape = keras.ops.shape(x)
        return x + keras.random.normal(shape, seed=self.seeds)


@register
class Shuffled(Closed):
    """Channels change places at random, in training only."""

    def call(self, x, training=False):
        x = tf.convert_to_tensor(x)
        if training:
            order = tf.random.shuffle(tf.range(tf.shape(x)[-1]))
            return tf.gather(x, order, axis=-1)
        return tf.identity(x)


@register
class MixedInTraining(Closed):
    def call(self, x, training=False):
        x = tf.convert_to_tensor(x)
        if training:
            return x - tf.reduce_mean(x, axis=-1, keepdims=True)
        return tf.identity(x)


def chain(*parts, first=8):
    inputs = keras.Input((5, 3))
    x = layers.Dense(first, name="a")(inputs)
    for part in parts:
        x = part(x)
    x = layers.Dense(2, name="z")(x)
    return randomise(keras.Model(inputs, x))


def lambda_of(function, **kwargs):
    return layers.Lambda(function, name="m", **kwargs)


ITSELF, MOVES = "each channel by itself", "channels move"
CHANCE = f"{ITSELF}, at random in training"

# The layer, its pattern, and what a dead channel holds after it.
FOUND = {
    "element by element": (lambda: Softened(name="m"), ITSELF, 0.0),
    "lifted off zero": (lambda: Lifted(name="m"), ITSELF, 1.0),
    "steps": (lambda: Stepped(name="m"), ITSELF, 0.0),
    "reversed": (lambda: Reversed(name="m"), MOVES, 0.0),
    "rolled along the steps": (lambda: Rolled(name="m"), ITSELF, 0.0),
    "smooth at zero": (lambda: Standard(1e-3, name="m"), ITSELF, None),
    "lambda": (lambda: lambda_of(lambda x: tf.math.asinh(x)), ITSELF, 0.0),
    "drop path": (lambda: DropPath(name="m"), CHANCE, 0.0),
    "drop path without a seed": (
        lambda: UnseededDropPath(name="m"),
        CHANCE,
        0.0,
    ),
    "noise in training": (lambda: Sprinkled(name="m"), CHANCE, None),
}


@pytest.mark.parametrize("row", FOUND)
def test_a_pattern_that_holds_is_used(row):
    make, pattern, level = FOUND[row]
    channels, _, slim = prune_and_compare(chain(make()))
    assert sizes(channels) == {"a": 8}
    assert channels.probed == [("m", pattern)]
    assert channels.left_whole == []
    (group,) = channels.prunable
    assert group.probed == ("m",)
    node = next(n for n in channels.graph.nodes if n.name == "m")
    dead = channels.scope.tensors[node.outputs[0]].dead
    if level is not None:
        assert dead == pytest.approx(level)
    assert type(slim.get_layer("m")) is type(make())


@pytest.mark.parametrize("row", ["drop path", "lifted off zero"])
def test_models_with_it_are_saved_and_loaded(row, tmp_path):
    check(chain(FOUND[row][0]()), saves=tmp_path)


WHOLE = {
    "neighbours": (lambda: Turned(name="m"), "for fewer channels"),
    "mean": (lambda: Mixed(name="m"), "it mixes channels"),
    "number of channels": (lambda: Slightly(name="m"), "for fewer channels"),
    "sort": (lambda: Sorted(name="m"), "it mixes channels"),
    "noise": (lambda: Noisy(name="m"), "its outputs are random"),
    "weights": (lambda: Weighted(name="m"), "it has weights of its own"),
    "a loss": (lambda: Costly(name="m"), "it adds to the loss"),
    "fails": (lambda: Failing(name="m"), "out of paper"),
    "slope at zero": (lambda: Root(name="m"), "no finite gradient"),
    "spread of one number": (lambda: Standard(name="m"), "no finite gradient"),
    "pole at zero": (lambda: Logarithm(name="m"), "no finite gradient"),
    "gradients mix": (lambda: Normalized(name="m"), "gradients of others"),
    "random places": (lambda: Shuffled(name="m"), "in another way"),
    "mean in training": (lambda: MixedInTraining(name="m"), "mixes channels"),
    "constant output shape": (
        lambda: lambda_of(lambda x: tf.math.asinh(x), output_shape=(5, 8)),
        "it states its output's shape as a constant",
    ),
    "picks by number": (
        lambda: lambda_of(lambda x: tf.gather(closed(x), [7, 0, 3], axis=-1)),
        "for fewer channels",
    ),
}


@pytest.mark.parametrize("row", WHOLE)
def test_anything_else_is_left_whole(row):
    make, why = WHOLE[row]
    channels = channels_of(chain(make()))
    assert sizes(channels) == {}
    assert channels.probed == []
    ((name, reason),) = channels.left_whole
    assert name == "m"
    assert why in reason
    assert why in reasons(channels)["a"]


def test_the_spread_of_a_constant_that_is_not_known():
    """A sigmoid's dead channel holds the same number everywhere."""
    between = layers.Activation("sigmoid")
    bias = layers.Dense(8, name="b")
    channels = channels_of(chain(between, Standard(name="m")))
    assert "no finite gradient" in channels.left_whole[0][1]
    channels = channels_of(chain(between, bias, Softened(name="m")))
    assert sizes(channels) == {"a": 8, "b": 8}


@register
class Gated(layers.Layer):
    def compute_output_shape(self, x_shape, gate_shape):
        return x_shape

    def call(self, x, gate):
        return tf.math.asinh(tf.convert_to_tensor(x)) * gate


@register
class Joined(Gated):
    def compute_output_shape(self, x_shape, gate_shape):
        return *x_shape[:-1], x_shape[-1] + gate_shape[-1]

    def call(self, x, gate):
        return closed(tf.concat([tf.convert_to_tensor(x), gate], -1))


def two(layer):
    inputs = keras.Input((5, 3))
    x = layers.Dense(8, name="a")(inputs)
    y = layers.Dense(8, name="b")(inputs)
    x = layers.Dense(2, name="z")(layer(x, y))
    return randomise(keras.Model(inputs, x))


def test_inputs_that_meet_are_tied():
    channels, _, _ = prune_and_compare(two(Gated(name="m")))
    assert channels.prunable[0].layers == ("a", "b")
    assert channels.prunable[0].size == 8


def test_inputs_beside_each_other_are_not():
    channels, _, _ = prune_and_compare(two(Joined(name="m")))
    assert sizes(channels) == {"a": 8, "b": 8}
    assert channels.probed == [("m", MOVES)]


def test_a_fixed_input_holds_the_other():
    inputs = keras.Input((5, 8))
    x = layers.Dense(8, name="a")(inputs)
    x = layers.Dense(2, name="z")(Gated(name="m")(x, inputs))
    channels, _, _ = prune_and_compare(randomise(keras.Model(inputs, x)))
    assert sizes(channels) == {}
    assert "for fewer channels" in reasons(channels)["a"]


def test_the_users_layer_is_not_called():
    calls = []

    @register
    class Counting(Softened):
        def call(self, x):
            if not isinstance(x, keras.KerasTensor):
                calls.append(self)
            return super().call(x)

    layer = Counting(name="m")
    model = chain(layer)
    assert channels_of(model).probed
    assert calls and not any(called is layer for called in calls)


@pytest.mark.parametrize("second, tries", [(1e-3, 1), (2e-3, 2)])
def test_equal_layers_are_tried_once(second, tries, monkeypatch):
    tried = []
    original = probing._Probe.pattern
    monkeypatch.setattr(
        probing._Probe,
        "pattern",
        lambda self: tried.append(self) or original(self),
    )
    # The first is told what dead channels hold; for the others it is open.
    model = chain(
        layers.Activation("sigmoid"),
        Standard(1e-3, name="m"),
        Standard(second, name="n"),
    )
    assert len(channels_of(model).probed) == 2
    assert len(tried) == tries


def test_the_callers_random_numbers_go_on():
    """Trials draw numbers; nobody else's change for it."""

    def numbers():
        return (
            random.random(),
            np.random.random(),
            float(tf.random.uniform(())),
            float(keras.random.uniform(())),
        )

    model = chain(DropPath(name="m"), UnseededDropPath(name="n"))
    keras.utils.set_random_seed(5)
    expected = numbers(), numbers()
    keras.utils.set_random_seed(5)
    first = numbers()
    assert len(channels_of(model).probed) == 2
    assert (first, numbers()) == expected
