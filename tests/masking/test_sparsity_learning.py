"""Regularisation before pruning, by hand."""

import keras
import numpy as np
import pytest
import tf_keras

import tf_channel_prune as tcp
from tf_channel_prune import callbacks
from tf_channel_prune.errors import PruningError
from tf_channel_prune.graph import flavours
from tf_channel_prune.graph.arrays import to_numpy
from tf_channel_prune.masking.sparsity_learning import factors

BOTH = pytest.mark.parametrize(
    "kind", [keras, tf_keras], ids=lambda k: k.__name__
)


def small_model(kind=keras):
    kind.utils.set_random_seed(1)
    model = kind.Sequential(
        [
            kind.Input((4,)),
            kind.layers.Dense(4, name="one"),
            kind.layers.BatchNormalization(name="norm"),
            kind.layers.ReLU(name="relu"),
            kind.layers.Dense(2, name="head"),
        ]
    )
    model.get_layer("norm").gamma.assign([1.0, -0.5, 0.02, 2.0])
    return model


def fit(model, callback, epochs=1, rate=0.1, batches=5):
    """Training in which the loss moves nothing."""
    kind = flavours.library(model)
    model.compile(
        kind.optimizers.SGD(rate),
        lambda y, p: 0.0 * kind.losses.mean_squared_error(y, p),
        jit_compile=False,
    )
    x = np.zeros((2 * batches, 4), "float32")
    y = np.zeros((2 * batches, 2), "float32")
    model.fit(
        x, y, batch_size=2, epochs=epochs, verbose=0, callbacks=[callback]
    )


@pytest.mark.parametrize("frequency", [1, 2, 10])
def test_scales_move_towards_zero_and_stop_there(frequency):
    """5 batches of 0.1 * 0.1 = 0.05, whatever the frequency."""
    model = small_model()
    fit(model, callbacks.SlimmingL1(0.1, frequency=frequency))
    np.testing.assert_allclose(
        to_numpy(model.get_layer("norm").gamma),
        [0.95, -0.45, 0.0, 1.95],
        atol=1e-6,
    )


def test_strength_grows_over_the_epochs():
    """0.05 times 1/2, 1 and 1."""
    model = small_model()
    fit(model, callbacks.SlimmingL1(0.1, grow=2), epochs=3)
    gamma = to_numpy(model.get_layer("norm").gamma)
    assert gamma[0] == pytest.approx(1 - 0.05 * 2.5, abs=1e-6)


def test_what_will_stay_does_not_shrink():
    model = small_model()
    with pytest.raises(PruningError, match="no normalisation scales"):
        fit(model, callbacks.SlimmingL1(0.1, exclude=["one"]))


@BOTH
@pytest.mark.parametrize("sparse", [False, True])
def test_frozen_scales_stay(kind, sparse):
    """The layer before may train, or be frozen with its normalisation."""
    model = small_model(kind)
    model.get_layer("norm").trainable = False
    model = tcp.make_sparse(model) if sparse else model
    before = [to_numpy(w).copy() for w in model.get_layer("norm").weights]
    fit(model, callbacks.GroupSparsity(0.1))
    with pytest.raises(PruningError, match="frozen: set trainable"):
        fit(model, callbacks.SlimmingL1(0.1))
    for old, new in zip(before[:2], model.get_layer("norm").weights):
        np.testing.assert_array_equal(old, to_numpy(new))


@BOTH
def test_scales_beside_frozen_ones_shrink(kind):
    inner = small_model(kind)
    again = kind.layers.BatchNormalization(name="again")
    model = kind.Sequential(
        [
            kind.Input((4,)),
            *inner.layers[:3],
            kind.layers.Dense(3, name="two"),
            again,
            kind.layers.Dense(2, name="last"),
        ]
    )
    inner.get_layer("norm").trainable = False
    fit(model, callbacks.SlimmingL1(0.1))
    gamma = to_numpy(model.get_layer("norm").gamma)
    np.testing.assert_allclose(gamma, [1.0, -0.5, 0.02, 2.0])
    np.testing.assert_allclose(to_numpy(again.gamma), 0.95, atol=1e-6)


@BOTH
def test_nothing_that_trains_is_refused(kind):
    model = small_model(kind)
    for name in ("one", "norm", "head"):
        model.get_layer(name).trainable = False
    with pytest.raises(PruningError, match="no weights that train"):
        fit(model, callbacks.GroupSparsity(0.1))


def test_factors():
    # norms 1, 2, 3: 2 ** (4 * (3 - norm) / 2)
    np.testing.assert_allclose(factors(np.array([1, 4, 9.0]), 4), [16, 4, 1])
    np.testing.assert_allclose(factors(np.array([2, 2.0]), 4), [1, 1])


def test_coupled_slices_shrink_together():
    model = small_model()
    layers = [model.get_layer(name) for name in ("one", "norm", "head")]
    before = [to_numpy(w).copy() for layer in layers for w in layer.weights]
    kernel, bias, gamma, beta, _, _, head, head_bias = before
    squares = (
        np.square(kernel).sum(0) + gamma**2 + beta**2 + np.square(head).sum(1)
    )
    fit(model, callbacks.GroupSparsity(0.01, frequency=5))
    kept = 1 - 0.1 * 0.01 * 5 * factors(squares + bias**2, 4)
    after = [to_numpy(w) for layer in layers for w in layer.weights]
    np.testing.assert_allclose(after[0], kernel * kept, rtol=1e-5)
    np.testing.assert_allclose(after[2], gamma * kept, rtol=1e-5)
    np.testing.assert_allclose(after[6], head * kept[:, None], rtol=1e-5)
    np.testing.assert_allclose(after[7], head_bias)


def test_it_makes_pruning_cost_less():
    """After it, the weakest channels hold a smaller share of the norm."""
    model = small_model()
    shares = []
    for callback in (None, callbacks.GroupSparsity(0.5, alpha=4)):
        if callback is not None:
            fit(model, callback, epochs=4)
        scores = np.sort(scores_of(model))
        shares.append(scores[:2].sum() / scores.sum())
    assert shares[1] < 0.7 * shares[0]


def scores_of(model):
    from tf_channel_prune import criteria
    from tf_channel_prune.api import channels_of

    channels = channels_of(model)
    return criteria.get("l2").score(channels)[channels.prunable[0].units]


def test_masks_hold():
    sparse = tcp.prune(small_model(), 0.4)
    fit(sparse, callbacks.GroupSparsity(0.1))
    assert tcp.sparsity(sparse, "flops") >= 0.4


@pytest.mark.parametrize(
    "given", [{"strength": 0}, {"grow": -1}, {"frequency": 0}]
)
def test_nonsense_is_refused(given):
    with pytest.raises(PruningError):
        callbacks.SlimmingL1(**given)
