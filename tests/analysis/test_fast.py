"""The fast analysis against curves that are known beforehand."""

import keras
import numpy as np
import pytest

from tf_channel_prune.analysis.fast import InMemory
from tf_channel_prune.analysis.fast import analyse_fast
from tf_channel_prune.api import channels_of
from tf_channel_prune.criteria import scores
from tf_channel_prune.errors import PruningError
from tf_channel_prune.graph import run as running
from tf_channel_prune.graph.prefixes import Prefixes
from tf_channel_prune.graph.trial import Trials
from tf_channel_prune.masking import Masks
from tf_channel_prune.masking import make_sparse
from tf_channel_prune.masking.trials import GroupTrials

RATIOS = tuple(r / 10 for r in range(1, 10))


@pytest.fixture(scope="module")
def channels():
    x = keras.Input((4, 4, 3))
    h = keras.layers.Conv2D(20, 3, name="a")(x)
    h = keras.layers.BatchNormalization()(h)
    h = keras.layers.Conv2D(20, 1, name="b")(h)
    h = keras.layers.BatchNormalization()(h)
    h = keras.layers.GlobalAveragePooling2D()(h)
    return channels_of(keras.Model(x, keras.layers.Dense(3)(h)))


class _Curves:
    """Outcomes by a function of the removed share; counts what is asked."""

    def __init__(self, **curves):
        self.curves = curves
        self.asked = []

    def __call__(self, group, counts):
        name = "" if group is None else group.name
        self.asked += [(name, count) for count in counts]
        size = 1 if group is None else group.size
        falls = [
            self.curves[name](count / size) if name else 0.0 for count in counts
        ]
        return np.array([[0.9 - fall] * 10 for fall in falls])


CURVES = {
    # shape: (curve, points that are enough)
    "flat": (lambda share: 0.0, 3),
    "a line": (lambda share: 0.5 * share, 3),
    "a square": (lambda share: share**2, 3),
    "a knee": (lambda share: max(0.0, share - 0.6), 5),
    "a step at the end": (lambda share: 0.6 * (share > 0.85), 5),
    "a step at the start": (lambda share: 0.6 * (share > 0.15), 5),
}


@pytest.mark.parametrize("shape", CURVES)
def test_the_curve_is_known_within_the_tolerance(channels, shape):
    curve, enough = CURVES[shape]
    outcomes = _Curves(a=curve, b=lambda share: 0.0)
    found, effort = analyse_fast(
        channels, outcomes, InMemory(), RATIOS, tolerance=0.3
    )
    shares = np.array(RATIOS)
    expected = np.array([curve(share) for share in shares])
    error = np.abs(found.loss("a", shares) - expected).max()
    assert error <= 0.15 * max(curve(0.9), 1e-9)
    assert sum(name == "a" for name, _ in outcomes.asked) <= enough
    assert effort.points == len(outcomes.asked) <= effort.grid == 19


def test_noise_is_not_chased(channels):
    rng = np.random.default_rng(0)

    def outcomes(group, counts):
        return rng.normal(0.9, 0.3, (len(counts), 100))

    _, effort = analyse_fast(channels, outcomes, InMemory(), RATIOS)
    assert effort.points <= 9


def test_only_curves_that_fall_far_are_looked_into(channels):
    """A step of a tenth of the typical fall may be anywhere."""
    outcomes = _Curves(a=CURVES["a square"][0], b=lambda r: 0.1 * (r > 0.85))
    analyse_fast(channels, outcomes, InMemory(), RATIOS)
    assert outcomes.asked == [
        ("", 0),
        *[("a", count) for count in (6, 12, 18)],
        *[("b", count) for count in (6, 12, 18)],
    ]


def test_known_points_are_not_scored_again(channels):
    curve = CURVES["a knee"][0]
    results = InMemory()
    first = _Curves(a=curve, b=curve)
    whole, _ = analyse_fast(channels, first, results, RATIOS)
    # A killed run knows some of the points.
    rest = InMemory()
    survivors = list(results.known)[:4]
    for key in survivors:
        rest.add(*key, results.known[key])
    again = _Curves(a=curve, b=curve)
    resumed, _ = analyse_fast(channels, again, rest, RATIOS)
    assert resumed == whole
    assert not set(again.asked) & set(survivors)


def _trials(channels, **options):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 4, 4, 3)).astype("float32")
    y = rng.integers(0, 3, 40)
    masks = Masks(make_sparse(channels))
    ranked = scores(masks.channels, "l1")
    return GroupTrials(masks, ranked, (x, y), share=1.0, **options), x, y


def _sequential(masks, alive, x, batch_size):
    """Predictions of the masked model by Keras itself."""
    with masks.trial(alive):
        return masks.model.predict(x, batch_size=batch_size, verbose=0)


def test_outcomes_are_those_of_the_masked_model(channels):
    trials, x, y = _trials(channels, statistics=False, seed=0)
    group = trials.channels.prunable[1]
    found = trials(group, [5, 15])
    worst = group.units[np.argsort(trials.scores[group.units], kind="stable")]
    for row, count in zip(found, (5, 15)):
        alive = np.ones(trials.channels.unit_count, bool)
        alive[worst[:count]] = False
        predicted = _sequential(trials.masks, alive, x, 40)
        assert row.mean() == pytest.approx(
            (predicted.argmax(-1) == y).mean(), abs=1e-6
        )
    # The model is as it was.
    assert trials.masks.alive().all()


def test_batch_statistics_are_those_of_training(channels):
    trials, x, _ = _trials(channels)
    model = trials.masks.model
    predicted = keras.ops.convert_to_numpy(model(x, training=True))
    inside = Trials(
        trials.channels.graph,
        (x, np.zeros(40)),
        lambda y, p: p[:, 0],
        batch_size=40,
    )
    order = np.argsort(inside.outcomes(0, [_nothing])[0])
    np.testing.assert_allclose(
        inside.outcomes(0, [_nothing])[0][order],
        np.sort(predicted[:, 0]),
        rtol=1e-4,
    )


class _nothing:
    def __enter__(self):
        return None

    def __exit__(self, *error):
        return None


@pytest.mark.skipif(
    keras.backend.backend() == "jax", reason="compiles the whole model there"
)
def test_the_prefix_is_not_run_again(channels):
    trials, *_ = _trials(channels)
    trials(trials.channels.prunable[1], [1, 2, 3])
    whole = _trials(channels)[0]
    whole(whole.channels.prunable[0], [1, 2, 3])
    # Group b starts behind convolution a: that part is run once, not thrice.
    assert 1.0 < trials.evaluations < whole.evaluations <= 3.0


@pytest.mark.skipif(
    keras.backend.backend() == "jax", reason="compiles the whole model there"
)
@pytest.mark.parametrize("limit", [0, 7_000, 2**29])
def test_a_prefix_goes_on_where_the_last_one_ended(channels, limit):
    """With memory for no batch, for some, for all: the same scores."""
    trials, x, y = _trials(channels)
    inner = Trials(trials.channels.graph, (x, y), batch_size=10)
    nodes = inner.graph.nodes
    batches = [batch for batch, _ in inner.batches]
    expected = [
        inner._run(running.inputs(inner.graph, batch), nodes, ())
        for batch in batches
    ]
    ran = []

    def run(values, nodes, keep):
        ran.append(len(nodes))
        return inner._run(values, nodes, keep)

    prefixes = Prefixes(inner.graph, batches, run, limit)
    starts = (2, 4, 4, 3, len(nodes))
    for start in starts:
        for (made, _), outputs in zip(
            prefixes.before(start), expected, strict=True
        ):
            out = inner._run(made, nodes[start:], ())
            for tensor in inner.graph.outputs:
                np.testing.assert_array_equal(
                    *map(
                        keras.ops.convert_to_numpy,
                        (out[tensor], outputs[tensor]),
                    )
                )
    count = len(batches)
    from_inputs = [start for start in starts for _ in batches]
    going_on = [n for n in (2, 2, 0, 3, len(nodes) - 3) for _ in batches]
    if limit == 0:
        assert ran == from_inputs
    elif limit == 2**29:
        assert ran == going_on
    else:
        assert sum(going_on) < sum(ran) < sum(from_inputs)
        # Some batches of one call are kept, others are not.
        assert set(ran[count : 2 * count]) == {2, 4}
        assert set(ran[2 * count : 3 * count]) == {0, 4}


def test_only_a_share_of_the_data_is_used(channels):
    trials, x, y = _trials(channels)
    half = GroupTrials(
        trials.masks, trials.scores, (x, y), share=0.5, metric="accuracy"
    )
    assert half(None, [0]).shape == (1, 20)


@pytest.mark.parametrize(
    "options, message",
    [({"metric": "f1"}, "expected accuracy"), ({"metric": "loss"}, "the loss")],
)
def test_bad_metrics_are_refused(channels, options, message):
    with pytest.raises(PruningError, match=message):
        _trials(channels, **options)
