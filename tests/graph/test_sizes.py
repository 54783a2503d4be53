"""Unknown sizes: numbered, joined where a call needs it, and told apart."""

import pytest

from tf_channel_prune.graph import sizes
from tf_channel_prune.graph.sizes import NotExactError
from tf_channel_prune.graph.sizes import Size

B, L, M, N = (Size(1, (i,)) for i in range(4))


@pytest.mark.parametrize(
    ("one", "two", "expected"),
    [
        (7, 7, 7),
        (97, 89, B),
        (3 * 97, 3 * 89, Size(3, (0,))),
        (97 * 101, 89 * 83, Size(1, (0, 1))),
        (97 + 1, 89 + 1, None),  # a sum is no product
        (97, 83, None),
        (0, 1, None),
    ],
)
def test_what_two_numbers_say(one, two, expected):
    assert sizes.of_two(one, two) == expected


def test_first_axes_are_the_batch_and_all_else_differs():
    found = sizes.numbered([(None, None, 4), (None, None), (None, 2)])
    assert found == [(B, L, 4), (B, M), (B, 2)]
    # What is known of a size stays.
    product = Size(6, (3, 5))
    found = sizes.numbered([(product, 4), (Size(1, (5,)), None)])
    assert found == [(Size(6, (0, 1)), 4), (L, M)]


def test_too_many_sizes():
    with pytest.raises(NotExactError, match="too many"):
        sizes.numbered([(None,) * (len(sizes.FIRST) + 1)])


def equal(*pairs, says=str):
    """A call that needs sizes to be equal, and says which are not."""

    def run(shapes):
        numbers = sizes.numbers(shapes, sizes.FIRST)
        flat = [n for shape in numbers for n in shape[1:]]
        for a, b in pairs:
            if flat[a] != flat[b]:
                raise ValueError(says(f"{flat[a]} is not {flat[b]}"))
        return flat

    return run


SHAPES = [(B, L), (B, M), (B, N, Size(1, (4,)))]


@pytest.mark.parametrize("says", [str, lambda text: "they do not fit"])
@pytest.mark.parametrize(
    ("pairs", "different"),
    [([], 4), ([(0, 2)], 3), ([(0, 2), (1, 3)], 2), ([(0, 1), (1, 3)], 2)],
)
def test_no_more_are_equal_than_have_to_be(pairs, different, says):
    shapes, flat = sizes.first_that_runs(SHAPES, equal(*pairs, says=says))
    assert len(set(flat)) == different
    assert all(flat[a] == flat[b] for a, b in pairs)
    assert all(shape[0] == B for shape in shapes)


def test_a_call_that_never_runs_says_why():
    def run(shapes):
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        sizes.first_that_runs(SHAPES, run)
