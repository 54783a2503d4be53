"""What channels bring to the nodes that take them in."""

import keras
import numpy as np
import pytest
from keras import layers
from keras import ops

from tf_channel_prune.api import channels_of
from tf_channel_prune.criteria.data_driven import ends
from tf_channel_prune.errors import PruningError
from tf_channel_prune.graph.contributions import contributions

RNG = np.random.default_rng(0)


def _found(model, x, **how):
    """Per consuming node's name, what its input's positions bring."""
    channels = channels_of(model)
    terms = contributions(channels.graph, x, ends(channels), seed=1, **how)
    nodes = channels.graph.nodes
    return {nodes[end[0]].name: one for end, one in terms.items()}


def test_of_one_output_it_is_the_term_itself():
    x = keras.Input((2,))
    h = layers.Dense(3, name="hidden")(x)
    model = keras.Model(x, layers.Dense(1, name="out")(h))
    data = RNG.normal(size=(8, 2)).astype("float32")
    hidden = data @ np.asarray(model.get_layer("hidden").kernel)
    parts = (hidden - hidden.mean(0)) * np.asarray(
        model.get_layer("out").kernel
    ).T
    (terms,) = _found(model, data).values()
    signs = terms[:, :1] / parts[:, :1]
    np.testing.assert_allclose(np.abs(signs), 1.0, rtol=1e-3)
    assert set(np.round(signs.ravel())) == {-1.0, 1.0}
    np.testing.assert_allclose(terms, signs * parts, rtol=1e-3, atol=1e-5)


def test_products_are_those_of_what_channels_bring():
    """Against a convolution of one channel at a time."""
    x = keras.Input((4, 4, 3))
    h = layers.Conv2D(3, 1, use_bias=False, name="one")(x)
    h = layers.ReLU(name="relu")(h)
    h = layers.Conv2D(5, 3, padding="same", name="two")(h)
    model = keras.Model(x, layers.GlobalAveragePooling2D()(h))
    data = RNG.normal(size=(6000, 4, 4, 3)).astype("float32")
    seen = keras.Model(x, model.get_layer("relu").output)
    seen = np.asarray(seen.predict(data, verbose=0))
    seen = seen - seen.mean((0, 1, 2))
    kernel = model.get_layer("two").kernel
    outputs = [
        ops.convert_to_numpy(
            ops.conv(seen * (np.arange(3) == c), kernel, padding="same")
        ).reshape(len(data), -1)
        for c in range(3)
    ]
    exact = [[(a * b).sum(1).mean() for b in outputs] for a in outputs]
    terms = _found(model, data, samples=6000, batch_size=1000)["two"]
    products = terms.T @ terms / len(terms)
    np.testing.assert_allclose(products, exact, atol=0.1 * np.max(exact))


def test_any_node_will_do():
    """A flattened kernel, a recurrent layer, a product of two tensors."""
    x = keras.Input((4, 4, 2))
    h = layers.Conv2D(3, 1, name="conv")(x)
    flat = layers.Dense(2, name="dense")(layers.Flatten()(h))
    steps = layers.Conv2D(3, 1, name="other")(x)
    steps = layers.Reshape((16, 3))(steps)
    last = layers.GRU(2, name="gru")(steps)
    queries = layers.Dense(4, name="queries")(steps)
    keys = layers.Dense(4, name="keys")(steps)
    scores = ops.matmul(queries, ops.transpose(keys, (0, 2, 1)))
    model = keras.Model(x, [flat, last, scores])
    data = RNG.normal(size=(7, 4, 4, 2)).astype("float32")
    found = _found(model, data, batch_size=4)
    shapes = {name: one.shape for name, one in found.items()}
    assert shapes["dense"] == (7, 48)
    assert shapes["gru"] == (7, 3)
    assert [s for n, s in shapes.items() if "matmul" in n] == [(7, 4)]
    for name, one in found.items():
        assert np.isfinite(one).all() and one.any(axis=0).all(), name


def test_the_same_for_the_same_seed_and_other_signs_in_other_batches():
    x = keras.Input((2,))
    h = layers.Dense(3)(x)
    model = keras.Model(x, layers.Dense(9, name="out")(h))
    data = np.tile(RNG.normal(size=(8, 2)), (2, 1)).astype("float32")
    batches = [(data[:8], None), (data[8:], None)]
    first, again = (_found(model, batches)["out"] for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert (first[:8] != first[8:]).any()


def test_no_samples_are_refused():
    x = keras.Input((2,))
    model = keras.Model(x, layers.Dense(1)(layers.Dense(3)(x)))
    with pytest.raises(PruningError, match="empty"):
        _found(model, [])
