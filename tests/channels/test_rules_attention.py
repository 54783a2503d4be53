"""Attention layers: heads and widths."""

import keras
import numpy as np
import pytest
from keras import layers
from rule_checks import prune_and_compare
from rule_checks import randomise
from rule_checks import reasons
from rule_checks import sizes

import tf_channel_prune as tcp
from tf_channel_prune.api import channels_of
from tf_channel_prune.masking import make_sparse
from tf_channel_prune.planning import Limits


def transformer(layer, value_width=8, own_key=False, **call):
    """Dense, attention, Dense; the query and the value differ."""
    steps, width = 5, 6
    inputs = keras.Input((steps, 3))
    query = layers.Dense(width, name="q")(inputs)
    value = layers.Dense(value_width, name="v")(inputs)
    extra = {}
    if own_key:
        extra["key"] = layers.Dense(width + 1, name="k")(inputs)
    x = layer(query, value, **extra, **call)
    x = x[0] if isinstance(x, tuple) else x
    x = layers.Dense(2, name="z")(x)
    return randomise(keras.Model(inputs, x))


def mha(**options):
    options = {"num_heads": 3, "key_dim": 4, **options}
    return layers.MultiHeadAttention(name="m", **options)


MULTI_HEAD = {
    "plain": ({}, {}, [3, 4, 4, 6]),
    "value width": ({"value_dim": 5}, {}, [3, 4, 5, 6]),
    "no bias": ({"use_bias": False}, {}, [3, 4, 4, 6]),
    "own key": ({}, {"own_key": True}, [3, 4, 4, 6]),
    "output width": ({"output_shape": 7}, {}, [3, 4, 4, 7]),
    "causal": ({}, {"use_causal_mask": True}, [3, 4, 4, 6]),
    "dropout": ({"dropout": 0.2}, {}, [3, 4, 4, 6]),
    "scores": ({}, {"return_attention_scores": True}, [3, 4, 4, 6]),
    "sliding window": ({"sliding_window": 2}, {}, [3, 4, 4, 6]),
    "gate": ({"use_gate": True, "value_dim": 5}, {}, [3, 4, 5, 6]),
    "one head": ({"num_heads": 1}, {}, [4, 4, 6]),
}


@pytest.mark.parametrize("row", MULTI_HEAD)
def test_multi_head_attention(row):
    options, call, expected = MULTI_HEAD[row]
    model = transformer(mha(**options), **call)
    channels, _, slim = prune_and_compare(model)
    own = {g: n for g, n in sizes(channels).items() if g.startswith("m")}
    assert sorted(own.values()) == expected
    incoming = {g: n for g, n in sizes(channels).items() if g not in own}
    assert incoming["q"] == 6
    assert incoming["v"] == 8
    layer = slim.get_layer("m")
    assert layer.num_heads * layer.key_dim < 3 * 4


def test_the_scale_of_the_scores_is_made_up_for():
    """With key_dim 4 cut to 1, scores would double."""
    channels, alive, slim = prune_and_compare(transformer(mha(num_heads=1)))
    kept = slim.get_layer("m").key_dim
    old = channels.graph.weights
    kernel = next(w for w in old.values() if w.name == "query/kernel")
    node = next(n for n in channels.graph.nodes if n.name == "m")
    stays = channels.kept(alive).vector(channels.scope.weights[kernel.key, 2])
    rows = channels.kept(alive).vector(channels.scope.weights[kernel.key, 0])
    expected = node.operation.query_dense.kernel.numpy()[rows][:, :, stays]
    np.testing.assert_allclose(
        slim.get_layer("m").query_dense.kernel.numpy(),
        expected * np.sqrt(kept / 4),
        rtol=1e-6,
    )


@pytest.mark.parametrize("steps", [3, 6])
def test_heads_of_width_one(steps):
    """Keras adds a bias (6, 1) along 6 steps, and one of (3, 1) along 3."""
    inputs = keras.Input((steps, 4))
    x = layers.Dense(4, name="q")(inputs)
    x = layers.MultiHeadAttention(6, 1, name="m")(x, x)
    x = layers.Dense(2, name="z")(x)
    channels, _, _ = prune_and_compare(randomise(keras.Model(inputs, x)))
    heads = next(g for g in channels.groups if g.name == "m:heads")
    assert heads.frozen == (steps == 6)
    assert heads.never == ({3} if steps == 3 else set())


def test_as_many_heads_as_steps():
    """Keras adds a bias (3, 1) to (batch, 3, 3, 1) along the steps."""
    steps = heads = 3
    inputs = keras.Input((steps, 4))
    x = layers.Dense(6, name="q")(inputs)
    x = layers.MultiHeadAttention(heads, 4, name="m")(x, x)
    x = layers.EinsumDense(
        "abc,cde->abde", (steps, 3, 4), None, "de", name="e"
    )(x)
    x = layers.EinsumDense("abde,def->abf", (steps, 2), bias_axes="f")(x)
    model = randomise(keras.Model(inputs, x))
    channels = channels_of(model)
    groups = channels.prunable
    assert {group.name: group.least for group in groups} == {
        "q": 1,
        "m:heads": 1,
        "m:key_dim": 2,
        "m:value_dim": 2,
        "m": 1,
        "e:d": 1,
        "e:e": 2,
    }
    ladders = {g.name: Limits(divisor=1).ladder(g).tolist() for g in groups}
    assert ladders["m:key_dim"] == [4, 3, 2]
    assert ladders["m:heads"] == [3, 2, 1]
    alive = np.ones(channels.unit_count, bool)
    for group in groups:
        alive[group.units[ladders[group.name][-1] :]] = False
    slim = tcp.transform(make_sparse(channels, alive))
    assert slim.get_layer("m").key_dim == 2
    assert slim.get_layer("e").kernel.shape[-1] == 2


def test_two_spatial_axes():
    inputs = keras.Input((3, 4, 3))
    x = layers.Dense(6, name="q")(inputs)
    for axes in ((1, 2), (2,), None):
        y = mha(attention_axes=axes)(x, x)
        y = layers.Dense(2, name="z")(y)
        channels, _, _ = prune_and_compare(randomise(keras.Model(inputs, y)))
        assert sorted(sizes(channels).values()) == [3, 4, 4, 6, 6]


def test_residual_block_keeps_its_width_together():
    inputs = keras.Input((5, 3))
    x = layers.Dense(8, name="a")(inputs)
    y = layers.LayerNormalization()(x)
    y = mha()(y, y)
    x = layers.Add()([x, y])
    y = layers.LayerNormalization()(x)
    y = layers.Dense(12, activation="gelu", name="up")(y)
    y = layers.Dense(8, name="down")(y)
    x = layers.Add()([x, y])
    x = layers.Dense(2, name="z")(x)
    channels, _, slim = prune_and_compare(randomise(keras.Model(inputs, x)))
    named = sizes(channels)
    assert named["a"] == 8
    assert named["up"] == 12
    assert channels.prunable[0].layers == ("a", "m", "down")
    # The output follows the query, as it did.
    assert slim.get_layer("m").get_config()["output_shape"] is None


def test_a_mask_from_an_embedding():
    inputs = keras.Input((5,), dtype="int32")
    x = layers.Embedding(7, 6, mask_zero=True, name="a")(inputs)
    x = mha()(x, x)
    x = layers.GlobalAveragePooling1D()(x)
    x = layers.Dense(2, name="z")(x)
    given = np.array([[1, 2, 0, 0, 0], [3, 4, 5, 6, 0]])
    prune_and_compare(randomise(keras.Model(inputs, x)), inputs=given)


@pytest.mark.parametrize("causal", [False, True])
def test_an_attention_mask_argument(causal):
    """A tensor and a flag by name, through the mask holder."""
    inputs = keras.Input((5, 3))
    mask = keras.Input((5, 5), dtype="bool")
    x = layers.Dense(6, name="a")(inputs)
    x = mha()(x, value=x, attention_mask=mask, use_causal_mask=causal)
    x = layers.Dense(2, name="z")(x)
    channels, _, _ = prune_and_compare(
        randomise(keras.Model([inputs, mask], x))
    )
    assert sizes(channels)["a"] == 6


def test_scores_that_are_an_output_keep_the_heads():
    inputs = keras.Input((5, 3))
    x = layers.Dense(6, name="a")(inputs)
    x, scores = mha()(x, x, return_attention_scores=True)
    x = layers.Dense(2, name="z")(x)
    channels, _, _ = prune_and_compare(
        randomise(keras.Model(inputs, [x, scores]))
    )
    assert "it reaches a model output" in reasons(channels).values()
    own = [g.size for g in channels.prunable if g.layers == ("m",)]
    assert sorted(own) == [4, 4, 6]


def test_tokens_that_attend_are_frozen():
    inputs = keras.Input((5, 3))
    x = layers.Permute((2, 1))(inputs)
    x = layers.Dense(6, name="tokens")(x)
    x = layers.Permute((2, 1))(x)
    x = mha()(x, x)
    x = layers.Dense(2, name="z")(x)
    channels, _, _ = prune_and_compare(randomise(keras.Model(inputs, x)))
    assert reasons(channels)["tokens"] == "m attends over it"


def test_half_precision():
    inputs = keras.Input((5, 3))
    x = layers.Dense(6, name="a", dtype="mixed_bfloat16")(inputs)
    x = mha(dtype="mixed_bfloat16")(x, x)
    x = layers.Dense(2, name="z", dtype="mixed_bfloat16")(x)
    prune_and_compare(randomise(keras.Model(inputs, x)), tolerance=3e-2)


def test_a_layer_called_query():
    """Weights are known by their path inside the layer."""
    inputs = keras.Input((5, 3))
    x = layers.Dense(6, name="a")(inputs)
    x = layers.MultiHeadAttention(3, 4, name="query")(x, x)
    x = layers.Dense(2, name="z")(x)
    channels, _, _ = prune_and_compare(randomise(keras.Model(inputs, x)))
    assert sorted(sizes(channels).values()) == [3, 4, 4, 6, 6]


GROUPED = {
    # query heads, key heads, options: units of heads, then head width
    "whole key heads": (6, 3, {}, [3, 4]),
    "query heads of each key head": (6, 2, {}, [3, 4]),
    "one key head": (3, 1, {}, [3, 4]),
    "as many key heads": (3, 3, {}, [3, 4]),
    "no bias": (4, 2, {"use_bias": False}, [2, 4]),
    "gate": (6, 2, {"use_gate": True}, [3, 4]),
}


@pytest.mark.parametrize("row", GROUPED)
def test_grouped_query_attention(row):
    heads, keys, options, expected = GROUPED[row]
    layer = layers.GroupQueryAttention(4, heads, keys, name="m", **options)
    channels, _, _ = prune_and_compare(transformer(layer, 6))
    own = [g.size for g in channels.prunable if g.layers == ("m",)]
    assert sorted(own) == expected
    # Keras wants query, value and output equally wide.
    (width,) = [g for g in channels.prunable if g.layers != ("m",)]
    assert sorted(width.layers) == ["q", "v"]
    assert width.size == 6


def test_grouped_query_attention_on_the_model_input():
    inputs = keras.Input((5, 3))
    x = layers.GroupQueryAttention(4, 4, 2, name="m")(inputs, inputs)
    x = layers.Dense(2, name="z")(x)
    channels, _, _ = prune_and_compare(randomise(keras.Model(inputs, x)))
    assert sorted(sizes(channels).values()) == [2, 4]


SINGLE = {
    "dot": (lambda: layers.Attention(name="m"), None, ["q", "v"]),
    "dot, scaled": (
        lambda: layers.Attention(use_scale=True, name="m"),
        None,
        ["q", "v"],
    ),
    "dot, lifted": (lambda: layers.Attention(name="m"), "sigmoid", []),
    "concat": (
        lambda: layers.Attention(score_mode="concat", name="m"),
        None,
        ["q", "v"],
    ),
    "concat, lifted": (
        lambda: layers.Attention(score_mode="concat", name="m"),
        "sigmoid",
        [],
    ),
    "additive": (
        lambda: layers.AdditiveAttention(name="m"),
        None,
        ["q", "v"],
    ),
    "additive, lifted": (
        lambda: layers.AdditiveAttention(name="m"),
        "sigmoid",
        ["q", "v"],
    ),
    "additive, no scale, lifted": (
        lambda: layers.AdditiveAttention(use_scale=False, name="m"),
        "sigmoid",
        [],
    ),
}


@pytest.mark.parametrize("row", SINGLE)
def test_attention_without_projections(row):
    make, activation, makers = SINGLE[row]
    inputs = keras.Input((5, 3))
    query = layers.Dense(4, activation=activation, name="q")(inputs)
    value = layers.Dense(4, activation=activation, name="v")(inputs)
    x = layers.Dense(2, name="z")(make()([query, value]))
    channels, _, _ = prune_and_compare(randomise(keras.Model(inputs, x)))
    found = [name for g in channels.prunable for name in g.layers]
    assert found == makers
    if not makers:
        why = next(iter(set(reasons(channels).values()) - {_OUTPUT}))
        assert why == "m compares it, where a masked channel is not zero"


_OUTPUT = "it reaches a model output"


def test_attention_with_a_key_of_its_own():
    """Value channels pass to the output, apart from those compared."""
    inputs = keras.Input((5, 3))
    query = layers.Dense(4, name="q")(inputs)
    value = layers.Dense(6, activation="sigmoid", name="v")(inputs)
    key = layers.Dense(4, name="k")(inputs)
    x = layers.Attention(name="m")([query, value, key])
    x = layers.Dense(2, name="z")(x)
    channels, _, _ = prune_and_compare(randomise(keras.Model(inputs, x)))
    assert sizes(channels) == {"q": 4, "v": 6}
