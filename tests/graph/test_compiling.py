"""Functions compiled by the backend, on weights that change."""

import keras
import numpy as np
import pytest

from tf_channel_prune import graph as graphs
from tf_channel_prune.graph.compiling import compiled
from tf_channel_prune.graph.run import inputs
from tf_channel_prune.graph.run import run

X = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")


def _outputs(model):
    """A compiled function of the inputs, and a count of its plain runs."""
    graph = graphs.read(model)
    runs = []

    def function(values):
        runs.append(1)
        made = run(graph, dict(zip(graph.inputs, values)))
        return [made[number] for number in graph.outputs]

    call = compiled(graph, function)

    def outputs():
        given = inputs(graph, X)
        values = [given[number] for number in graph.inputs]
        return keras.ops.convert_to_numpy(call(values)[0])

    return outputs, runs


def test_weights_are_read_at_every_call():
    x = keras.Input((3,))
    model = keras.Model(x, keras.layers.Dense(2, name="dense")(x))
    outputs, runs = _outputs(model)
    kernel = model.get_layer("dense").kernel
    for factor in (1.0, 0.0, 3.0):
        kernel.assign(factor * np.ones((3, 2)))
        expected = np.repeat(factor * X.sum(1, keepdims=True), 2, axis=1)
        np.testing.assert_allclose(outputs(), expected, rtol=1e-5, atol=1e-6)
    if keras.backend.backend() != "torch":
        assert len(runs) == 1


class LooksAtValues(keras.layers.Layer):
    """Cannot be compiled: what it does depends on a number it reads."""

    def call(self, x):
        return x if np.asarray(x).sum() > 1e9 else 2 * x

    def compute_output_shape(self, shape):
        return shape


@pytest.mark.skipif(
    keras.backend.backend() != "jax", reason="the others say so by themselves"
)
def test_a_layer_that_looks_at_values_runs_as_it_is(caplog):
    x = keras.Input((3,))
    model = keras.Model(x, LooksAtValues()(x))
    outputs, runs = _outputs(model)
    for _ in range(3):
        np.testing.assert_allclose(outputs(), 2 * X)
    assert len(runs) == 4  # one that could not be compiled
    [record] = caplog.records
    assert "slower" in record.getMessage()
