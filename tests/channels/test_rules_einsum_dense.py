"""EinsumDense: what its equation says of each axis."""

import keras
import pytest
from keras import layers
from rule_checks import prune_and_compare
from rule_checks import randomise
from rule_checks import reasons
from rule_checks import sizes

from tf_channel_prune.channels.rules.einsum_dense import parse

EQUATIONS = [
    ("ab,bc->ac", 2, ("ab", "bc", "ac")),
    ("abc,cde->abde", 3, ("abc", "cde", "abde")),
    ("...b,bc->...c", 4, ([0, 1, 2, "b"], "bc", [0, 1, 2, "c"])),
    ("ab...,bc->ac...", 4, (["a", "b", 0, 1], "bc", ["a", "c", 0, 1])),
    ("...b,bc->...c", 1, ("b", "bc", "c")),
]


@pytest.mark.parametrize("equation, rank, expected", EQUATIONS)
def test_parse(equation, rank, expected):
    assert parse(equation, rank) == tuple(list(part) for part in expected)


def einsum(*args, **options):
    return layers.EinsumDense(*args, name="m", **options)


ROWS = {
    # input shape, width of `a`, the layer, what can be pruned
    "dense": (
        (5,), 4, lambda: einsum("ab,bc->ac", 6, bias_axes="c"),
        [4, 6],
    ),
    "on a sequence": (
        (5, 3), 4, lambda: einsum("abc,cd->abd", (5, 6), bias_axes="d"),
        [4, 6],
    ),
    "unknown steps": (
        (None, 3), 4, lambda: einsum("abc,cd->abd", (None, 6), bias_axes="d"),
        [4, 6],
    ),
    "ellipsis": (
        (5, 3), 4, lambda: einsum("...x,xy->...y", 6, bias_axes="y"),
        [4, 6],
    ),
    # Flatten merges two prunable axes, and only the finer one stays.
    "two new axes": (
        (5, 3), 4,
        lambda: einsum("abc,cde->abde", (None, 3, 5), bias_axes="de"),
        [4, 5],
    ),
    "no bias, gelu": (
        (5, 3), 4, lambda: einsum("abc,cd->abd", (None, 6), activation="gelu"),
        [4, 6],
    ),
    "sigmoid": (
        (5, 3), 4,
        lambda: einsum("abc,cd->abd", (None, 6), activation="sigmoid"),
        [4, 6],
    ),
    "per channel": (
        (5, 3), 4, lambda: einsum("abc,c->abc", (5, 4), bias_axes="c"),
        [4],
    ),
    "block diagonal": (
        (5, 3), 4, lambda: einsum("abc,cd->abcd", (5, 4, 6), bias_axes="cd"),
        [6],
    ),
    "bias on another axis": (
        (5, 3), 4, lambda: einsum("abc,cd->abd", (5, 6), bias_axes="b"),
        [4, 6],
    ),
    "summed without weights": (
        (5, 3), 4, lambda: einsum("abc,bd->ad", 6, bias_axes="d"),
        [4, 6],
    ),
    "new axis first": (
        (5, 3), 4, lambda: einsum("abc,cd->adb", (6, 5), bias_axes="d"),
        [4, 6],
    ),
}  # fmt: skip


def model_of(row):
    shape, width, make, _ = ROWS[row]
    x = inputs = keras.Input(shape)
    x = layers.Dense(width, name="a")(x)
    x = make()(x)
    if len(x.shape) > 2 and None not in x.shape[1:]:
        x = layers.Flatten()(x)
    x = layers.Dense(2, name="z")(x)
    return randomise(keras.Model(inputs, x))


@pytest.mark.parametrize("row", ROWS)
def test_slim_equals_sparse(row):
    channels, _, _ = prune_and_compare(model_of(row))
    assert sorted(sizes(channels).values()) == sorted(ROWS[row][3])


def test_heads_and_width_together():
    """(batch, steps, heads, width) contracted over both at once."""
    x = inputs = keras.Input((5, 3))
    x = layers.EinsumDense(
        "abc,cde->abde", (None, 3, 4), bias_axes="de", name="a"
    )(x)
    x = layers.Activation("sigmoid")(x)
    x = layers.EinsumDense("abde,def->abf", (None, 6), bias_axes="f", name="m")(
        x
    )
    x = layers.Dense(2, name="z")(x)
    channels, _, _ = prune_and_compare(randomise(keras.Model(inputs, x)))
    assert sorted(sizes(channels).values()) == [3, 4, 6]


def test_a_sum_over_lifted_channels_freezes_them():
    x = inputs = keras.Input((5, 3))
    x = layers.Dense(4, activation="sigmoid", name="a")(x)
    x = layers.EinsumDense("abc,bd->ad", 6, name="m")(x)
    x = layers.Dense(2, name="z")(x)
    channels, _, _ = prune_and_compare(randomise(keras.Model(inputs, x)))
    assert sizes(channels) == {"m": 6}
    assert "where a masked channel is not zero" in reasons(channels)["a"]


def test_zero_needs_kernel_and_bias():
    cases = {
        ("abc,cd->abd", (5, 6), "d"): True,
        ("abc,cd->abd", (5, 6), None): True,
        ("abc,cd->abd", (5, 6), "b"): False,
    }
    for (equation, shape, bias), expected in cases.items():
        x = inputs = keras.Input((5, 3))
        x = layers.EinsumDense(equation, shape, bias_axes=bias, name="a")(x)
        x = layers.Dense(2, name="z")(x)
        channels, _, _ = prune_and_compare(randomise(keras.Model(inputs, x)))
        labels = channels.scope.tensors[channels.graph.nodes[0].outputs[0]]
        assert labels.zero == expected


def test_bias_that_is_as_long_as_the_steps():
    """Of a bias (5, 1) three rows would be added along the three steps."""
    inputs = keras.Input((3, 4))
    x = layers.EinsumDense("abc,cde->abde", (3, 5, 6), None, "d", name="m")(
        inputs
    )
    x = layers.EinsumDense("abde,def->abf", (3, 2), bias_axes="f")(x)
    channels, _, _ = prune_and_compare(randomise(keras.Model(inputs, x)))
    never = {group.name: group.never for group in channels.prunable}
    assert never == {"m:d": {3}, "m:e": set()}
