"""Layers that join tensors."""

import keras
import pytest
from keras import layers
from rule_checks import prune_and_compare
from rule_checks import randomise
from rule_checks import reasons
from rule_checks import sizes

from tf_channel_prune.api import channels_of


def two(merge, widths=(4, 4), activation=None, shape=(5, 5, 3)):
    """Two convolutions that meet in a layer."""
    inputs = keras.Input(shape)
    parts = [
        layers.Conv2D(
            width, 3, padding="same", activation=activation, name=name
        )(inputs)
        for width, name in zip(widths, "abcdef")
    ]
    x = layers.Conv2D(2, 1, name="z")(merge(parts))
    return randomise(keras.Model(inputs, x))


UNITING = [
    layers.Add,
    layers.Subtract,
    layers.Multiply,
    layers.Average,
    layers.Maximum,
    layers.Minimum,
]


@pytest.mark.parametrize("cls", UNITING)
@pytest.mark.parametrize("activation", [None, "sigmoid"])
def test_labels_that_meet_are_united(cls, activation):
    model = two(cls(name="m"), activation=activation)
    channels, _, _ = prune_and_compare(model)
    assert sizes(channels) == {"a": 4}
    assert channels.prunable[0].layers == ("a", "b")


@pytest.mark.parametrize(
    "cls", [c for c in UNITING if c is not layers.Subtract]
)
def test_all_of_three_inputs_are_united(cls):
    channels, _, _ = prune_and_compare(two(cls(name="m"), (4, 4, 4)))
    assert channels.prunable[0].layers == ("a", "b", "c")


@pytest.mark.parametrize("cls", UNITING)
def test_meeting_the_model_input_freezes(cls):
    inputs = keras.Input((5, 5, 4))
    x = layers.Conv2D(4, 3, padding="same", name="a")(inputs)
    x = cls(name="m")([inputs, x])
    x = layers.Conv2D(2, 1, name="z")(x)
    channels, _, _ = prune_and_compare(randomise(keras.Model(inputs, x)))
    assert sizes(channels) == {}
    assert "beside the model input" in reasons(channels)["a"]


@pytest.mark.parametrize("cls", [layers.Add, layers.Multiply])
def test_a_gate_of_one_channel_unites_nothing(cls):
    """Trap: `x * gate` with one channel must leave x prunable."""
    inputs = keras.Input((5, 5, 3))
    x = layers.Conv2D(4, 3, padding="same", name="a")(inputs)
    gate = layers.Conv2D(1, 3, padding="same", name="gate")(inputs)
    x = layers.Conv2D(2, 1, name="z")(cls(name="m")([x, gate]))
    channels, _, _ = prune_and_compare(randomise(keras.Model(inputs, x)))
    assert sizes(channels) == {"a": 4}


def test_a_gate_of_lower_rank():
    """A (batch, channels) gate against (batch, steps, channels)."""
    inputs = keras.Input((5, 3))
    x = layers.Conv1D(4, 2, padding="same", name="a")(inputs)
    gate = layers.GlobalAveragePooling1D()(inputs)
    gate = layers.Dense(4, activation="sigmoid", name="g")(gate)
    gate = layers.Reshape((1, 4))(gate)
    x = layers.Multiply(name="m")([x, gate])
    x = layers.Conv1D(2, 1, name="z")(x)
    channels, _, _ = prune_and_compare(randomise(keras.Model(inputs, x)))
    assert sorted(channels.prunable[0].layers) == ["a", "g"]


def test_zero_after_sum_and_product():
    """relu * sigmoid is zero where relu is; relu + sigmoid is not."""
    for cls, expected in ((layers.Multiply, True), (layers.Add, False)):
        inputs = keras.Input((5, 5, 3))
        x = layers.Conv2D(4, 3, activation="relu", name="a")(inputs)
        y = layers.Conv2D(4, 3, activation="sigmoid", name="b")(inputs)
        x = layers.Conv2D(2, 1, name="z")(cls(name="m")([x, y]))
        channels = channels_of(keras.Model(inputs, x))
        node = next(n for n in channels.graph.nodes if n.name == "m")
        assert channels.scope.tensors[node.outputs[0]].zero == expected


def test_concatenate_keeps_both_apart():
    channels, _, _ = prune_and_compare(
        two(layers.Concatenate(name="m"), (4, 6))
    )
    assert sizes(channels) == {"a": 4, "b": 6}


def test_concatenate_with_the_model_input():
    inputs = keras.Input((5, 5, 3))
    x = layers.Conv2D(4, 3, padding="same", name="a")(inputs)
    x = layers.Concatenate(name="m")([inputs, x])
    x = layers.Conv2D(2, 1, name="z")(x)
    channels, _, _ = prune_and_compare(randomise(keras.Model(inputs, x)))
    assert sizes(channels) == {"a": 4}


def test_concatenate_along_space_unites():
    channels, _, _ = prune_and_compare(two(layers.Concatenate(1, name="m")))
    assert sizes(channels) == {"a": 4}
    assert channels.prunable[0].layers == ("a", "b")


def test_concatenate_then_add_pairs_the_right_channels():
    """Trap: channels are shifted by what stands before them."""
    inputs = keras.Input((5, 5, 3))
    a = layers.Conv2D(2, 3, padding="same", name="a")(inputs)
    b = layers.Conv2D(4, 3, padding="same", name="b")(inputs)
    c = layers.Conv2D(6, 3, padding="same", name="c")(inputs)
    x = layers.Add(name="m")([layers.Concatenate()([a, b]), c])
    x = layers.Conv2D(2, 1, name="z")(x)
    channels, _, _ = prune_and_compare(randomise(keras.Model(inputs, x)))
    assert sizes(channels) == {"a": 2, "b": 4}
    assert [g.layers for g in channels.prunable] == [("a", "c"), ("b", "c")]


def test_flattened_branches_stay_apart():
    """Trap: flatten, concatenate, Dense; one branch pruned alone."""
    inputs = keras.Input((4, 4, 3))
    a = layers.Flatten()(layers.Conv2D(4, 3, name="a")(inputs))
    b = layers.Flatten()(layers.Conv2D(6, 3, name="b")(inputs))
    x = layers.Dense(2, name="z")(layers.Concatenate()([a, b]))
    channels, _, _ = prune_and_compare(randomise(keras.Model(inputs, x)))
    assert sizes(channels) == {"a": 4, "b": 6}


DOTS = {
    "over channels": (
        lambda: layers.Dot(-1, name="m"),
        None,
        {"a": 4},
        ("a", "b"),
    ),
    "over channels that a sigmoid lifted": (
        lambda: layers.Dot(-1, name="m"),
        "sigmoid",
        {},
        None,
    ),
    "normalised": (
        lambda: layers.Dot(-1, normalize=True, name="m"),
        None,
        {"a": 4},
        ("a", "b"),
    ),
}


@pytest.mark.parametrize("row", DOTS)
def test_dot(row):
    make, activation, expected, makers = DOTS[row]
    inputs = keras.Input((3,))
    a = layers.Dense(4, activation=activation, name="a")(inputs)
    b = layers.Dense(4, activation=activation, name="b")(inputs)
    x = layers.Dense(2, name="z")(make()([a, b]))
    channels, _, _ = prune_and_compare(randomise(keras.Model(inputs, x)))
    assert sizes(channels) == expected
    if makers:
        assert channels.prunable[0].layers == makers


def test_dot_over_steps_keeps_both_widths():
    """(batch, steps, 4) and (batch, steps, 6) give (batch, 4, 6)."""
    inputs = keras.Input((5, 3))
    a = layers.Dense(4, name="a")(inputs)
    b = layers.Dense(6, name="b")(inputs)
    x = layers.Dot(1, name="m")([a, b])
    x = layers.Dense(2, name="y")(x)
    x = layers.Dense(2, name="z")(layers.Flatten()(x))
    channels, _, _ = prune_and_compare(randomise(keras.Model(inputs, x)))
    assert sizes(channels)["a"] == 4
    assert sizes(channels)["b"] == 6
