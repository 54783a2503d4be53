"""Slim models of both Kerases become SavedModels and LiteRT files."""

import re

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import tf_channel_prune as tcp
from tf_channel_prune import export
from tf_channel_prune.graph.inputs import inputs_by_name
from tf_channel_prune.transform import compare


def small(kind):
    layers = kind.layers
    kind.utils.set_random_seed(0)
    return kind.Sequential(
        [
            layers.Input((8, 8, 3)),
            layers.Conv2D(32, 3, use_bias=False),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.Conv2D(32, 3, activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(5, name="head"),
        ]
    )


def slim_of(kind):
    return tcp.transform(tcp.prune(small(kind), 0.5))


def data(count=16):
    rng = np.random.default_rng(0)
    return rng.normal(size=(count, 8, 8, 3)).astype("float32")


def two_inputs(kind):
    layers = kind.layers
    one = layers.Input((4,), name="zebra")
    two = layers.Input((3,), name="ant")
    x = layers.Concatenate()([layers.Dense(6)(one), two])
    return kind.Model([one, two], [layers.Dense(2)(x), layers.Dense(1)(x)])


KINDS = pytest.mark.parametrize("kind", [keras, tf_keras])


@KINDS
def test_saved_model(kind, tmp_path):
    slim = slim_of(kind)
    for _ in range(2):  # the second replaces the first
        export.saved_model(slim, tmp_path / "served")
    loaded = tf.saved_model.load(str(tmp_path / "served"))
    found = loaded.serve(data())
    np.testing.assert_allclose(found, slim(data()), atol=1e-5)
    assert [p.name for p in tmp_path.iterdir()] == ["served"]


@KINDS
@pytest.mark.parametrize(
    ("way", "share", "tolerance"),
    [
        (None, 1.0, 1e-5),
        ("float16", 0.8, 1e-2),
        ("dynamic", 0.8, 0.2),
        ("int8", 0.8, 0.2),
    ],
)
def test_litert(kind, way, share, tolerance, tmp_path):
    slim = slim_of(kind)
    whole = export.litert(slim, tmp_path / "float.tflite")
    path = export.litert(slim, tmp_path / "small.tflite", way, data())
    assert tf.io.gfile.stat(path).length <= share * (
        tf.io.gfile.stat(whole).length
    )
    expected = np.asarray(slim(data()))
    found = export.predict_litert(path, data())
    scale = np.abs(expected).max()
    assert np.abs(found - expected).max() <= tolerance * scale


def test_integer_inputs_and_outputs(tmp_path):
    slim = slim_of(tf_keras)
    path = export.litert(
        slim, tmp_path / "int8.tflite", "int8", data(), integer_io=True
    )
    details = tf.lite.Interpreter(path).get_input_details()
    assert details[0]["dtype"] == np.int8
    expected = np.asarray(slim(data()))
    found = export.predict_litert(path, data())
    assert np.abs(found - expected).max() <= 0.2 * np.abs(expected).max()


@KINDS
def test_recurrent(kind, tmp_path):
    layers = kind.layers
    words = layers.Input((7,), dtype="int32")
    x = layers.Embedding(20, 8)(words)
    x = layers.Bidirectional(layers.LSTM(6, return_sequences=True))(x)
    model = kind.Model(words, layers.Dense(3)(layers.GRU(5)(x)))
    path = export.litert(model, tmp_path / "words.tflite")
    some = np.arange(21).reshape(3, 7).astype("int32") % 20
    found = export.predict_litert(path, some)
    np.testing.assert_allclose(found, model(some), atol=1e-5)


def test_what_litert_does_not_take_is_said(tmp_path):
    layers = tf_keras.layers
    image = layers.Input((4, 4, 3))
    model = tf_keras.Model(image, tf.linalg.det(layers.Dense(4)(image)))
    with pytest.raises(tcp.PruningError, match="LiteRT does not take") as told:
        export.litert(model, tmp_path / "det.tflite")
    assert "\n" not in str(told.value)


@KINDS
def test_several_inputs_and_outputs(kind, tmp_path):
    model = two_inputs(kind)
    x = [np.ones((2, 4), "float32"), np.full((2, 3), 2, "float32")]
    path = export.litert(model, tmp_path / "two.tflite", "int8", (x,))
    with pytest.raises(tcp.PruningError, match="ant, zebra"):
        export.predict_litert(path, x)
    found = export.predict_litert(path, {"zebra": x[0], "ant": x[1]})
    for one, other in zip(found, model(x)):
        np.testing.assert_allclose(one, other, atol=0.1)


@KINDS
@pytest.mark.parametrize("way", [None, "int8"])
def test_inputs_without_names(kind, way, tmp_path):
    """Keras 3 numbers their tensors over the whole process."""
    layers = kind.layers
    one, two = layers.Input((4,)), layers.Input((3,))
    x = layers.Concatenate()([layers.Dense(6)(one), two])
    model = kind.Model([two, one], layers.Dense(2)(x))
    x = [np.full((2, 3), 2, "float32"), np.ones((2, 4), "float32")]
    path = export.litert(model, tmp_path / "two.tflite", way, (x,))
    named = dict(zip(inputs_by_name(model), x))
    found = export.predict_litert(path, named)
    np.testing.assert_allclose(found, model(x), atol=0.1 if way else 1e-5)
    served = export.saved_model(model, tmp_path / "served")
    signature = tf.saved_model.load(served).signatures["serving_default"]
    assert signature.structured_input_signature[1].keys() == named.keys()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m, p: export.litert(m, p, "int4"), "expected one of"),
        (lambda m, p: export.litert(m, p, "int8"), "needs data="),
        (
            lambda m, p: export.litert(m, p, integer_io=True),
            "goes with quantize",
        ),
        (lambda m, p: export.strip(m), "nothing to strip"),
        (
            lambda m, p: export.quantize(m, keep_float="nothing"),
            "no such layer",
        ),
    ],
)
def test_refused(call, message, tmp_path):
    with pytest.raises(tcp.PruningError, match=message):
        call(small(tf_keras), tmp_path / "model.tflite")
    assert not list(tmp_path.iterdir())


@KINDS
def test_sparse_models_are_refused(kind, tmp_path):
    sparse = tcp.prune(small(kind), 0.5)
    for write in (export.saved_model, export.litert):
        with pytest.raises(tcp.PruningError, match=r"sparse.*transform"):
            write(sparse, tmp_path / "model")
    with pytest.raises(tcp.PruningError, match=r"sparse.*transform"):
        export.quantize(sparse)
    assert not list(tmp_path.iterdir())


def test_a_failed_export_leaves_the_old_folder(tmp_path, monkeypatch):
    from tf_channel_prune.export import serving as room

    export.saved_model(small(tf_keras), tmp_path / "served")
    before = sorted(p.name for p in (tmp_path / "served").iterdir())
    monkeypatch.setattr(room, "TOLERANCE", -1.0)
    with pytest.raises(tcp.PruningError, match="outputs differ"):
        export.saved_model(small(tf_keras), tmp_path / "served")
    assert sorted(p.name for p in (tmp_path / "served").iterdir()) == before
    assert [p.name for p in tmp_path.iterdir()] == ["served"]


@pytest.mark.parametrize(
    "write", [export.saved_model, export.litert, export.onnx]
)
def test_a_full_disk_is_said(write, tmp_path):
    """No file may be larger than 1 kB for a while."""
    resource = pytest.importorskip("resource")
    slim = slim_of(keras)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(tcp.PruningError, match="cannot be exported"):
            write(slim, tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


@KINDS
def test_quantization_aware_training(kind, tmp_path):
    slim = slim_of(kind)
    before = slim.get_weights()
    aware = export.quantize(slim)
    assert isinstance(aware, tf_keras.Model)
    kernels = {w.shape: w.numpy() for w in aware.weights if "kernel" in w.name}
    for weight in slim.weights:
        if "kernel" in weight.name:
            np.testing.assert_array_equal(
                kernels[tuple(weight.shape)], np.asarray(weight)
            )
    aware.compile("adam", "mean_squared_error")
    targets = np.asarray(slim(data(64)))
    aware.fit(data(64), targets, epochs=20, verbose=0)
    path = export.litert(aware, tmp_path / "aware.tflite")
    found = export.predict_litert(path, data(64))
    expected = np.asarray(aware(data(64)))
    scale = np.abs(expected).max()
    assert np.abs(found - expected).max() < 0.2 * scale
    for old, new in zip(before, slim.get_weights()):
        np.testing.assert_array_equal(old, new)


def test_layers_that_tfmot_rejects_stay_in_float(caplog):
    layers = tf_keras.layers
    image = layers.Input((8, 8, 3))
    x = layers.Rescaling(1 / 255)(image)
    x = layers.Conv2D(8, 3, name="one")(x)
    y = layers.MaxPooling2D()(x)
    y = layers.BatchNormalization(name="alone")(y)
    y = layers.Conv2D(8, 3, name="two")(tf.nn.relu(y))
    y = layers.Conv1D(4, 1, name="odd")(layers.Reshape((1, 8))(y))
    inner = tf_keras.Sequential(
        [layers.Input((1, 4)), layers.Flatten(), layers.Dense(2, name="in")]
    )
    aware = export.quantize(tf_keras.Model(image, inner(y)), "two")
    names = {layer.name for layer in aware.layers}
    assert {"quant_one", "alone", "odd", "quant_in"} <= names
    assert "alone, two, odd" in caplog.text


def test_what_follows_a_function_is_int8(tmp_path):
    """A file with float kernels would be larger than its float twin."""
    layers = tf_keras.layers
    image = layers.Input((8, 8, 3))
    x = tf.nn.relu(layers.Conv2D(32, 3, padding="same")(image))
    x = tf.nn.relu(layers.Conv2D(32, 3, padding="same")(x) + x)
    x = layers.Dense(5)(tf.reduce_mean(x, axis=[1, 2]))
    aware = export.quantize(tf_keras.Model(image, x))
    aware.compile("adam", "mean_squared_error")
    aware.fit(data(64), np.zeros((64, 5)), epochs=2, verbose=0)
    path = export.litert(aware, tmp_path / "aware.tflite")
    kernels = {
        tuple(details["shape"]): details["dtype"]
        for details in tf.lite.Interpreter(path).get_tensor_details()
    }
    for shape in ((32, 3, 3, 3), (32, 3, 3, 32), (5, 32)):
        assert kernels[shape] == np.int8


def test_quantizes_around_a_layer_that_nobody_knows():
    class Doubled(tf_keras.layers.Layer):
        def call(self, x):
            return x + tf.cond(tf.reduce_sum(x) > 0, lambda: x, lambda: x)

    layers = tf_keras.layers
    image = layers.Input((8, 8, 3))
    x = Doubled(name="odd")(layers.Conv2D(8, 3, name="before")(image))
    x = layers.Conv2D(4, 3, name="after")(x)
    aware = export.quantize(tf_keras.Model(image, x))
    assert type(aware.get_layer("odd")) is Doubled
    names = {layer.name for layer in aware.layers}
    assert {"quant_before", "quant_after"} <= names


@KINDS
def test_fine_grained_sparsity(kind):
    import tensorflow_model_optimization as tfmot

    slim = slim_of(kind)
    schedule = tfmot.sparsity.keras.ConstantSparsity(0.75, 0, frequency=1)
    pruned = export.prune_low_magnitude(slim, schedule)
    assert compare(slim, pruned, data()).relative < 1e-5
    pruned.compile("sgd", "mean_squared_error")
    step = tfmot.sparsity.keras.UpdatePruningStep()
    pruned.fit(data(), np.zeros((16, 5)), epochs=2, verbose=0, callbacks=[step])
    plain = export.strip(pruned)
    kernel = plain.get_layer("head").kernel.numpy()
    assert (kernel == 0).mean() == pytest.approx(0.75, abs=0.05)
    assert compare(pruned, plain, data()).relative < 1e-5


@KINDS
def test_clustering(kind):
    slim = slim_of(kind)
    clustered = export.cluster(slim, 4)
    clustered.compile("sgd", "mean_squared_error")
    clustered.fit(data(), np.zeros((16, 5)), epochs=1, verbose=0)
    plain = export.strip(clustered)
    for layer in plain.layers:
        if hasattr(layer, "kernel"):
            assert np.unique(layer.kernel.numpy()).size <= 4


EMPTY = {
    "no rows": lambda: data()[:0],
    "no batches": lambda: [],
    "read before": lambda: exhausted(),
    "empty batches": lambda: iter([data()[:0]]),
}


def exhausted():
    iterator = iter([data()])
    list(iterator)
    return iterator


@KINDS
@pytest.mark.parametrize("row", EMPTY)
def test_empty_data_make_no_float_file(kind, row, tmp_path):
    with pytest.raises(tcp.PruningError, match="calibrate on are empty"):
        export.litert(small(kind), tmp_path / "m.tflite", "int8", EMPTY[row]())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("given", [data(), [data()]])
def test_no_samples_make_no_float_file(given, tmp_path):
    with pytest.raises(tcp.PruningError, match="calibrate on are empty"):
        export.litert(
            small(keras), tmp_path / "m.tflite", "int8", given, samples=0
        )


def test_data_are_read_once_where_the_model_is_converted_twice(
    tmp_path, monkeypatch
):
    from tf_channel_prune.export import lite

    convert, read = lite._convert, []

    def fails_at_first(folder, quantize, typical, *options):
        read.append(len(list(typical)))
        if len(read) == 1:
            raise ValueError("not for batches of any size")
        return convert(folder, quantize, typical, *options)

    monkeypatch.setattr(lite, "_convert", fails_at_first)
    path = export.litert(
        small(tf_keras), tmp_path / "m.tflite", "int8", iter([data()])
    )
    assert read == [16, 16]
    assert np.int8 in dtypes_in(path)


def dtypes_in(path):
    details = tf.lite.Interpreter(path).get_tensor_details()
    return {detail["dtype"] for detail in details}


@KINDS
@pytest.mark.parametrize("integer_io", [False, True])
def test_models_of_integers_become_int8(kind, integer_io, tmp_path):
    layers = kind.layers
    kind.utils.set_random_seed(0)
    words = layers.Input((7,), dtype="int32")
    x = layers.Conv1D(16, 3, activation="relu")(layers.Embedding(20, 8)(words))
    x = layers.Dense(3)(layers.GlobalAveragePooling1D()(x))
    model = kind.Model(words, x)
    some = np.random.default_rng(0).integers(0, 20, (64, 7))
    path = export.litert(
        model, tmp_path / "m.tflite", "int8", some, integer_io=integer_io
    )
    takes = tf.lite.Interpreter(path).get_input_details()
    assert takes[0]["dtype"] == np.int32
    assert np.int8 in dtypes_in(path)
    expected = np.asarray(model(some))
    found = export.predict_litert(path, some)
    assert np.abs(found - expected).max() <= 0.05 * np.abs(expected).max()


def open_sides(kind):
    layers = kind.layers
    image = layers.Input((None, None, 3))
    x = layers.Conv2D(8, 3, padding="same")(image)
    return kind.Model(image, layers.GlobalAveragePooling2D()(x))


@KINDS
@pytest.mark.parametrize("shape", [(2, 8, 3), (8, 8, 4), (8, 8), (8, 8, 3, 1)])
def test_samples_of_another_shape_are_refused(kind, shape, tmp_path):
    told = rf"{re.escape(str(shape))}, but it takes \(8, 8, 3\)"
    wrong = np.zeros((4, *shape), "float32")
    with pytest.raises(tcp.PruningError, match=told):
        export.litert(small(kind), tmp_path / "m.tflite", "int8", wrong)
    assert not list(tmp_path.iterdir())
    path = export.litert(small(kind), tmp_path / "m.tflite")
    with pytest.raises(tcp.PruningError, match=told):
        export.predict_litert(path, wrong)


@KINDS
def test_samples_of_any_size_where_the_model_takes_them(kind, tmp_path):
    model = open_sides(kind)
    path = export.litert(model, tmp_path / "m.tflite", "int8", data())
    assert np.int8 in dtypes_in(path)
    wrong = np.zeros((4, 8, 8, 4), "float32")
    with pytest.raises(tcp.PruningError, match=r"takes \(None, None, 3\)"):
        export.litert(model, tmp_path / "other.tflite", "int8", wrong)


def with_keys(kind):
    """A dictionary whose keys are not the names of the inputs, nor in order."""
    layers = kind.layers
    kind.utils.set_random_seed(0)
    one = layers.Input((4,), name="img")
    two = layers.Input((3,), name="meta")
    x = layers.Concatenate()([layers.Dense(6)(one), two])
    return kind.Model({"q": one, "p": two}, layers.Dense(2)(x))


@KINDS
@pytest.mark.filterwarnings("ignore:When providing `inputs` as a dict")
def test_inputs_by_keys_that_are_not_their_names(kind, tmp_path):
    model = with_keys(kind)
    rng = np.random.default_rng(0)
    x = {
        "q": rng.normal(size=(8, 4)).astype("float32"),
        "p": rng.normal(size=(8, 3)).astype("float32"),
    }
    named = {"img": x["q"], "meta": x["p"]}
    expected = np.asarray(model(x))
    path = export.litert(model, tmp_path / "float.tflite")
    found = export.predict_litert(path, named)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    for typical in (x, named, [x["p"], x["q"]]):
        path = export.litert(model, tmp_path / "int8.tflite", "int8", typical)
        found = export.predict_litert(path, named)
        assert np.abs(found - expected).max() <= 0.1 * np.abs(expected).max()
    export.saved_model(model, tmp_path / "served")
    with pytest.raises(tcp.PruningError, match="none is given for 'meta'"):
        export.litert(
            model, tmp_path / "m.tflite", "int8", {"img": named["img"]}
        )


@KINDS
@pytest.mark.parametrize("way", [None, "int8"])
def test_a_model_that_does_not_say_what_it_takes(kind, way, tmp_path):
    class Subclass(kind.Model):
        def call(self, x):
            return x * 2.0

    model = Subclass()
    model(data())
    with pytest.raises(tcp.PruningError, match="does not say what it takes"):
        export.litert(model, tmp_path / "m.tflite", way, data())


def test_a_file_takes_what_it_names(tmp_path):
    path = export.litert(two_inputs(keras), tmp_path / "two.tflite")
    one = np.zeros((1, 4), "float32")
    with pytest.raises(tcp.PruningError, match="takes ant, zebra; bee, zebra"):
        export.predict_litert(path, {"zebra": one, "bee": one})


def test_no_litert_file_is_said(tmp_path):
    with pytest.raises(tcp.PruningError, match=r"missing cannot be read"):
        export.predict_litert(tmp_path / "missing", data())
    (tmp_path / "text").write_text("no file of LiteRT")
    with pytest.raises(tcp.PruningError, match=r"text is no LiteRT file"):
        export.predict_litert(tmp_path / "text", data())


@KINDS
def test_files_beside_a_saved_model_are_not_lost(kind, tmp_path):
    served = tmp_path / "served"
    export.saved_model(small(kind), served)
    before = (served / "saved_model.pb").read_bytes()
    (served / "labels.txt").write_text("cat dog")
    with pytest.raises(tcp.PruningError, match=r"labels\.txt beside"):
        export.saved_model(small(kind), served)
    assert (served / "labels.txt").read_text() == "cat dog"
    assert (served / "saved_model.pb").read_bytes() == before
