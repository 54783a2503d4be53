"""A schedule goes on where data do not tell how many steps an epoch has."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import tf_channel_prune as tcp
from tf_channel_prune import callbacks
from tf_channel_prune.errors import PruningError


def sparse_model(kind, **how):
    inputs = kind.Input((6, 6, 2))
    x = kind.layers.Conv2D(8, 3, name="one")(inputs)
    x = kind.layers.GlobalAveragePooling2D()(x)
    model = kind.Model(inputs, kind.layers.Dense(3)(x))
    sparse = tcp.make_sparse(model)
    sparse.compile(kind.optimizers.SGD(0.01, **how), "mse")
    return sparse


def fit(sparse, gradual, **options):
    """Eight batches an epoch, but the data do not tell."""

    def batches():
        rng = np.random.default_rng(0)
        for _ in range(8):
            yield rng.normal(size=(8, 6, 6, 2)), rng.normal(size=(8, 3))

    specs = tf.TensorSpec((8, 6, 6, 2)), tf.TensorSpec((8, 3))
    data = tf.data.Dataset.from_generator(batches, output_signature=specs)
    sparse.fit(data, verbose=0, callbacks=[gradual], **options)


CASES = {
    "keras": (keras, {}),
    "tf_keras": (tf_keras, {}),
    "accumulating": (keras, {"gradient_accumulation_steps": 3}),
}


@pytest.mark.parametrize("case", CASES)
def test_by_what_the_optimizer_counts(case):
    kind, how = CASES[case]
    sparse = sparse_model(kind, **how)
    never = callbacks.GradualPruning(lambda step: (False, 0.1))
    fit(sparse, never, epochs=2)
    gradual = callbacks.GradualPruning(callbacks.OneShot(0.4, begin=16))
    fit(sparse, gradual, epochs=3, initial_epoch=2)
    # TensorFlow counts the end of the data of every epoch, too.
    assert 24 <= gradual.step <= 24 + 3
    assert tcp.sparsity(sparse, "flops") >= 0.4


@pytest.mark.parametrize("kind", [keras, tf_keras])
def test_a_step_that_nobody_knows(kind):
    sparse = sparse_model(kind)
    gradual = callbacks.GradualPruning(callbacks.OneShot(0.4, begin=10))
    with pytest.raises(PruningError, match="Give fit steps_per_epoch="):
        fit(sparse, gradual, epochs=2, initial_epoch=1)
    gradual.step = 9
    fit(sparse, gradual, epochs=2, initial_epoch=1)
    assert gradual.step in (17, 18)
    assert tcp.sparsity(sparse, "flops") >= 0.4
