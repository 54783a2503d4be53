"""Masks set in place, checked, counted and saved."""

import importlib
import subprocess
import sys

import keras
import numpy as np
import pytest

import tf_channel_prune as tcp
from tf_channel_prune.api import channels_of
from tf_channel_prune.errors import PruningError
from tf_channel_prune.masking import Masks
from tf_channel_prune.masking import make_sparse
from tf_channel_prune.masking import registration


@pytest.fixture
def dense():
    keras.utils.set_random_seed(1)
    image = keras.Input((6, 6, 2))
    x = keras.layers.Conv2D(8, 3, name="one")(image)
    x = keras.layers.BatchNormalization(name="norm")(x)
    x = keras.layers.Conv2D(4, 3, name="two")(x)
    x = keras.layers.Flatten()(x)
    return keras.Model(image, keras.layers.Dense(3, name="head")(x))


@pytest.fixture
def sparse(dense):
    """The upper half of the first layer's channels is masked."""
    channels = channels_of(dense)
    alive = np.ones(channels.unit_count, bool)
    alive[channels.prunable[0].units[4:]] = False
    return make_sparse(channels, alive)


def data():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(16, 6, 6, 2)).astype("float32")
    return x, rng.normal(size=(16, 3)).astype("float32")


def test_trial_restores_masks_and_weights(sparse):
    masks = Masks(sparse)
    group = masks.channels.prunable[1]
    before = [np.array(w) for w in sparse.weights]
    alive = masks.alive()
    trial = alive.copy()
    trial[group.units[:2]] = False
    with masks.trial(trial):
        np.testing.assert_array_equal(masks.alive(), trial)
        kernel = np.asarray(sparse.get_layer("two").layer.kernel)
        assert not kernel[..., :2].any() and kernel[:, :, :4, 2:].all()
    np.testing.assert_array_equal(masks.alive(), alive)
    for old, new in zip(before, sparse.weights):
        np.testing.assert_array_equal(old, np.asarray(new))


def test_trial_restores_when_something_goes_wrong(sparse):
    masks = Masks(sparse)
    before = [np.array(w) for w in sparse.weights]
    alive = masks.alive()
    alive[masks.channels.prunable[1].units[:2]] = False
    with pytest.raises(KeyError), masks.trial(alive):
        raise KeyError
    for old, new in zip(before, sparse.weights):
        np.testing.assert_array_equal(old, np.asarray(new))


def test_check_names_what_came_back(sparse):
    masks = Masks(sparse)
    masks.check()
    bias = sparse.get_layer("one").layer.bias
    bias.assign(np.r_[np.zeros(7), 0.25])
    with pytest.raises(PruningError, match=r"'one' are not zero: bias.*0\.25"):
        masks.check()
    masks.enforce()
    masks.check()


def test_sparsity_is_what_transform_removes(dense, sparse):
    slim = tcp.transform(sparse)
    for of in ("flops", "params"):
        before, after = (getattr(tcp.cost(m), of) for m in (dense, slim))
        assert tcp.sparsity(sparse, of) == pytest.approx(1 - after / before)
    assert tcp.sparsity(make_sparse(channels_of(dense))) == 0
    with pytest.raises(PruningError, match="holds no channel masks"):
        tcp.sparsity(dense)
    with pytest.raises(PruningError, match="of='size'"):
        tcp.sparsity(sparse, "size")


def test_callback_reports_sparsity(sparse, capsys):
    sparse.compile("adam", "mse")
    check = tcp.callbacks.MaskCheck(of="flops", verbose=1)
    history = sparse.fit(*data(), epochs=2, verbose=0, callbacks=[check])
    share = tcp.sparsity(sparse, "flops")
    assert history.history["sparsity"] == pytest.approx([share, share])
    assert f"Epoch 2: {share:.1%} of flops masked" in capsys.readouterr().out


def test_callback_serves_tf_keras():
    tf_keras = pytest.importorskip("tf_keras")
    layers = tf_keras.layers
    image = tf_keras.Input((6, 6, 2))
    x = layers.Flatten()(layers.Conv2D(8, 3, name="one")(image))
    model = tf_keras.Model(image, layers.Dense(3)(x))
    sparse = tcp.prune(model, ratio=0.5)
    sparse.compile("adam", "mse")
    check = tcp.callbacks.MaskCheck(of="flops")
    history = sparse.fit(*data(), verbose=0, callbacks=[check])
    assert history.history["sparsity"] == [pytest.approx(0.5)]


class Revive(keras.callbacks.Callback):
    """Writes a weight that is masked, as a careless callback would."""

    def on_epoch_end(self, epoch, logs=None):
        if epoch == 1:
            bias = self.model.get_layer("one").layer.bias
            bias.assign(np.ones(8))


def test_callback_notices_what_came_back(sparse):
    sparse.compile("adam", "mse")
    callbacks = [Revive(), tcp.callbacks.MaskCheck()]
    with pytest.raises(PruningError, match="'one' are not zero"):
        sparse.fit(*data(), epochs=3, verbose=0, callbacks=callbacks)


def test_callback_wants_a_sparse_model(dense):
    dense.compile("adam", "mse")
    with pytest.raises(PruningError, match="holds no channel masks"):
        dense.fit(*data(), verbose=0, callbacks=[tcp.callbacks.MaskCheck()])


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a_file_gives_the_same_sparse_model(sparse, tmp_path, suffix):
    sparse.compile("adam", keras.losses.MeanSquaredError())
    sparse.fit(*data(), verbose=0)
    path = tmp_path / f"sparse{suffix}"
    sparse.save(path)
    loaded = keras.models.load_model(path)
    assert loaded.count_params() == sparse.count_params()
    for old, new in zip(sparse.weights, loaded.weights):
        np.testing.assert_array_equal(np.asarray(old), np.asarray(new))
    x, y = data()
    np.testing.assert_array_equal(np.asarray(sparse(x)), np.asarray(loaded(x)))
    alive = Masks(sparse).alive()
    np.testing.assert_array_equal(Masks(loaded).alive(), alive)
    loaded.compile(keras.optimizers.Adam(0.1), "mse")
    loaded.fit(x, y, epochs=2, verbose=0)
    np.testing.assert_array_equal(Masks(loaded).alive(), alive)
    Masks(loaded).check()
    assert tcp.transform(loaded).get_layer("one").filters == 4


@pytest.mark.parametrize("suffix", [".weights.h5", "list"])
def test_weights_go_back_to_where_they_came_from(sparse, tmp_path, suffix):
    """Trap: masks among the weights shift the others to wrong places."""
    other = make_sparse(channels_of(sparse))
    for variable in other.trainable_variables:
        variable.assign(np.zeros(variable.shape))
    if suffix == "list":
        other.set_weights(sparse.get_weights())
    else:
        sparse.save_weights(tmp_path / f"one{suffix}")
        other.load_weights(tmp_path / f"one{suffix}")
    x, _ = data()
    np.testing.assert_array_equal(np.asarray(sparse(x)), np.asarray(other(x)))
    np.testing.assert_array_equal(Masks(sparse).alive(), Masks(other).alive())


def test_weights_of_the_dense_model_do_not_slip_in(dense, sparse, tmp_path):
    with pytest.raises(ValueError, match="expecting 20 weights"):
        sparse.set_weights(dense.get_weights())
    dense.save_weights(tmp_path / "dense.weights.h5")
    with pytest.raises(ValueError):
        sparse.load_weights(tmp_path / "dense.weights.h5")


def test_a_holder_is_imported_right_after_its_library(tmp_path, monkeypatch):
    (tmp_path / "some_library.py").write_text("value = 1")
    (tmp_path / "some_holder.py").write_text(
        "import some_library; some_library.value += 1"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    monkeypatch.setattr(
        registration, "HOLDERS", {"some_library": "some_holder"}
    )
    finders = len(sys.meta_path)
    registration.register_holders()
    # Looking for the library is not importing it.
    assert importlib.util.find_spec("some_library") is not None
    assert "some_holder" not in sys.modules
    assert importlib.import_module("some_library").value == 2
    assert len(sys.meta_path) == finders


def test_a_holder_is_imported_at_once_where_its_library_is(monkeypatch):
    monkeypatch.setattr(registration, "HOLDERS", {"json": "colorsys"})
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    registration.register_holders()
    assert "colorsys" in sys.modules


LOAD = """
import sys
import tf_channel_prune
assert "keras" not in sys.modules
import keras
keras.models.load_model(sys.argv[1])
"""


def test_importing_the_package_is_enough_to_load(sparse, tmp_path):
    path = tmp_path / "sparse.keras"
    sparse.save(path)
    subprocess.run([sys.executable, "-c", LOAD, path], check=True)
