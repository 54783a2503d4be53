"""A copy that is another model is refused, with the layer to blame."""

import keras
import numpy as np
import pytest

import tf_channel_prune as tcp
from tf_channel_prune.errors import VerificationError
from tf_channel_prune.graph import opening
from tf_channel_prune.graph import tf_keras_opening

tf_keras = pytest.importorskip("tf_keras")
BOTH = pytest.mark.parametrize(
    "kind", [keras, tf_keras], ids=lambda k: k.__name__
)


def forgetful(kind):
    """A layer whose config leaves an argument out."""

    class Scaled(kind.layers.Layer):
        def __init__(self, by=1.0, **options):
            super().__init__(**options)
            self.by = by

        def call(self, x):
            return np.float32(self.by) * x

        def get_config(self):
            return {"name": self.name}

    return Scaled


def keep_closed(monkeypatch):
    """Layers that would be opened need no config; now they stay whole."""

    def closed(*arguments):
        return opening.Opened(reason="it stays whole here")

    monkeypatch.setattr(opening, "open_call", closed)
    monkeypatch.setattr(tf_keras_opening, "open_call", closed)


def silent(model):
    """The model, giving zeros whatever goes in."""
    last = model.get_layer("z")
    last.set_weights([np.zeros_like(w) for w in last.get_weights()])
    return model


def around(kind, layer):
    """Without an activation: one that is zero everywhere hides a factor."""
    kind.utils.set_random_seed(0)
    inputs = kind.Input((4,))
    x = kind.layers.Dense(8, name="a")(inputs)
    return kind.Model(inputs, kind.layers.Dense(2, name="z")(layer(x)))


@BOTH
def test_a_config_that_leaves_an_argument_out(kind, monkeypatch):
    Scaled = forgetful(kind)
    assert tcp.prune(around(kind, Scaled(1.0)), ratio=0.4, divisor=1)
    keep_closed(monkeypatch)
    model = around(kind, Scaled(3.0, name="scaled"))
    with pytest.raises(VerificationError, match=r"'scaled'.*get_config"):
        tcp.prune(model, ratio=0.4, divisor=1)


@BOTH
def test_outputs_that_tell_nothing_are_not_enough(kind, monkeypatch):
    """They are zeros for all inputs; the layer before them is wrong."""
    keep_closed(monkeypatch)
    model = silent(around(kind, forgetful(kind)(3.0, name="scaled")))
    with pytest.raises(VerificationError, match=r"'scaled'.*get_config"):
        tcp.prune(model, ratio=0.4, divisor=1)


class Noisy(keras.layers.Layer):
    """Keras leaves the name out of its config: nothing takes it here."""

    def __init__(self, seeded=False):
        super().__init__()
        self.seeded = seeded
        self.generator = keras.random.SeedGenerator(1)

    def call(self, x):
        seed = self.generator if self.seeded else None
        return x + keras.random.normal(keras.ops.shape(x), seed=seed)


def after(layer):
    inputs = keras.Input((4,))
    x = keras.layers.Dense(8, name="a")(layer(inputs))
    return keras.Model(inputs, keras.layers.Dense(2, name="z")(x))


@pytest.mark.parametrize("seeded", [False, True])
def test_random_numbers_are_no_difference(seeded):
    model = silent(after(Noisy(seeded)))
    slim = tcp.transform(tcp.prune(model, ratio=0.4, divisor=1))
    assert slim.count_params() < model.count_params()


class Noise(Noisy):
    """Keras leaves the name out here, too: it looks for `**kwargs`."""

    def __init__(self, **options):
        keras.layers.Layer.__init__(self, **options)
        self.seeded, self.generator = False, None


@pytest.mark.parametrize("kind", [Noisy, Noise])
def test_a_name_that_is_not_in_the_config(kind):
    layer = kind()
    layer.name = "own"
    assert "name" not in layer.get_config()
    sparse = tcp.prune(after(layer), ratio=0.4, divisor=1)
    for made in (sparse, tcp.transform(sparse)):
        assert [one.name for one in made.layers][1:] == ["own", "a", "z"]


def test_a_tf_keras_config_without_a_name(monkeypatch):
    class Doubled(tf_keras.layers.Layer):
        def call(self, x):
            return 2.0 * x

        def get_config(self):
            return {}

    keep_closed(monkeypatch)
    model = around(tf_keras, Doubled(name="own"))
    sparse = tcp.prune(model, ratio=0.4, divisor=1)
    for made in (sparse, tcp.transform(sparse)):
        assert [one.name for one in made.layers][1:] == ["a", "own", "z"]


def remembering(kind):
    """A model with a layer that keeps its states from batch to batch."""
    inputs = kind.Input(batch_shape=(2, 5, 3))
    x = kind.layers.Dense(8, name="a")(inputs)
    x = kind.layers.LSTM(6, stateful=True, name="m")(x)
    return kind.Model(inputs, kind.layers.Dense(2, name="z")(x))


def states(model):
    layer = model.get_layer("m")
    layer = getattr(layer, "layer", layer)
    return [np.array(state) for state in layer.states]


@BOTH
def test_what_a_model_remembers_is_not_touched(kind):
    model = remembering(kind)
    model(np.ones((2, 5, 3), "float32"))
    before = states(model)
    assert any(state.any() for state in before)
    sparse = tcp.prune(model, ratio=0.4, divisor=1)
    for old, new in zip(before, states(model)):
        np.testing.assert_array_equal(old, new)
    fresh = states(sparse)
    sparse(np.ones((2, 5, 3), "float32"))
    assert any((a != b).any() for a, b in zip(fresh, states(sparse)))


@BOTH
def test_a_sparse_model_that_remembers_is_transformed(kind):
    sparse = tcp.prune(remembering(kind), ratio=0.4, divisor=1)
    batch = np.ones((2, 5, 3), "float32")
    sparse(batch)
    before = states(sparse)
    slim = tcp.transform(sparse, samples=batch)
    for old, new in zip(before, states(sparse)):
        np.testing.assert_array_equal(old, new)
    assert not any(state.any() for state in states(slim))


def test_a_subclassed_model_that_takes_a_dictionary():
    class Two(keras.Model):
        def __init__(self):
            super().__init__()
            self.one = keras.layers.Dense(8, name="one")
            self.two = keras.layers.Dense(2, name="two")

        def call(self, given):
            return {"out": self.two(self.one(given["x"]) * given["gate"])}

    model = Two()
    model({"x": np.ones((2, 4)), "gate": np.ones((2, 1))})
    assert tcp.prune(model, ratio=0.3, divisor=1)


def test_a_call_that_is_read_wrongly():
    class Stepped(keras.Model):
        """Does something else outside of symbolic calls."""

        def __init__(self):
            super().__init__()
            self.one = keras.layers.Dense(8, name="one")
            self.two = keras.layers.Dense(2, name="two")

        def call(self, x):
            h = self.one(x)
            if isinstance(x, keras.KerasTensor):
                return self.two(h)
            return self.two(h * 2.0)

    model = Stepped()
    model(np.ones((2, 4), "float32"))
    with pytest.raises(VerificationError, match="does not give what"):
        tcp.prune(model, ratio=0.3, divisor=1)
