"""Slim models of both Kerases become ONNX files."""

import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import tf_channel_prune as tcp
from tf_channel_prune import export
from tf_channel_prune.errors import VerificationError
from tf_channel_prune.graph.inputs import inputs_by_name

KINDS = pytest.mark.parametrize("kind", [keras, tf_keras])


def images(layers):
    x = layers.Input((16, 16, 3))
    y = layers.Normalization(mean=[0.1, 0.2, 0.3], variance=[1, 2, 3])(x)
    y = layers.Conv2D(16, 3, padding="same", use_bias=False)(y)
    y = layers.Conv2D(16, 3, groups=4)(y)
    y = layers.ReLU(6.0)(layers.BatchNormalization()(y))
    y = layers.DepthwiseConv2D(3, 2, padding="same")(y)
    y = layers.Conv2DTranspose(8, 3, 2, activation="gelu")(y)
    y = layers.GlobalAveragePooling2D()(layers.UpSampling2D()(y))
    return x, layers.Dense(4, activation="softmax")(y)


def words(layers):
    x = layers.Input((7,), dtype="int32")
    y = layers.Embedding(20, 8)(x)
    y = layers.Bidirectional(layers.LSTM(6, return_sequences=True))(y)
    return x, layers.Dense(3)(layers.GRU(5)(y))


def attention(layers):
    x = layers.Input((None, 8))
    y = x + layers.MultiHeadAttention(2, 4)(x, x)
    return x, layers.Dense(2)(layers.LayerNormalization()(y))


def two(layers):
    """Inputs and outputs without names, and not in the order of letters."""
    one, other = layers.Input((4,)), layers.Input((3,))
    y = layers.Concatenate()([layers.Dense(6)(one), other])
    return [other, one], [layers.Dense(2)(y), layers.Dense(1)(y)]


def by_name(layers):
    one, other = layers.Input((4,), name="a"), layers.Input((3,), name="b")
    y = layers.Concatenate()([layers.Dense(6)(one), other])
    outputs = {"zebra": layers.Dense(2)(y), "ant": layers.Dense(1)(y)}
    return {"b": other, "a": one}, outputs


def samples(model):
    rng = np.random.default_rng(0)
    arrays = {}
    for name, tensor in inputs_by_name(model).items():
        dtype = tf.as_dtype(tensor.dtype).as_numpy_dtype
        shape = 5, *(size or 9 for size in tensor.shape[1:])
        arrays[name] = rng.uniform(0, 9, shape).astype(dtype)
    return arrays


@KINDS
@pytest.mark.parametrize("net", [images, words, attention, two, by_name])
def test_the_same_outputs(kind, net, tmp_path):
    kind.utils.set_random_seed(1)
    model = kind.Model(*net(kind.layers))
    path = export.onnx(model, tmp_path / "model.onnx")
    arrays = samples(model)
    given = [*arrays.values()]
    if len(given) == 1:
        given = given[0]
    given = arrays if net is by_name else given
    expected = model.predict(given, verbose=0)
    for size in (None, 2):
        found = export.predict_onnx(path, arrays, size)
        tf.nest.map_structure(
            lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5),
            found,
            expected,
        )


def test_a_slim_model_and_a_chosen_opset(tmp_path):
    import onnx

    model = keras.Model(*images(keras.layers))
    slim = tcp.transform(tcp.prune(model, 0.5))
    path = export.onnx(slim, tmp_path / "slim.onnx", opset=13)
    assert onnx.load(path).opset_import[0].version == 13
    whole = export.onnx(model, tmp_path / "model.onnx")
    assert tf.io.gfile.stat(path).length < tf.io.gfile.stat(whole).length


def test_refusals(tmp_path, monkeypatch):
    model = keras.Model(*images(keras.layers))
    target = tmp_path / "model.onnx"
    with pytest.raises(tcp.PruningError, match=r"sparse.*transform"):
        export.onnx(tcp.prune(model, 0.5), target)
    with pytest.raises(tcp.PruningError, match="is a folder"):
        export.onnx(model, tmp_path)
    with pytest.raises(tcp.PruningError, match="cannot be read"):
        export.predict_onnx(target, np.zeros((1, 16, 16, 3)))
    target.write_bytes(b"nothing")
    with pytest.raises(tcp.PruningError, match="is no ONNX file"):
        export.predict_onnx(target, np.zeros((1, 16, 16, 3)))
    monkeypatch.setitem(sys.modules, "tf2onnx", None)
    with pytest.raises(tcp.PruningError, match=r"tf2onnx.*pip install"):
        export.onnx(model, target)
    assert target.read_bytes() == b"nothing"


def test_other_shapes_are_refused(tmp_path):
    model = keras.Model(*two(keras.layers))
    path = export.onnx(model, tmp_path / "model.onnx")
    x = np.zeros((2, 4), "float32")
    with pytest.raises(tcp.PruningError, match="several inputs"):
        export.predict_onnx(path, x)
    with pytest.raises(tcp.PruningError, match=r"shape \(4,\).*\(3,\)"):
        export.predict_onnx(path, dict.fromkeys(inputs_by_name(model), x))


def test_what_onnx_does_not_take_is_said(tmp_path):
    layers = tf_keras.layers
    x = layers.Input((4, 4))
    model = tf_keras.Model(x, tf.linalg.inv(layers.Dense(4)(x)))
    with pytest.raises(tcp.PruningError, match="ONNX does not take") as told:
        export.onnx(model, tmp_path / "inv.onnx")
    assert "\n" not in str(told.value)
    assert not list(tmp_path.iterdir())


def test_a_file_that_differs_is_not_written(tmp_path, monkeypatch):
    from tf_channel_prune.export import interchange as room

    monkeypatch.setattr(room, "TOLERANCE", -1.0)
    with pytest.raises(VerificationError, match="ONNX file's outputs"):
        export.onnx(keras.Model(*images(keras.layers)), tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())
