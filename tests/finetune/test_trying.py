"""Data that do not fit are refused before anything long; others are not."""

import random

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import tf_channel_prune as tcp
from tf_channel_prune.errors import PruningError
from tf_channel_prune.finetune import check_batch
from tf_channel_prune.graph.arrays import to_numpy

RECIPE = tcp.Recipe(epochs=1, batch_size=8)


@pytest.fixture(scope="module", params=[keras, tf_keras])
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def model(kind):
    return net(kind)


def net(kind, loss=None):
    layers = kind.layers
    model = kind.Sequential(
        [
            layers.Input((6,)),
            layers.Dense(8, activation="relu"),
            layers.BatchNormalization(),
            layers.Dropout(0.3),
            layers.Dense(3),
        ]
    )
    entropy = kind.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss or entropy, metrics=["accuracy"])
    return model


X, Y = np.zeros((32, 6), "float32"), np.zeros(32, "int64")


def reader(*arrays):
    return tf.data.Dataset.from_tensor_slices(arrays)


def sequence(kind, batch):
    class One(getattr(kind.utils, "PyDataset", kind.utils.Sequence)):
        def __len__(self):
            return 1

        def __getitem__(self, index):
            return batch

    return One()


def state(model):
    python = random.getstate(), str(np.random.get_state())
    return python, [to_numpy(v).tolist() for v in model.variables]


GOOD = {
    "arrays": lambda kind: (X, Y),
    "weights": lambda kind: (X, Y, np.ones(32)),
    "None": lambda kind: (X, Y, None),
    "batches": lambda kind: [(X, Y), (X[:3], Y[:3])],
    "tf.data": lambda kind: reader(X, Y).batch(8),
    "weights in tf.data": lambda kind: reader(X, Y, np.ones(32)).batch(8),
    "sequence": lambda kind: sequence(kind, (X, Y)),
    "function": lambda kind: lambda epoch: reader(X, Y).batch(8),
}


@pytest.mark.parametrize("form", GOOD)
def test_data_that_fit_leave_no_trace(kind, model, form):
    before = state(model)
    check_batch(model, GOOD[form](kind), RECIPE)
    assert state(model) == before


NARROW = X[:, :5]
BAD = {
    "inputs": (lambda kind: (NARROW, Y), "shape"),
    "of batches": (lambda kind: [(NARROW, Y)], "shape"),
    "of tf.data": (lambda kind: reader(NARROW, Y).batch(8), "shape"),
    "of a sequence": (lambda kind: sequence(kind, (NARROW, Y)), "shape"),
    "of a function": (lambda kind: lambda epoch: (NARROW, Y), "shape"),
    "no batches": (lambda kind: reader(X, Y), "first batch"),
    "labels": (lambda kind: (X, Y + 9), "label value of 9"),
    "no targets": (lambda kind: X, "no targets"),
    "in tf.data": (lambda kind: reader(X).batch(8), "no targets"),
}


@pytest.mark.parametrize("form", BAD)
def test_data_that_do_not_fit_are_refused(kind, model, form):
    make, message = BAD[form]
    with pytest.raises(PruningError, match=message):
        check_batch(model, make(kind), RECIPE)


def test_a_teacher_needs_inputs_only(kind, model):
    check_batch(model, X, RECIPE, taught=True)
    check_batch(model, reader(X).batch(8), RECIPE, taught=True)
    for data in ((NARROW, Y), reader(NARROW, Y).batch(8)):
        with pytest.raises(PruningError, match="shape"):
            check_batch(model, data, RECIPE, taught=True)


def test_inputs_and_outputs_are_counted():
    x = [keras.Input((6,)), keras.Input((6,))]
    y = keras.layers.Dense(3)(keras.layers.Add()(x))
    model = keras.Model(x, [y, y * 2])
    model.compile("sgd", ["mse", "mse"])
    one, two = np.zeros((8, 3)), (np.zeros((8, 3)), np.zeros((8, 3)))
    check_batch(model, ((X[:8], X[:8]), two), RECIPE)
    for data in (((X[:8], X[:8]), one), (X[:8], two)):
        with pytest.raises(PruningError, match="first batch"):
            check_batch(model, data, RECIPE)


def test_a_run_is_refused_before_anything_long(tmp_path):
    with pytest.raises(PruningError, match="first batch of the data"):
        tcp.Pruner(net(keras), tmp_path).run(
            (NARROW, Y),
            lambda model: pytest.fail("evaluated"),
            ratio=0.5,
            recipes=RECIPE,
            progress=False,
        )
