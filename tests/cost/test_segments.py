"""What runs as one, and which widths its time depends on."""

import sys

import keras
from small_models import residual

from tf_channel_prune.api import channels_of
from tf_channel_prune.cost.segments import segments

layers = keras.layers


def test_cheap_operations_go_with_what_they_follow():
    parts = segments(channels_of(residual()), {})
    assert [part.what for part in parts] == [
        "Conv2D + BatchNormalization + ReLU",
        "Conv2D",
        "Add + Conv2D",
        "GlobalAveragePooling2D + Dense",
    ]


def test_every_node_is_in_one_segment():
    channels = channels_of(residual())
    parts = segments(channels, {})
    found = [node.index for part in parts for node in part.nodes]
    assert sorted(found) == [node.index for node in channels.graph.nodes]


def test_widths_are_affine_in_the_counts():
    channels = channels_of(residual())
    first, *_ = segments(channels, {})
    (width,) = first.coordinates
    counts = [3] * len(channels.prunable)
    assert width.size(counts) == 3
    assert first.inputs[channels.graph.inputs[0]] == (1, 6, 6, 2)


def test_the_same_work_has_the_same_key_in_another_model():
    one = segments(channels_of(residual(1)), {})
    two = segments(channels_of(residual(2, ("a", "b", "c"))), {})
    assert [part.key for part in one] == [part.key for part in two]
    x = keras.Input((6, 6, 2))
    wider = layers.Conv2D(10, 3, padding="same")(x)
    wider = layers.ReLU()(layers.BatchNormalization()(wider))
    wider = layers.Dense(3)(layers.Flatten()(wider))
    other = segments(channels_of(keras.Model(x, wider)), {})
    assert other[0].key != one[0].key


def test_many_widths_become_their_sum(monkeypatch):
    x = keras.Input((6, 6, 2))
    h = layers.Conv2D(8, 3)(layers.Conv2D(4, 3)(x))
    channels = channels_of(keras.Model(x, layers.Dense(2)(layers.Flatten()(h))))
    _, second, _ = segments(channels, {})
    assert [width.size([4, 8]) for width in second.coordinates] == [4, 8]
    # By name: the package's own `segments` is the function.
    module = sys.modules["tf_channel_prune.cost.segments"]
    monkeypatch.setattr(module, "MOST_WIDTHS", 1)
    _, second, _ = segments(channels, {})
    assert [width.size([4, 8]) for width in second.coordinates] == [12]
