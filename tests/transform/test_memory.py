"""No model that is made shares memory with the one that it is made from."""

import keras
import numpy as np
from keras import layers
from keras import ops
from model_checks import randomise

import tf_channel_prune as tcp


def model():
    """Layers whose weights are made in different ways."""
    scale = keras.Variable(np.ones(8, "float32"), name="scale")
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(8, 3, name="a")(inputs)
    x = ops.relu(layers.BatchNormalization()(x)) * scale
    x = layers.SeparableConv2D(8, 3)(x)
    x = layers.LayerNormalization()(ops.reshape(x, (-1, 16, 8)))
    x = layers.MultiHeadAttention(2, 4)(x, x)
    x = layers.Bidirectional(layers.GRU(6, return_sequences=True))(x)
    x = layers.SpectralNormalization(layers.Dense(5))(x)
    x = layers.TimeDistributed(layers.Dense(5))(x)
    return keras.Model(
        inputs, layers.Dense(2)(layers.GlobalAveragePooling1D()(x))
    )


def state(model):
    """All values; a copy, since some backends give the memory itself."""
    return [np.array(ops.convert_to_numpy(v.value)) for v in model.variables]


def same(model, before):
    return all(map(np.array_equal, state(model), before))


def test_training_one_moves_no_other():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((8, 8, 8, 3)).astype("float32")
    y = rng.standard_normal((8, 2)).astype("float32")
    dense = randomise(model())
    dense.compile("sgd", "mse")
    sparse = tcp.prune(dense, ratio=0.3)
    again = tcp.prune(sparse, ratio=0.5)
    slim = tcp.transform(sparse)
    models = {"dense": dense, "sparse": sparse, "again": again, "slim": slim}
    before = {name: state(model) for name, model in models.items()}
    for name, trained in models.items():
        trained.fit(x, y, verbose=0)
        assert not same(trained, before[name])
        before[name] = state(trained)
        for other, unmoved in models.items():
            assert same(unmoved, before[other]), f"{name} moves {other}"
