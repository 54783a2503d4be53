"""A holder that masks in the forward pass loses nothing the layer writes."""

import keras
import numpy as np

from tf_channel_prune.masking.holder import ChannelMask


class Counting(keras.layers.Dense):
    """Writes a counter and draws from a seed at every call."""

    def build(self, shape):
        super().build(shape)
        self.calls = self.add_weight(
            name="calls", shape=(), initializer="zeros", trainable=False
        )
        self.noise = keras.layers.Dropout(0.5, seed=1)

    def call(self, x, training=False):
        self.calls.assign_add(1.0)
        return self.noise(super().call(x), training=training)


def guarded():
    layer = Counting(4, name="counting")
    layer.build((None, 3))
    holder = ChannelMask(layer, [("kernel", 0)], guarded=["kernel"])
    holder.masks["kernel", 0].assign([1.0, 0.0, 1.0])
    return holder


def test_the_forward_pass_is_masked():
    holder = guarded()
    x = np.array([[0.0, 1.0, 0.0]], "float32")
    assert np.asarray(holder.layer.kernel)[1].all()
    assert not np.asarray(holder(x)).any()


def test_counters_and_seeds_advance():
    holder = guarded()
    model = keras.Sequential([keras.Input((3,)), holder])
    model.compile("sgd", "mse")
    seed = holder.layer.noise.seed_generator.state
    count, state = float(holder.layer.calls), np.array(seed)
    x = np.ones((16, 3), "float32")
    model.fit(x, np.ones((16, 4)), batch_size=4, epochs=1, verbose=0)
    assert float(holder.layer.calls) == count + 4
    assert (np.array(seed) != state).any()


class Charging(keras.layers.Dense):
    """A sub-layer adds one loss, the layer another."""

    def build(self, shape):
        super().build(shape)
        self.inner = keras.layers.ActivityRegularization(l2=1.0)

    def call(self, x):
        self.add_loss(keras.ops.sum(x))
        return self.inner(super().call(x))


def charging():
    layer = Charging(4, name="charging")
    layer.build((None, 3))
    return layer, ChannelMask(layer, [("kernel", 0)], guarded=["kernel"])


def test_losses_that_the_layer_adds_count_once():
    layer, holder = charging()
    x = np.ones((2, 3), "float32")
    layer(x)
    expected = sorted(map(float, layer.losses))
    assert len(expected) == 2
    for _ in range(2):
        holder(x)
        assert sorted(map(float, holder.losses)) == expected


def test_and_once_in_a_scope_as_in_fit_on_jax():
    layer, holder = charging()
    x = np.ones((2, 3), "float32")
    layer(x)
    expected = sorted(map(float, layer.losses))
    variables = [(v, v.value) for v in holder.variables]
    layer._clear_losses()
    with keras.StatelessScope(variables, collect_losses=True):
        holder(x)
        assert sorted(map(float, holder.losses)) == expected


def test_a_shared_layer_adds_them_at_every_call():
    _, holder = charging()
    inputs = keras.Input((3,))
    model = keras.Model(inputs, [holder(inputs), holder(2 * inputs)])
    model(np.ones((2, 3), "float32"))
    assert len(model.losses) == 4
