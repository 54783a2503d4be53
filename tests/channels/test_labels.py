"""Labels on arrays that can be checked by hand."""

import numpy as np
import pytest

from tf_channel_prune.channels.labels import FIXED
from tf_channel_prune.channels.labels import Labels
from tf_channel_prune.channels.labels import LabelSpace


def test_fresh_labels_never_repeat_and_are_not_fixed():
    space = LabelSpace()
    first, second = space.fresh(3), space.fresh(2)
    assert first.tolist() == [1, 2, 3]
    assert second.tolist() == [4, 5]
    assert FIXED not in first


def test_units_without_any_union():
    space = LabelSpace()
    vector = space.fresh(3)
    units = space.solve()
    assert units.count == 3
    assert units.of_label[vector].tolist() == [0, 1, 2]
    assert units.of_label[FIXED] == -1
    assert units.frozen == {}


def test_no_labels_at_all():
    units = LabelSpace().solve()
    assert units.count == 0
    assert units.of_label.tolist() == [-1]


def test_united_labels_are_one_unit_numbered_by_the_first():
    space = LabelSpace()
    a, b, c = space.fresh(3), space.fresh(3), space.fresh(1)
    space.unite(b, a[::-1], "why")
    units = space.solve()
    assert units.count == 4
    assert units.of_label[a].tolist() == [0, 1, 2]
    assert units.of_label[b].tolist() == [2, 1, 0]
    assert units.of_label[c].tolist() == [3]


def test_union_is_transitive():
    space = LabelSpace()
    a, b, c = space.fresh(2), space.fresh(2), space.fresh(2)
    space.unite(a, b, "")
    space.unite(b, c, "")
    units = space.solve()
    assert units.of_label[c].tolist() == units.of_label[a].tolist() == [0, 1]


def test_unite_all_leaves_one_unit():
    space = LabelSpace()
    vector = space.fresh(4)
    space.unite_all(vector, "")
    assert space.solve().count == 1


def test_a_fixed_position_freezes_what_it_meets():
    space = LabelSpace()
    a = space.fresh(3)
    b = np.array([FIXED, FIXED, 3])
    space.unite(a, b, "meets the input")
    units = space.solve()
    assert units.frozen == {0: "meets the input", 1: "meets the input"}


@pytest.mark.parametrize("swap", [False, True])
def test_nothing_on_one_side_freezes_the_other(swap):
    space = LabelSpace()
    a = space.fresh(2)
    space.unite(*((None, a) if swap else (a, None)), "no labels there")
    assert space.solve().frozen == {0: "no labels there", 1: "no labels there"}


def test_a_frozen_label_freezes_its_whole_unit():
    space = LabelSpace()
    a, b = space.fresh(2), space.fresh(2)
    space.freeze(b[:1], "it is an output")
    space.unite(a, b, "")
    assert space.solve().frozen == {0: "it is an output"}


def test_the_first_reason_stays():
    space = LabelSpace()
    a = space.fresh(1)
    space.freeze(a, "first")
    space.freeze(a, "second")
    assert space.solve().frozen == {0: "first"}


def test_freezing_nothing_is_harmless():
    space = LabelSpace()
    space.freeze(None, "no")
    space.freeze(np.array([FIXED, FIXED]), "no")
    space.unite(None, None, "no")
    assert space.solve().frozen == {}


def test_axes_count_from_both_ends():
    vector = np.array([1, 2])
    labels = Labels((None, 5, 2), {2: vector, 1: np.arange(5)})
    assert labels.axis(-1) is vector
    assert labels.axis(2) is vector
    assert labels.axis(0) is None
    assert list(labels.without(-1)) == [1]
    assert list(labels.without(1, 2)) == []
