"""ThiNet's criterion: which units change what follows least, together."""

import itertools

import keras
import numpy as np
import pytest
from keras import layers

import tf_channel_prune as tcp
from tf_channel_prune import criteria
from tf_channel_prune.api import channels_of
from tf_channel_prune.criteria.reconstruction import greedy
from tf_channel_prune.criteria.reconstruction import shrunk
from tf_channel_prune.errors import PruningError
from tf_channel_prune.graph import contributions

RNG = np.random.default_rng(0)


def _linear(kernel, consumer):
    """x -> hidden -> out, without biases."""
    x = keras.Input((len(kernel),))
    h = layers.Dense(len(consumer), use_bias=False, name="hidden")(x)
    out = layers.Dense(len(consumer[0]), use_bias=False, name="out")(h)
    model = keras.Model(x, out)
    model.set_weights([np.array(kernel), np.array(consumer)])
    return channels_of(model)


def _scores(channels, data, prior=0.0, **how):
    """By the samples alone, if nothing else is said."""
    scores = criteria.ThiNet(prior=prior, **how).score(channels, data)
    return scores[channels.prunable[0].units]


# Samples at the corners of a square: inputs are uncorrelated.
CORNERS = np.array(list(itertools.product([-1.0, 1.0], repeat=2)), "float32")


def test_by_hand():
    """Units bring 2a, b, and both: 3a + b; of the output 5a + 2b."""
    channels = _linear([[2.0, 0.0, 3.0], [0.0, 1.0, 1.0]], [[1.0]] * 3)
    data = np.tile(CORNERS, (500, 1))
    # Alone: 4, 1, 10. The second goes first; with it the first costs 4 more,
    # the third 10 + 2; then all of 29 is lost. Samples are many, so hardly
    # anything is shrunk.
    expected = np.array([5, 1, 29]) / 29
    found = _scores(channels, data, samples=2000)
    np.testing.assert_allclose(found, expected, rtol=0.01)


def test_squared_weights_count_beside_the_samples():
    """The same model: 4, 1, 10 of 29 by the samples, weights 5, 2, 11 of 18."""
    channels = _linear([[2.0, 0.0, 3.0], [0.0, 1.0, 1.0]], [[1.0]] * 3)
    data = np.tile(CORNERS, (500, 1))
    by_weights = 15 / 29 * np.array([5, 2, 11]) / 18
    own = (np.array([4, 1, 10]) / 29 + by_weights) / 2
    first, second = own[1], own[1] + own[0]
    expected = [second, first, (1 + 15 / 29) / 2]
    found = _scores(channels, data, prior=1.0, samples=2000)
    np.testing.assert_allclose(found, expected, rtol=0.01)
    default = criteria.ThiNet(samples=2000).score(channels, data)
    np.testing.assert_array_equal(default[channels.prunable[0].units], found)
    # So much that the samples have no say.
    found = _scores(channels, data, prior=1e6, samples=2000) / (15 / 29)
    np.testing.assert_allclose(found, [7 / 18, 2 / 18, 1.0], rtol=1e-3)


@pytest.mark.parametrize("prior", [-0.5, float("nan")])
def test_a_prior_is_a_weight(prior):
    with pytest.raises(PruningError, match="0 or more"):
        criteria.ThiNet(prior=prior)


def test_units_that_cancel_out_go_together():
    """Each brings a lot, both together bring nothing."""
    channels = _linear([[5.0, 5.0, 1.0], [0.0, 0.0, 1.0]], [[1], [-1], [1]])
    data = RNG.normal(size=(2000, 2)).astype("float32")
    found = _scores(channels, data, samples=2000)
    weights = criteria.scores(channels, "l1")[channels.prunable[0].units]
    assert np.argmin(weights) == 2
    # After the small one the other two follow, and the last pays little.
    order = np.argsort(found)
    assert order[0] == 2 and found[order[2]] < 30


def test_a_constant_channel_goes_first():
    """What is the same for all samples is a bias of what follows."""
    x = keras.Input((2,))
    h = layers.Dense(3, name="hidden")(x)
    model = keras.Model(x, layers.Dense(2)(h))
    hidden = model.get_layer("hidden")
    kernel = np.array([[1.0, 0.0, 0.1], [1.0, 0.0, 0.1]])
    hidden.set_weights([kernel, np.array([0.0, 9.0, 0.0])])
    channels = channels_of(model)
    data = RNG.normal(size=(64, 2)).astype("float32")
    assert np.argmin(_scores(channels, data)) == 1


def test_consumers_count_relative_to_their_output():
    """A consumer whose weights are a hundredfold has no more say."""
    found = []
    for factor in (1.0, 100.0):
        x = keras.Input((2,))
        h = layers.Dense(3, name="hidden")(x)
        outs = [layers.Dense(1, name=name)(h) for name in ("a", "b")]
        model = keras.Model(x, outs)
        model.set_weights(
            [
                np.array([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0]]),
                np.zeros(3),
                factor * np.array([[3.0], [1.0], [0.5]]),
                np.zeros(1),
                np.array([[1.0], [2.0], [0.5]]),
                np.zeros(1),
            ]
        )
        found.append(_scores(channels_of(model), np.tile(CORNERS, (64, 1))))
    np.testing.assert_allclose(found[0], found[1], rtol=1e-4)


def test_a_flattened_unit_is_the_sum_of_its_positions():
    x = keras.Input((1, 2, 1))
    h = layers.Conv2D(2, 1, use_bias=False, name="conv")(x)
    model = keras.Model(x, layers.Dense(1, use_bias=False)(layers.Flatten()(h)))
    model.set_weights(
        [np.ones((1, 1, 1, 2)), np.array([[1.0], [3.0], [2.0], [-3.0]])]
    )
    # Unit 0 brings a + 2b, unit 1 brings 3a - 3b.
    data = np.tile(CORNERS, (500, 1)).reshape(-1, 1, 2, 1)
    found = _scores(channels_of(model), data, samples=2000)
    np.testing.assert_allclose(found, [5 / 17, 1.0], rtol=0.02)


def test_what_no_other_layer_takes_in_goes_by_its_weights():
    """Heads begin and end inside their layer."""
    x = keras.Input((4, 8))
    h = layers.GroupQueryAttention(4, 4, 2, name="heads")(x, x)
    model = keras.Model(x, layers.Dense(2)(layers.Flatten()(h)))
    channels = channels_of(model)
    data = RNG.normal(size=(16, 4, 8)).astype("float32")
    scores = criteria.ThiNet().score(channels, data)
    sizes = criteria.L2().score(channels)
    inside = [g for g in channels.prunable if "heads" in g.name]
    assert len(inside) == 2
    for group in inside:
        mine, size = scores[group.units], sizes[group.units]
        assert np.argsort(mine).tolist() == np.argsort(size).tolist()
        assert mine.max() == pytest.approx(1.0)
        assert mine.min() == pytest.approx(size.min() / size.sum())


def test_what_cannot_be_differentiated_goes_by_its_weights(monkeypatch, caplog):
    def refuses(outputs, x, number, index):
        raise LookupError("no gradient")

    backend = keras.backend.backend()
    monkeypatch.setitem(contributions._BACKENDS, backend, refuses)
    channels = _linear(RNG.normal(size=(2, 5)), RNG.normal(size=(5, 2)))
    found = _scores(channels, CORNERS)
    sizes = criteria.L2().score(channels)[channels.prunable[0].units]
    assert np.argsort(found).tolist() == np.argsort(sizes).tolist()
    assert "What channels bring to 'out' is not known" in caplog.text


def test_greedy_is_the_algorithm_of_the_paper():
    """Against a search that sums up what is removed anew at each step."""
    parts = RNG.normal(size=(7, 40))
    lost = parts @ parts.T
    removed, expected, highest = [], np.zeros(7), 0.0
    for _ in range(7):
        left = [i for i in range(7) if i not in removed]
        cost = {i: np.square(parts[[*removed, i]].sum(0)).sum() for i in left}
        best = min(cost, key=cost.get)
        removed.append(best)
        highest = max(highest, cost[best])
        expected[best] = highest
    found = greedy(lost)
    assert np.argsort(found).tolist() == removed
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_scores_rise_in_the_order_in_which_units_go():
    """Also where one makes good what another has changed."""
    first, second, third = greedy(np.array([[1, -1, 0], [-1, 1, 0], [0, 0, 9]]))
    assert 1.0 == first < second < third == pytest.approx(9.0)


def test_shrinking_by_the_formula_of_its_paper():
    parts = RNG.normal(size=(3, 10)) + RNG.normal(size=10)
    products = parts[:, None] * parts[None]
    mean, spread = products.mean(-1), products.var(-1, ddof=1) / 10
    off = ~np.eye(3, dtype=bool)
    keep = 1 - spread[off].sum() / np.square(mean[off]).sum()
    assert 0 < keep < 1
    found = shrunk(parts)
    np.testing.assert_allclose(found[off], keep * mean[off])
    np.testing.assert_allclose(np.diag(found), np.diag(mean))


def test_chance_is_not_taken_for_covariance():
    """Twenty samples of independent rows: nothing may cancel out."""
    parts = RNG.normal(size=(200, 20))
    found = shrunk(parts)
    off = ~np.eye(200, dtype=bool)
    raw = parts @ parts.T / 20
    assert np.abs(found[off]).mean() < 0.2 * np.abs(raw[off]).mean()
    assert (shrunk(parts[:, :1])[off] == 0).all()


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="tf_keras is TensorFlow"
)
def test_tf_keras_gives_the_same():
    tf_keras = pytest.importorskip("tf_keras")
    data = RNG.normal(size=(40, 5)).astype("float32")
    found = []
    for flavour in (keras, tf_keras):
        x = flavour.Input((5,))
        h = flavour.layers.Dense(6, name="hidden")(x)
        model = flavour.Model(x, flavour.layers.Dense(1, name="out")(h))
        rng = np.random.default_rng(1)
        model.set_weights(
            [rng.normal(size=w.shape) for w in model.get_weights()]
        )
        found.append(_scores(channels_of(model), data))
    np.testing.assert_allclose(found[0], found[1], rtol=1e-4)


def test_a_model_is_pruned_by_it():
    x = keras.Input((6, 6, 2))
    h = layers.Conv2D(8, 3, name="one")(x)
    h = layers.BatchNormalization()(h)
    h = layers.Conv2D(8, 3, name="two")(layers.ReLU()(h))
    model = keras.Model(x, layers.Dense(2)(layers.Flatten()(h)))
    data = RNG.normal(size=(32, 6, 6, 2)).astype("float32")
    sparse = tcp.prune(
        model, 0.5, criterion="thinet", allocation="uniform", data=data
    )
    slim = tcp.transform(sparse)
    assert tcp.cost(slim).flops <= 0.5 * tcp.cost(model).flops
    with pytest.raises(PruningError, match="give data"):
        tcp.prune(model, 0.5, criterion="thinet")


def test_it_says_what_is_expected_to_be_lost():
    """Which a criterion that scores each unit by itself does not."""
    x = keras.Input((3,))
    h = layers.Dense(4, name="hidden")(x)
    channels = channels_of(keras.Model(x, layers.Dense(1, name="out")(h)))
    scores = np.zeros(channels.unit_count)
    (group,) = channels.prunable
    scores[group.units] = [0.5, 0.25, 1.0, 0.75]
    by_group = criteria.by_group(channels, scores)
    assert by_group == {group.name: [0.5, 0.25, 1.0, 0.75]}
    expected = criteria.expected("thinet", by_group)
    assert expected == {group.name: [0.25, 0.5, 0.75, 1.0]}
    assert criteria.expected("l1", by_group) == {}
