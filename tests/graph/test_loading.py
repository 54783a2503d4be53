"""Files are read by the Keras that can, and refused in one sentence."""

import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
import tf_keras

from tf_channel_prune.errors import PruningError
from tf_channel_prune.graph import loading
from tf_channel_prune.graph.loading import load_model


def small(kind, function=None):
    layers = kind.layers
    model = kind.Sequential([layers.Input((4,)), layers.Dense(3)])
    if function is not None:
        model.add(layers.Lambda(function))
    model.compile("adam", "mean_squared_error")
    return model


@pytest.mark.parametrize("kind", [keras, tf_keras])
@pytest.mark.parametrize("name", ["model.keras", "model.h5"])
def test_who_wrote_the_file_reads_it(tmp_path, kind, name):
    model = small(kind)
    model.save(tmp_path / name)
    loaded = load_model(tmp_path / name)
    assert isinstance(loaded, kind.Model)
    x = np.ones((2, 4), "float32")
    np.testing.assert_array_equal(loaded(x), model(x))


def test_saved_model_directory(tmp_path):
    model = small(tf_keras)
    tf_keras.models.save_model(model, tmp_path / "model", save_format="tf")
    assert isinstance(load_model(tmp_path / "model"), tf_keras.Model)


def test_other_keras_reads_what_the_writer_cannot(tmp_path):
    """Keras 2 writes `groups` for a depthwise layer; Keras 3 takes none."""
    import h5py

    layers = tf_keras.layers
    model = tf_keras.Sequential(
        [layers.Input((4, 4, 2)), layers.DepthwiseConv2D(3)]
    )
    model.save(tmp_path / "model.h5")
    with h5py.File(tmp_path / "model.h5", "r+") as file:
        file.attrs["keras_version"] = "3.0.0"
    assert isinstance(load_model(tmp_path / "model.h5"), tf_keras.Model)


@pytest.mark.parametrize("kind", [keras, tf_keras])
@pytest.mark.parametrize("name", ["model.keras", "model.h5"])
def test_python_code_is_refused_in_every_format(tmp_path, kind, name):
    model = small(kind, lambda x: x * 2)
    model.save(tmp_path / name)
    with pytest.raises(PruningError, match=r"Lambda layer.*safe_mode=False"):
        load_model(tmp_path / name)
    assert load_model(tmp_path / name, safe_mode=False) is not None


def write_text(folder):
    (folder / "model.h5").write_text("no model")
    return "model.h5"


def write_weights(folder):
    small(keras).save_weights(folder / "model.weights.h5")
    return "model.weights.h5"


def write_serving(folder):
    small(keras).export(folder / "serving", verbose=False)
    return "serving"


def write_unknown(kind, name):
    class Strange(kind.layers.Dense):
        pass

    def write(folder):
        kind.Sequential([kind.layers.Input((4,)), Strange(3)]).save(
            folder / name
        )
        return name

    return write


def write_half(folder):
    keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)]).save(
        folder / "half.h5"
    )
    whole = (folder / "half.h5").read_bytes()
    (folder / "half.h5").write_bytes(whole[: len(whole) // 2])
    return "half.h5"


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda folder: "none.h5", "There is no model file"),
        (write_text, "no model file: expected"),
        (write_weights, "weights without a model"),
        (write_half, r"half\.h5 cannot be read: .*truncated"),
        (lambda folder: ".", "directory without a model"),
        (write_serving, "SavedModel for serving"),
        (write_unknown(keras, "strange.keras"), "custom class 'Strange'"),
        (write_unknown(keras, "strange.h5"), "custom class 'Strange'"),
        (write_unknown(tf_keras, "strange.keras"), "custom class 'Strange'"),
        (write_unknown(tf_keras, "strange.h5"), "custom class 'Strange'"),
        (write_unknown(tf_keras, "strange"), "custom class 'Strange'"),
    ],
)
def test_refused_in_one_sentence(tmp_path, write, message):
    name = write(tmp_path)
    with pytest.raises(PruningError, match=message) as caught:
        load_model(os.path.join(tmp_path, name))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "name"),
    [(keras, "strange.keras"), (tf_keras, "strange.keras"), (tf_keras, "dir")],
)
def test_custom_objects(tmp_path, kind, name):
    class Strange(kind.layers.Dense):
        pass

    kind.Sequential([kind.layers.Input((4,)), Strange(3)]).save(tmp_path / name)
    loaded = load_model(tmp_path / name, custom_objects={"Strange": Strange})
    assert isinstance(loaded.layers[0], Strange)


def test_tf_keras_files_load_where_nobody_imported_tf_keras(tmp_path):
    """What is imported right after tf_keras needs the module that loads."""
    model = tf_keras.Sequential(
        [tf_keras.Input((3,)), tf_keras.layers.Dense(2)]
    )
    path = tmp_path / "model.keras"
    model.save(path)
    script = (
        "from tf_channel_prune.graph.loading import load_model; import sys; "
        "assert 'tf_keras' not in sys.modules; load_model(sys.argv[1])"
    )
    package = pathlib.Path(loading.__file__).parent.parent.parent
    done = subprocess.run(
        [sys.executable, "-c", script, path],
        env={**os.environ, "PYTHONPATH": str(package)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
