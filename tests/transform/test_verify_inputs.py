"""What a sparse and a slim model are compared on, for all kinds of models."""

import keras
import numpy as np
import pytest
from keras import layers
from keras import ops

import tf_channel_prune as tcp
from tf_channel_prune.errors import NoInputsError
from tf_channel_prune.graph.randomness import same_numbers
from tf_channel_prune.transform import compare

tf_keras = pytest.importorskip("tf_keras")


def text(kind, length=None, **embedding):
    """Two convolutions that need 27 steps, over embeddings."""
    tokens = kind.Input((length,), dtype="int32")
    x = kind.layers.Embedding(20, 8, **embedding)(tokens)
    x = kind.layers.Conv1D(8, 7, strides=3, activation="relu")(x)
    x = kind.layers.Conv1D(8, 7, strides=3, activation="relu")(x)
    x = kind.layers.GlobalMaxPooling1D()(x)
    return kind.Model(tokens, kind.layers.Dense(2)(x))


@pytest.mark.parametrize("kind", [keras, tf_keras], ids=lambda k: k.__name__)
def test_a_sequence_as_long_as_the_model_needs(kind):
    # 16 steps, the first length, become an empty sequence in silence.
    slim = tcp.transform(tcp.prune(text(kind), ratio=0.4, divisor=1))
    assert slim.output_shape == (None, 2)


class Positions(layers.Layer):
    """Words at six positions at most."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.words = layers.Embedding(9, 8)
        self.places = layers.Embedding(6, 8)

    def call(self, x):
        return self.words(x) + self.places(ops.arange(ops.shape(x)[-1]))


class TfPositions(tf_keras.layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.words = tf_keras.layers.Embedding(9, 8)
        self.places = tf_keras.layers.Embedding(6, 8)

    def call(self, x):
        return self.words(x) + self.places(np.arange(6))


@pytest.mark.parametrize(
    ("kind", "layer", "length", "dtype"),
    [
        (keras, Positions, None, "int32"),
        (keras, Positions, 6, "float32"),
        (tf_keras, TfPositions, 6, "float32"),
    ],
)
def test_words_and_positions_that_the_model_has(kind, layer, length, dtype):
    tokens = kind.Input((length,), dtype=dtype)
    model = kind.Model(tokens, kind.layers.Dense(2)(layer()(tokens)))
    slim = tcp.transform(tcp.prune(model, ratio=0.4, divisor=1))
    assert slim.count_params() < model.count_params()


@pytest.mark.parametrize("kind", [keras, tf_keras], ids=lambda k: k.__name__)
def test_lookups_that_take_only_what_they_know(kind):
    if kind is keras and keras.backend.backend() != "tensorflow":
        pytest.skip("strings")
    given, found = [], []
    for name, words in {"one": ["x", "y"], "two": ["u", "v", "w"]}.items():
        given.append(kind.Input((1,), dtype="string", name=name))
        lookup = kind.layers.StringLookup(
            vocabulary=words, num_oov_indices=0, name=f"look_{name}"
        )
        table = kind.layers.Embedding(len(words), 8, name=f"table_{name}")
        found.append(table(lookup(given[-1])))
    x = kind.layers.Dense(2)(kind.layers.Add()(found))
    slim = tcp.transform(tcp.prune(kind.Model(given, x), 0.4, divisor=1))
    assert slim.get_layer("table_one").output_dim < 8


class Noise(layers.Layer):
    """Draws while it predicts, as samplers of autoencoders do."""

    def __init__(self, own=True, **kwargs):
        super().__init__(**kwargs)
        self.own = own
        self.generator = keras.random.SeedGenerator(7) if own else None

    def call(self, x):
        return x + keras.random.normal(ops.shape(x), seed=self.generator)

    def get_config(self):
        return {**super().get_config(), "own": self.own}


@pytest.mark.parametrize("own", [True, False])
def test_models_that_draw_random_numbers(own):
    x = keras.Input((6,))
    y = layers.Dense(8, activation="relu", name="a")(x)
    y = Noise(own)(layers.Dense(3)(y))
    model = keras.Model(x, layers.Dense(2)(y))
    slim = tcp.transform(tcp.prune(model, ratio=0.4, divisor=1))
    assert slim.get_layer("a").units < 8
    # Nothing of that stays: they go on drawing.
    inputs = np.ones((2, 6), "float32")
    first = np.array(model(inputs))
    assert np.abs(first - np.array(model(inputs))).max() > 0
    assert compare(model, model, inputs).largest == 0


def test_generators_go_on_as_if_nothing_was_drawn():
    x = keras.Input((3,))
    model = keras.Model(x, Noise()(x))
    inputs = np.zeros((2, 3), "float32")
    state = [np.array(v) for v in model.variables]
    with same_numbers(model):
        model(inputs)
    assert all(map(np.array_equal, state, map(np.array, model.variables)))


class Refuses(layers.Layer):
    """Takes positive numbers only."""

    def call(self, x):
        symbolic = isinstance(x, keras.KerasTensor)
        if symbolic or ops.convert_to_numpy(x).min() < 0:
            raise RuntimeError("no logarithm of that")
        return ops.log(x)

    def compute_output_shape(self, shape):
        return shape


def test_a_model_that_random_numbers_do_not_suit():
    x = keras.Input((6,))
    y = layers.Dense(8)(Refuses()(x))
    sparse = tcp.prune(keras.Model(x, layers.Dense(2)(y)), ratio=0.4, divisor=1)
    with pytest.raises(NoInputsError, match=r"no logarithm of that.*samples"):
        tcp.transform(sparse)
    slim = tcp.transform(sparse, samples=np.ones((4, 6), "float32"))
    assert slim.count_params() < sparse.count_params()


def test_the_error_is_readable():
    """Without the colours and functions that Keras and TensorFlow add."""
    inputs = keras.Input((6, 6, 3))
    x = layers.Conv2D(8, 3, activation="relu")(inputs)
    # Keras believes the shape that the model says.
    x = ops.reshape(ops.image.extract_patches(x, 2), (-1, 9, 4, 8))
    wrong = keras.Model(inputs, layers.Dense(2)(x))
    with pytest.raises(NoInputsError) as error:
        tcp.transform(tcp.prune(wrong, ratio=0.3, divisor=1))
    assert "\x1b" not in str(error.value)
    assert "{{" not in str(error.value)
