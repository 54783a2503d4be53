"""Normalisation layers."""

import keras
import numpy as np
import pytest
from keras import layers
from rule_checks import between
from rule_checks import prune_and_compare
from rule_checks import random_alive
from rule_checks import randomise
from rule_checks import reasons
from rule_checks import sizes

from tf_channel_prune.api import channels_of
from tf_channel_prune.graph.inputs import random_inputs
from tf_channel_prune.masking import Masks
from tf_channel_prune.masking import make_sparse
from tf_channel_prune.transform import compare
from tf_channel_prune.transform import make_slim

BATCH = {
    "whole": {},
    "no center": {"center": False},
    "no scale": {"scale": False},
    "neither": {"center": False, "scale": False},
    "axis counted from the front": {"axis": 3},
}


@pytest.mark.parametrize("row", BATCH)
@pytest.mark.parametrize("shape", [(6, 6, 3), (5,)])
def test_batch_normalization(row, shape):
    options = dict(BATCH[row])
    if options.get("axis") == 3:
        options["axis"] = len(shape)
    layer = layers.BatchNormalization(name="m", **options)
    channels, _, _ = prune_and_compare(between(layer, shape))
    assert sizes(channels) == {"a": 4}


@pytest.mark.parametrize(
    "options, after, zero",
    [
        ({}, "relu", True),
        ({}, "sigmoid", True),
        ({"scale": False}, "relu", True),
        ({"scale": False}, "sigmoid", False),
    ],
)
def test_zero_after_batch_normalization(options, after, zero):
    """gamma = beta = 0 make zero of anything; a mean of 0 only of zero."""
    x = inputs = keras.Input((5, 5, 3))
    x = layers.Conv2D(4, 3, activation=after, name="a")(x)
    x = layers.BatchNormalization(name="m", **options)(x)
    x = layers.Conv2D(2, 1, name="z")(x)
    channels, _, _ = prune_and_compare(randomise(keras.Model(inputs, x)))
    node = next(n for n in channels.graph.nodes if n.name == "m")
    assert channels.scope.tensors[node.outputs[0]].zero == zero


def test_batch_normalization_along_another_axis():
    """Statistics of a row in training are over all of its channels."""
    layer = layers.BatchNormalization(axis=1, name="m")
    channels, _, _ = prune_and_compare(between(layer))
    assert sizes(channels) == {}
    assert reasons(channels)["a"] == "m takes statistics over it"


def test_batch_normalization_channels_first():
    x = inputs = keras.Input((3, 8, 8))
    x = layers.Conv2D(4, 3, data_format="channels_first", name="a")(x)
    x = layers.BatchNormalization(axis=1, name="m")(x)
    x = layers.Conv2D(2, 1, data_format="channels_first", name="z")(x)
    channels = channels_of(randomise(keras.Model(inputs, x)))
    assert sizes(channels) == {"a": 4}
    slim = make_slim(channels, random_alive(channels))
    assert slim.output.shape == x.shape


def test_shared_batch_normalization_unites():
    inputs = keras.Input((5, 5, 3))
    norm = layers.BatchNormalization(name="m")
    a = norm(layers.Conv2D(4, 3, name="a")(inputs))
    b = norm(layers.Conv2D(4, 3, name="b")(inputs))
    x = layers.Conv2D(2, 1, name="z")(layers.Concatenate()([a, b]))
    channels, _, _ = prune_and_compare(randomise(keras.Model(inputs, x)))
    assert sorted(channels.prunable[0].layers) == ["a", "b"]


def test_normalization_with_its_own_statistics():
    x = inputs = keras.Input((5,))
    x = layers.Dense(4, name="a")(x)
    x = layers.Normalization(mean=[1.0, 2, 3, 4], variance=[1.0, 2, 3, 4])(x)
    x = layers.Dense(2, name="z")(x)
    channels, _, _ = prune_and_compare(randomise(keras.Model(inputs, x)))
    assert "holds statistics of its input" in reasons(channels)["a"]


def test_adapted_normalization_on_the_input():
    norm = layers.Normalization(axis=-1, name="m")
    norm.adapt(np.random.default_rng(0).standard_normal((16, 5)))
    x = inputs = keras.Input((5,))
    x = layers.Dense(4, name="a")(norm(x))
    x = layers.Dense(2, name="z")(x)
    channels, _, slim = prune_and_compare(keras.Model(inputs, x))
    assert sizes(channels) == {"a": 4}
    kept = slim.get_layer("m")
    np.testing.assert_allclose(kept.mean, norm.mean)


@pytest.mark.parametrize("scale", [[1.0, 2, 3, 4], np.ones(4)])
def test_rescaling_by_channel_freezes(scale):
    layer = layers.Rescaling(scale, name="m")
    channels, _, _ = prune_and_compare(between(layer))
    assert reasons(channels)["a"] == "m has one number per channel"


STATISTICS = {
    "layer norm": (lambda: layers.LayerNormalization(name="m"), {"a": 4}),
    "layer norm, no scale": (
        lambda: layers.LayerNormalization(scale=False, name="m"),
        {"a": 4},
    ),
    "layer norm, no center": (
        lambda: layers.LayerNormalization(center=False, name="m"),
        {"a": 4},
    ),
    "layer norm, bare": (
        lambda: layers.LayerNormalization(scale=False, center=False, name="m"),
        {"a": 4},
    ),
    "layer norm, all axes": (
        lambda: layers.LayerNormalization(axis=[1, 2, 3], name="m"),
        {"a": 4},
    ),
    "layer norm over rows": (
        lambda: layers.LayerNormalization(axis=1, name="m"),
        {"a": 4},
    ),
    "layer norm, rms scaling": (
        lambda: layers.LayerNormalization(rms_scaling=True, name="m"),
        {"a": 4},
    ),
    "rms norm": (lambda: layers.RMSNormalization(name="m"), {"a": 4}),
    "rms norm, two axes": (
        lambda: layers.RMSNormalization(axis=[2, 3], name="m"),
        {"a": 4},
    ),
    "group norm": (
        lambda: layers.GroupNormalization(groups=2, name="m"),
        {"a": 2},
    ),
    "group norm, no scale": (
        lambda: layers.GroupNormalization(groups=2, scale=False, name="m"),
        {"a": 2},
    ),
    "group norm, one group": (
        lambda: layers.GroupNormalization(groups=1, name="m"),
        {"a": 4},
    ),
    "instance norm": (
        lambda: layers.GroupNormalization(groups=4, name="m"),
        {"a": 4},
    ),
    "instance norm as -1": (
        lambda: layers.GroupNormalization(groups=-1, scale=False, name="m"),
        {"a": 4},
    ),
    "unit norm": (lambda: layers.UnitNormalization(name="m"), {"a": 4}),
    "unit norm, two axes": (
        lambda: layers.UnitNormalization(axis=[2, 3], name="m"),
        {"a": 4},
    ),
}


@pytest.mark.parametrize("after", ["relu", "sigmoid"])
@pytest.mark.parametrize("row", STATISTICS)
def test_statistics_over_living_channels(row, after):
    """Masked equals slim, whether or not a dead channel is zero."""
    make, expected = STATISTICS[row]
    norm = make()
    model = between(lambda x: norm(layers.Activation(after)(x)))
    channels, _, _ = prune_and_compare(model)
    assert sizes(channels) == expected


@pytest.mark.parametrize("row", STATISTICS)
def test_dead_channels_are_zero_where_the_labels_say_so(row):
    make, _ = STATISTICS[row]
    norm = make()
    inputs = keras.Input((6, 6, 3))
    x = layers.Conv2D(4, 3, activation="sigmoid", name="a")(inputs)
    x = norm(x)
    model = randomise(keras.Model(inputs, layers.Conv2D(2, 1, name="z")(x)))
    channels = channels_of(model)
    alive = random_alive(channels)
    sparse = make_sparse(channels, alive)
    tensor = channels.scope.tensors[channels.graph.nodes[1].outputs[0]]
    dead = ~channels.kept(alive).vector(tensor.axes[3])
    inner = keras.Model(sparse.input, sparse.get_layer("m").output)
    values = np.asarray(inner(np.ones((1, 6, 6, 3), "float32")))
    if tensor.zero:
        np.testing.assert_array_equal(values[..., dead], 0)


def test_statistics_of_a_vector_and_of_rows():
    for axis in (-1, 1):
        x = inputs = keras.Input((5,))
        x = layers.Dense(4, name="a")(x)
        x = layers.LayerNormalization(axis=axis, name="m")(x)
        x = layers.Dense(2, name="z")(x)
        channels, _, _ = prune_and_compare(randomise(keras.Model(inputs, x)))
        assert sizes(channels) == {"a": 4}


def test_two_prunable_axes_under_one_norm():
    x = inputs = keras.Input((5, 3))
    x = layers.Dense(4, name="a")(x)
    x = layers.Permute((2, 1))(x)
    x = layers.Dense(6, name="b")(x)
    x = layers.LayerNormalization(axis=[1, 2], name="m")(x)
    x = layers.Dense(2, name="z")(layers.Flatten()(x))
    channels, _, _ = prune_and_compare(randomise(keras.Model(inputs, x)))
    # Flatten merges the two, so the wider one stays prunable.
    assert sizes(channels) == {"b": 6}


def test_shared_norm_without_weights_unites_its_calls():
    inputs = keras.Input((5,))
    norm = layers.LayerNormalization(scale=False, center=False, name="m")
    a = norm(layers.Dense(4, name="a")(inputs))
    b = norm(layers.Dense(4, name="b")(inputs))
    x = layers.Dense(2, name="z")(layers.Concatenate()([a, b]))
    channels, _, _ = prune_and_compare(randomise(keras.Model(inputs, x)))
    assert [g.size for g in channels.prunable] == [4]


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("row", ["layer norm", "rms norm", "group norm"])
def test_half_precision(row, policy):
    x = inputs = keras.Input((6, 6, 3))
    x = layers.Conv2D(4, 3, name="a", dtype=policy)(x)
    layer = STATISTICS[row][0]()
    config = {**layer.get_config(), "dtype": policy}
    x = type(layer).from_config(config)(x)
    x = layers.Conv2D(2, 1, name="z", dtype=policy)(x)
    prune_and_compare(randomise(keras.Model(inputs, x)), tolerance=3e-2)


@pytest.mark.parametrize("axis", [[1, 3], [1, 2]])
def test_rms_norm_that_scales_other_axes(axis):
    layer = layers.RMSNormalization(axis=axis, name="m")
    channels, _, _ = prune_and_compare(between(layer, (4, 4, 3)))
    assert reasons(channels)["a"] == "m scales other axes than its own"


def test_sparse_norms_survive_saving(tmp_path):
    layer = layers.LayerNormalization(scale=False, name="m")
    model = between(lambda x: layers.UnitNormalization()(layer(x)))
    channels = channels_of(model)
    alive = random_alive(channels)
    sparse = make_sparse(channels, alive)
    sparse.save(tmp_path / "sparse.keras")
    loaded = keras.saving.load_model(tmp_path / "sparse.keras")
    assert compare(sparse, loaded, random_inputs(model)).largest == 0
    assert (Masks(loaded).alive() == alive).all()


def test_layer_scale_and_scaled_sum():
    from keras.src.applications.convnext import LayerScale
    from keras.src.applications.convnext import StochasticDepth
    from keras.src.applications.inception_resnet_v2 import CustomScaleLayer

    inputs = keras.Input((6, 6, 3))
    x = layers.Conv2D(4, 3, padding="same", name="a")(inputs)
    y = layers.Conv2D(4, 3, padding="same", name="b")(x)
    y = LayerScale(0.3, 4, name="scale")(y)
    y = StochasticDepth(0.5)(y)
    x = CustomScaleLayer(0.2)([x, y])
    x = layers.Conv2D(2, 1, name="z")(x)
    channels, _, _ = prune_and_compare(randomise(keras.Model(inputs, x)))
    assert sizes(channels) == {"a": 4}
    assert channels.prunable[0].layers == ("a", "b")
