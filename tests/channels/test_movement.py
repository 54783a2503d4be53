"""Movements of labels, on arrays that can be checked by hand.

In these tests a unit is written as the smallest label that it holds.
"""

import numpy as np
import pytest

from tf_channel_prune.channels import movement
from tf_channel_prune.channels.labels import FIXED
from tf_channel_prune.channels.labels import Labels
from tf_channel_prune.channels.labels import LabelSpace


def setting(shape, *axes):
    """A space and a tensor with fresh labels along some axes."""
    space = LabelSpace()
    return space, Labels(shape, {a: space.fresh(shape[a]) for a in axes})


def solved(space, vector):
    """Each label's unit as its smallest label; a frozen one is negative."""
    units = space.solve()
    least = {}
    for label, unit in enumerate(units.of_label.tolist()):
        least.setdefault(unit, label)
    return [
        -least[u] if u in units.frozen else least[u]
        for u in units.of_label[vector].tolist()
    ]


SEGMENTS = [
    ((None, 4, 6), (None, 4, 6), [([0], [0]), ([1], [1]), ([2], [2])]),
    ((None, 4, 6), (None, 24), [([0], [0]), ([1, 2], [1])]),
    ((None, 24), (None, 4, 6), [([0], [0]), ([1], [1, 2])]),
    ((None, 4, 6), (None, 4, 2, 3), [([0], [0]), ([1], [1]), ([2], [2, 3])]),
    # An unknown size in the middle stands alone.
    (
        (None, None, 6),
        (None, None, 2, 3),
        [([0], [0]), ([1], [1]), ([2], [2, 3])],
    ),
    # The unknown batch takes part: seven samples of one become one of seven.
    ((None, 49, 6), (None, 7, 6), [([0, 1], [0, 1]), ([2], [2])]),
    # Two unknown sizes melt into one.
    ((None, None, 6), (None, 6), [([0, 1], [0]), ([2], [1])]),
    # Sizes of one come and go.
    ((None, 1, 6), (None, 6), [([0], [0]), ([1], []), ([2], [1])]),
    ((None, 6), (None, 6, 1), [([0], [0]), ([1], [1]), ([], [2])]),
]


@pytest.mark.parametrize("old, new, expected", SEGMENTS)
def test_segments_pair_axes_of_equal_products(old, new, expected):
    found = movement.segments(old, new)
    assert [(list(a), list(b)) for a, b in found] == expected


def test_transpose():
    _, labels = setting((None, 2, 3), 1, 2)
    moved = movement.transpose(labels, (0, 2, -2))
    assert moved.shape == (None, 3, 2)
    assert moved.axes[1] is labels.axes[2]
    assert moved.axes[2] is labels.axes[1]


RESHAPES = {
    # shape, labelled axis, target, new axis, labels there, units there
    "flatten": (
        (None, 2, 3), 2, (None, 6), 1, [1, 2, 3, 1, 2, 3], [1, 2, 3, 1, 2, 3],
    ),
    "flatten of rows": (
        (None, 2, 3), 1, (None, 6), 1, [1, 1, 1, 2, 2, 2], [1, 1, 1, 2, 2, 2],
    ),
    "into heads: the column goes together": (
        (None, 6), 1, (None, 2, 3), 2, [1, 2, 3], [1, 2, 3],
    ),
    "a wide first axis is finer": (
        (None, 6), 1, (None, 3, 2), 1, [1, 3, 5], [1, 3, 5],
    ),
    "a trailing one": ((None, 3), 1, (None, 3, 1), 1, [1, 2, 3], [1, 2, 3]),
    "a leading one": ((None, 1, 3), 2, (None, 3), 1, [1, 2, 3], [1, 2, 3]),
    "unknown steps, channels split": (
        (None, None, 4), 2, (None, None, 2, 2), 3, [1, 2], [1, 2],
    ),
    "batch and steps melt, channels stay": (
        (None, None, 3), 2, (None, 3), 1, [1, 2, 3], [1, 2, 3],
    ),
}  # fmt: skip


@pytest.mark.parametrize("row", RESHAPES)
def test_reshape(row):
    shape, axis, target, new, vector, units = RESHAPES[row]
    space, labels = setting(shape, axis)
    moved = movement.reshape(labels, target, space, "reshape")
    assert moved.shape == target
    assert list(moved.axes) == [new]
    assert moved.axes[new].tolist() == vector
    assert solved(space, moved.axes[new]) == units


def test_into_heads_unites_the_columns():
    space, labels = setting((None, 6), 1)
    movement.reshape(labels, (None, 2, 3), space, "")
    assert solved(space, labels.axes[1]) == [1, 2, 3, 1, 2, 3]


def test_a_reshape_back_undoes_it():
    """The columns stay united: channel shuffle without the shuffle."""
    space, labels = setting((None, 6), 1)
    heads = movement.reshape(labels, (None, 2, 3), space, "")
    back = movement.reshape(heads, (None, 6), space, "")
    assert solved(space, back.axes[1]) == [1, 2, 3, 1, 2, 3]


def test_channel_shuffle():
    """(2 groups, 3) transposed to (3, 2): column j is labels j and j + 3."""
    space, labels = setting((None, 6), 1)
    x = movement.reshape(labels, (None, 2, 3), space, "")
    x = movement.transpose(x, (0, 2, 1))
    x = movement.reshape(x, (None, 6), space, "")
    assert solved(space, x.axes[1]) == [1, 1, 2, 2, 3, 3]


def test_merging_two_prunable_axes_keeps_the_finer():
    space, labels = setting((None, 2, 3), 1, 2)
    moved = movement.reshape(labels, (None, 6), space, "it flattens it")
    assert moved.axes[1].tolist() == [3, 4, 5, 3, 4, 5]
    assert space.solve().frozen == {
        0: "it flattens it and merges it with another prunable axis",
        1: "it flattens it and merges it with another prunable axis",
    }


def test_flattening_unknown_steps_freezes():
    space, labels = setting((None, None, 3), 2)
    moved = movement.reshape(labels, (None, None), space, "flatten")
    assert moved.axes == {}
    assert set(space.solve().frozen.values()) == {"flatten: an unknown size"}


def test_moving_labels_into_the_batch_freezes():
    space, labels = setting((None, 3), 1)
    moved = movement.reshape(labels, (None, 1), space, "reshape")
    assert moved.axes == {}
    assert len(space.solve().frozen) == 3


VECTORS = {
    # array, allowed axes, (axis, vector), units of labels 1..4
    "one axis": ([[1, 2], [1, 2]], None, (1, [1, 2]), [1, 2]),
    "both axes, all distinct": (
        [[1, 2], [3, 4]], None, (1, [1, 2]), [1, 2, 1, 2],
    ),
    "both axes, one allowed": (
        [[1, 2], [3, 4]], [0], (0, [1, 3]), [1, 1, 3, 3],
    ),
    "a column with a fixed entry": (
        [[1, 2], [FIXED, 4]], None, (1, [FIXED, 2]), [-1, 2, 3, 2],
    ),
    "a circulant leaves one unit": (
        [[1, 2], [2, 1]], None, (1, [1, 2]), [1, 1],
    ),
}  # fmt: skip


@pytest.mark.parametrize("row", VECTORS)
def test_separability(row):
    array, allowed, expected, units = VECTORS[row]
    space = LabelSpace()
    labels = space.fresh(4)
    axis, vector = movement.to_vector(np.array(array), space, "", allowed)
    assert (axis, vector.tolist()) == expected
    assert solved(space, labels[: len(units)]) == units


def test_a_label_on_all_positions_is_frozen():
    space = LabelSpace()
    space.fresh(1)
    found = movement.to_vector(np.ones((2, 2), int), space, "moving")
    assert found == (None, None)
    assert space.solve().frozen == {0: "moving leaves a single position"}


def test_concatenate_along_the_channels():
    space = LabelSpace()
    a = Labels((None, 2), {1: space.fresh(2)})
    b = Labels((None, 1))
    c = Labels((None, 2), {1: space.fresh(2)})
    joined = movement.concatenate([a, b, c], -1, (None, 5), space, "")
    assert joined.axes[1].tolist() == [1, 2, FIXED, 3, 4]
    assert space.solve().frozen == {}


def test_concatenate_along_space_unites_channels():
    space = LabelSpace()
    a = Labels((None, 3, 2), {2: space.fresh(2)})
    b = Labels((None, 4, 2), {2: space.fresh(2)})
    joined = movement.concatenate([a, b], 1, (None, 7, 2), space, "")
    assert list(joined.axes) == [2]
    assert solved(space, np.arange(1, 5)) == [1, 2, 1, 2]


def test_concatenate_beside_a_fixed_tensor_freezes_and_names_it():
    space = LabelSpace()
    a = Labels((None, 3, 2), {2: space.fresh(2)})
    b = Labels((None, 4, 2), origin="the model input 'x'")
    movement.concatenate([a, b], 1, (None, 7, 2), space, "cat joins it")
    assert set(space.solve().frozen.values()) == {
        "cat joins it, beside the model input 'x'"
    }


def test_concatenate_with_an_unknown_size_freezes():
    space = LabelSpace()
    a = Labels((None, 2), {1: space.fresh(2)})
    joined = movement.concatenate(
        [a, Labels((None, None))], 1, (None, None), space, "cat"
    )
    assert joined.axes == {}
    assert len(space.solve().frozen) == 2


def test_concatenate_is_zero_where_all_parts_are():
    space = LabelSpace()
    a = Labels((None, 2), {1: space.fresh(2)}, zero=True)
    b = Labels((None, 2), {1: space.fresh(2)}, zero=False)
    assert movement.concatenate([a, a], 1, (None, 4), space, "").zero
    assert not movement.concatenate([a, b], 1, (None, 4), space, "").zero


def test_broadcast_aligns_from_the_end():
    space = LabelSpace()
    a = Labels((None, 5, 2), {2: space.fresh(2)})
    b = Labels((2,), {0: space.fresh(2)})
    met = movement.broadcast([a, b], (None, 5, 2), space, "", True)
    assert met.axes[2].tolist() == [1, 2]
    assert solved(space, np.arange(1, 5)) == [1, 2, 1, 2]


def test_broadcast_of_one_position_says_nothing():
    space = LabelSpace()
    a = Labels((None, 2), {1: space.fresh(2)})
    met = movement.broadcast([a, Labels((None, 1))], (None, 2), space, "", True)
    assert met.axes[1].tolist() == [1, 2]
    assert space.solve().frozen == {}


def test_broadcast_with_a_fixed_tensor_freezes():
    space = LabelSpace()
    a = Labels((None, 2), {1: space.fresh(2)})
    b = Labels((None, 2), origin="the model input 'x'")
    met = movement.broadcast([a, b], (None, 2), space, "it meets b", True)
    assert met.axes == {}
    assert set(space.solve().frozen.values()) == {
        "it meets b, beside the model input 'x'"
    }


def test_broadcast_of_different_axes_keeps_both():
    space = LabelSpace()
    a = Labels((None, 3, 1), {1: space.fresh(3)})
    b = Labels((None, 1, 2), {2: space.fresh(2)})
    met = movement.broadcast([a, b], (None, 3, 2), space, "", True)
    assert met.axes[1].tolist() == [1, 2, 3]
    assert met.axes[2].tolist() == [4, 5]
    assert space.solve().frozen == {}
