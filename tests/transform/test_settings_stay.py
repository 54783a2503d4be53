"""What the user set on a model stays on the sparse and the slim one."""

import keras
import numpy as np
import pytest

import tf_channel_prune as tcp
from tf_channel_prune.errors import PruningError
from tf_channel_prune.errors import VerificationError
from tf_channel_prune.graph import outputs
from tf_channel_prune.transform import slim as slim_room


@pytest.fixture
def dense():
    """A model with a setting of every kind."""
    keras.utils.set_random_seed(1)
    image = keras.Input((6, 6, 2), name="image")
    x = keras.layers.Conv2D(
        8,
        3,
        name="one",
        kernel_regularizer=keras.regularizers.L2(0.01),
        kernel_constraint=keras.constraints.MaxNorm(0.5),
    )(image)
    x = keras.layers.BatchNormalization(name="norm", momentum=0.8)(x)
    x = keras.layers.Activation("relu", dtype="mixed_bfloat16", name="half")(x)
    inner = keras.Sequential(
        [
            keras.Input((4, 4, 8)),
            keras.layers.Conv2D(8, 3, name="two"),
            keras.layers.GlobalAveragePooling2D(name="pool"),
        ],
        name="inner",
    )
    x = keras.layers.Dropout(0.25, name="drop")(inner(x))
    x = keras.layers.Dense(8, name="hidden", dtype="float64")(x)
    model = keras.Model(image, keras.layers.Dense(3, name="head")(x), name="m")
    inner.get_layer("two").trainable = False
    model.get_layer("norm").trainable = False
    model.compile(
        keras.optimizers.Adam(0.003, weight_decay=0.01, clipnorm=1.0),
        loss=keras.losses.MeanSquaredError(),
        metrics=["mae"],
        loss_weights=[2.0],
        jit_compile=False,
    )
    return model


def sparse_and_slim(dense):
    sparse = tcp.prune(dense, ratio=0.5)
    return sparse, tcp.transform(sparse)


def inner(layer):
    return getattr(layer, "layer", layer)


def test_names_and_nesting(dense):
    for model in sparse_and_slim(dense):
        assert model.name == "m"
        assert [t.name for t in model.inputs] == ["image"]
        assert [n.name for n in model.layers] == [n.name for n in dense.layers]
        nested = model.get_layer("inner")
        assert isinstance(nested, keras.Sequential)
        assert [n.name for n in nested.layers] == ["two", "pool"]


def test_layers_settings(dense):
    for model in sparse_and_slim(dense):
        one = inner(model.get_layer("one"))
        assert one.kernel_regularizer.l2 == pytest.approx(0.01)
        assert one.kernel_constraint.max_value == 0.5
        assert inner(model.get_layer("norm")).momentum == 0.8
        assert model.get_layer("half").dtype_policy.name == "mixed_bfloat16"
        assert inner(model.get_layer("hidden")).kernel.dtype == "float64"
        assert model.get_layer("drop").rate == 0.25
        assert not inner(model.get_layer("norm")).trainable
        assert not inner(model.get_layer("inner").get_layer("two")).trainable
        trained = {v.path.split("/")[-2] for v in model.trainable_variables}
        assert trained == {"one", "hidden", "head"}
        x = np.ones((2, 6, 6, 2), "float32")
        model(x)
        kernel = np.asarray(one.kernel)
        [loss] = model.losses
        assert float(loss) == pytest.approx(0.01 * (kernel**2).sum(), rel=1e-5)


def test_the_compiled_state(dense):
    x = np.ones((4, 6, 6, 2), "float32")
    for model in sparse_and_slim(dense):
        assert model.optimizer is not dense.optimizer
        assert type(model.optimizer) is keras.optimizers.Adam
        before = dense.optimizer.get_config()
        assert model.optimizer.get_config() == before
        assert model.jit_compile is False
        logs = model.evaluate(x, np.zeros((4, 3)), verbose=0, return_dict=True)
        assert set(logs) == {"loss", "mae"}
        model.fit(x, np.zeros((4, 3)), verbose=0)


def test_weights_are_the_sparse_models_slices(dense):
    sparse, slim = sparse_and_slim(dense)
    kernel = np.asarray(inner(sparse.get_layer("one")).kernel)
    alive = kernel.any(axis=(0, 1, 2))
    assert not alive.all()
    np.testing.assert_array_equal(
        np.asarray(slim.get_layer("one").kernel), kernel[..., alive]
    )


def test_samples_are_compared_and_the_difference_printed(dense, capsys):
    sparse = tcp.prune(dense, ratio=0.3)
    samples = np.ones((5, 6, 6, 2), "float32")
    seen = []
    found = outputs._outputs

    def watched(model, inputs, call=None):
        seen.append((model.name, inputs))
        return found(model, inputs, call)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(outputs, "_outputs", watched)
        tcp.transform(sparse, samples)
    # The sparse model first, on everything; then the slim one.
    assert [inputs is samples for _, inputs in seen] == [0, 1, 0, 1]
    assert "largest output difference" in capsys.readouterr().out


def test_a_model_that_differs_is_not_returned(dense, monkeypatch):
    sparse = tcp.prune(dense, ratio=0.3)
    make_slim = slim_room.make_slim

    def wrong(*arguments):
        model = make_slim(*arguments)
        head = model.get_layer("head").bias
        head.assign(head + 0.1)
        return model

    monkeypatch.setattr(slim_room, "make_slim", wrong)
    with pytest.raises(VerificationError, match="differ is 'head'"):
        tcp.transform(sparse)


def test_a_dense_model_is_refused(dense):
    with pytest.raises(PruningError, match="prune it first"):
        tcp.transform(dense)
