"""Criteria on nets that are small enough to score by hand."""

import keras
import numpy as np
import pytest

from tf_channel_prune import criteria
from tf_channel_prune.api import channels_of
from tf_channel_prune.criteria.base import Criterion
from tf_channel_prune.criteria.data_driven import seen
from tf_channel_prune.criteria.slices import coupled
from tf_channel_prune.errors import PruningError


@pytest.fixture(scope="module")
def dense():
    """x (2) -> hidden (3) with a bias -> out (1); the hidden units are ours."""
    x = keras.Input((2,))
    h = keras.layers.Dense(3, name="hidden")(x)
    model = keras.Model(x, keras.layers.Dense(1, name="out")(h))
    model.get_layer("hidden").set_weights(
        [np.array([[1.0, -2.0, 0.0], [3.0, 0.0, 0.5]]), np.array([0.0, 4, -1])]
    )
    model.get_layer("out").set_weights(
        [np.array([[2.0], [-1.0], [3.0]]), np.array([0.0])]
    )
    return channels_of(model)


@pytest.fixture(scope="module")
def normed():
    """conv (2 channels, 1x1) -> BN -> relu -> pool -> dense."""
    x = keras.Input((2, 2, 1))
    h = keras.layers.Conv2D(2, 1, use_bias=False, name="conv")(x)
    h = keras.layers.BatchNormalization(name="bn", epsilon=0.0)(h)
    h = keras.layers.ReLU(name="relu")(h)
    h = keras.layers.GlobalAveragePooling2D()(h)
    model = keras.Model(x, keras.layers.Dense(1, name="out")(h))
    model.get_layer("conv").set_weights([np.array([[[[1.0, -1.0]]]])])
    gamma, beta = np.array([-2.0, 0.5]), np.array([0.0, 0.0])
    model.get_layer("bn").set_weights([gamma, beta, np.zeros(2), np.ones(2)])
    return channels_of(model)


def _scores(channels, criterion, **data):
    scores = criteria.get(criterion).score(channels, **data)
    (group,) = channels.prunable
    return scores[group.units]


# The hidden kernel's columns are (1, 3), (-2, 0), (0, 0.5), the biases
# 0, 4, -1, the consumer's rows 2, -1, 3.
WEIGHT_CASES = {
    "l1, sum": (criteria.L1(), [4 + 0 + 2, 2 + 4 + 1, 0.5 + 1 + 3]),
    "l1, mean": (criteria.L1("mean"), [6 / 3, 7 / 3, 4.5 / 3]),
    "l1, max": (criteria.L1("max"), [4, 4, 3]),
    "l2": (criteria.L2(), [10 + 0 + 4, 4 + 16 + 1, 0.25 + 1 + 9]),
    # Squared norms 10, 4, 0.25 in the kernel and 4, 1, 9 in the consumer,
    # each over the sum of those that are not smaller.
    "lamp": (
        criteria.LAMP(),
        [
            (10 / 10 + 4 / 13) / 2,
            (4 / 14 + 1 / 14) / 2,
            (0.25 / 14.25 + 9 / 9) / 2,
        ],
    ),
    "fpgm": (
        criteria.FPGM(),
        [
            np.sqrt(9 + 9) + np.sqrt(1 + 6.25) + 3 + 1,
            np.sqrt(9 + 9) + np.sqrt(4 + 0.25) + 3 + 4,
            np.sqrt(1 + 6.25) + np.sqrt(4 + 0.25) + 1 + 4,
        ],
    ),
}


@pytest.mark.parametrize("case", WEIGHT_CASES)
def test_weight_criterion_by_hand(dense, case):
    criterion, expected = WEIGHT_CASES[case]
    np.testing.assert_allclose(_scores(dense, criterion), expected)


def test_bn_scale_is_the_absolute_gamma(normed):
    np.testing.assert_allclose(_scores(normed, "bn_scale"), [2.0, 0.5])


def test_bn_scale_says_which_group_has_none(dense):
    with pytest.raises(PruningError, match="'hidden' has none"):
        _scores(dense, "bn_scale")


def test_random_is_seeded(dense):
    first = _scores(dense, criteria.Random(1))
    assert (first == _scores(dense, criteria.Random(1))).all()
    assert (first != _scores(dense, criteria.Random(2))).any()


DATA = (np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([[0.0], [0.0]]))


def _by_hand():
    """Hidden values, and the gradient of (y - 0)**2, per sample."""
    hidden = DATA[0] @ [[1, -2, 0], [3, 0, 0.5]] + [0, 4, -1]
    y = hidden @ [2, -1, 3]
    return hidden, 2 * y


def test_taylor_by_hand(dense):
    hidden, slope = _by_hand()
    out = np.array([2.0, -1.0, 3.0])
    # In a linear net the sum of g * w over a slice is the slope times what
    # flows through it; the bias' share is its own.
    bias = np.array([0.0, 4.0, -1.0])
    consumer = np.square(slope[:, None] * out * hidden).mean(axis=0)
    kernel = np.square(slope[:, None] * out * (hidden - bias)).mean(axis=0)
    shift = np.square(slope[:, None] * out * bias).mean(axis=0)
    found = _scores(dense, "taylor", data=DATA, loss="mean_squared_error")
    expected = (consumer + kernel + shift) / 3
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_obd_by_hand(dense):
    hidden, slope = _by_hand()
    out = np.array([2.0, -1.0, 3.0])
    kernel = np.array([[1.0, -2.0, 0.0], [3.0, 0.0, 0.5]])
    bias = np.array([0.0, 4.0, -1.0])
    flow = slope[:, None] * out
    gradients = flow[:, None, :] * DATA[0][:, :, None]
    terms = [
        (np.square(gradients).mean(axis=0) * np.square(kernel)).sum(axis=0),
        np.square(flow).mean(axis=0) * np.square(bias),
        np.square(slope[:, None] * hidden).mean(axis=0) * np.square(out),
    ]
    found = _scores(dense, "obd", data=DATA, loss="mean_squared_error")
    np.testing.assert_allclose(found, 0.5 * sum(terms) / 3, rtol=1e-5)


def test_obd_squares_each_sample_before_the_mean(dense):
    # Two opposite targets: the mean gradient is zero, the squares are not.
    x = np.array([[1.0, 0.0], [1.0, 0.0]])
    out = dense.graph.root.model.predict(x, verbose=0)[0, 0]
    y = np.array([[out - 1], [out + 1]])
    found = _scores(dense, "obd", data=(x, y), loss="mean_squared_error")
    assert found[0] > 1.0


# The image's four pixels give conv (1, -1) * pixel; BN -2 and 0.5; relu.
IMAGE = np.array([1.0, -1.0, -3.0, 5.0]).reshape(1, 2, 2, 1)


def test_activation_mean_by_hand(normed):
    # channel 0: relu(-2, 2, 6, -10); channel 1: relu(-.5, .5, 1.5, -2.5)
    found = _scores(normed, "activation_mean", data=IMAGE)
    np.testing.assert_allclose(found, [8 / 4, 2 / 4], rtol=1e-6)


def test_apoz_by_hand(normed):
    image = IMAGE.copy()
    image[0, 0, 0, 0] = -1.0  # now three of channel 0's four are positive
    found = _scores(normed, "apoz", data=image)
    np.testing.assert_allclose(found, [0.75, 0.75], rtol=1e-6)


def test_activations_are_taken_before_a_global_pooling(normed):
    names = [normed.graph.producer[number].name for number, _ in seen(normed)]
    assert names == ["relu"]


@pytest.mark.parametrize(
    "name", ["taylor", "obd", "activation_mean", "apoz", "thinet"]
)
def test_data_criteria_ask_for_data(dense, name):
    with pytest.raises(PruningError, match="give data"):
        _scores(dense, name)


def test_gradients_ask_for_a_loss(dense):
    with pytest.raises(PruningError, match="needs the loss"):
        _scores(dense, "taylor", data=DATA)


NORMALISED = {
    "none": [1.0, 3.0, 0.0],
    "mean": [0.75, 2.25, 0.0],
    "max": [1 / 3, 1.0, 0.0],
    "sum": [0.25, 0.75, 0.0],
    "l2": [1 / np.sqrt(10), 3 / np.sqrt(10), 0.0],
}


@pytest.mark.parametrize("name", NORMALISED)
def test_normalisation_by_hand(dense, name):
    (group,) = dense.prunable
    scores = np.zeros(dense.unit_count)
    scores[group.units] = [1.0, 3.0, 0.0]
    found = criteria.L1(normalisation=name).normalised(dense, scores)
    np.testing.assert_allclose(found[group.units], NORMALISED[name])


def test_own_criterion_in_five_lines(dense):
    class Cubes(Criterion):
        name = "cubes"

        def elements(self, array):
            return np.abs(array) ** 3

    expected = [1 + 27 + 0 + 8, 8 + 64 + 1, 0.125 + 1 + 27]
    np.testing.assert_allclose(_scores(dense, "cubes"), expected)
    np.testing.assert_allclose(_scores(dense, Cubes), expected)


def test_a_function_is_a_criterion(dense):
    def mine(channels):
        return np.arange(channels.unit_count)

    found = criteria.get(mine).score(dense)
    np.testing.assert_array_equal(found, np.arange(dense.unit_count))
    with pytest.raises(PruningError, match="shape"):
        criteria.get(lambda channels: np.zeros(1)).score(dense)


@pytest.mark.parametrize(
    "make",
    [
        lambda: criteria.get("l3"),
        lambda: criteria.get(3),
        lambda: criteria.L1(reduction="median"),
        lambda: criteria.L1(normalisation="softmax"),
    ],
)
def test_unknown_names_are_refused(make):
    with pytest.raises(PruningError):
        make()


def test_a_flattened_unit_is_one_slice():
    x = keras.Input((2, 2, 1))
    h = keras.layers.Conv2D(2, 1, use_bias=False, name="conv")(x)
    h = keras.layers.Flatten()(h)
    model = keras.Model(x, keras.layers.Dense(1, use_bias=False)(h))
    model.layers[-1].set_weights([np.arange(8.0)[:, None]])
    channels = channels_of(model)
    ((_, slices),) = coupled(channels)
    assert slices[1].positions.tolist() == [[0, 2, 4, 6], [1, 3, 5, 7]]
    rows = slices[1].rows(np.arange(8.0)[:, None])
    assert rows.tolist() == [[0, 2, 4, 6], [1, 3, 5, 7]]
    kernel = np.abs(np.asarray(slices[0].weight.variable)).ravel()
    found = criteria.get("l1").score(channels)[channels.prunable[0].units]
    np.testing.assert_allclose(found, np.add(kernel, [12, 16]), rtol=1e-6)
