"""New variables start at their values, and never at another weight's."""

import keras
import numpy as np

from tf_channel_prune import graph as graphs


@keras.saving.register_keras_serializable("tests")
class TwoKernels(keras.layers.Layer):
    """Two weights of one shape that share an initializer."""

    def build(self, shape):
        self.kernel_initializer = keras.initializers.Ones()
        for name in ("other", "kernel"):
            weight = self.add_weight(
                shape=(4,), initializer=self.kernel_initializer, name=name
            )
            setattr(self, name, weight)

    def call(self, x):
        return x * self.kernel + self.other


def test_weights_of_one_shape_are_not_mixed_up():
    layer = TwoKernels()
    model = keras.Sequential([keras.Input((4,)), layer])
    layer.kernel.assign([1.0, 2, 3, 4])
    layer.other.assign([5.0, 6, 7, 8])
    copy = graphs.replay(graphs.read(model))
    made = copy.layers[0]
    np.testing.assert_array_equal(made.kernel, [1, 2, 3, 4])
    np.testing.assert_array_equal(made.other, [5, 6, 7, 8])


def test_the_copy_has_memory_of_its_own():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    before = model.get_weights()
    copy = graphs.replay(graphs.read(model))
    for weight in copy.weights:
        weight.assign_add(np.ones(weight.shape))
    for old, new in zip(before, model.get_weights()):
        np.testing.assert_array_equal(old, new)


def test_the_copy_keeps_its_initializers():
    dense = keras.layers.Dense(2, kernel_initializer="ones")
    model = keras.Sequential([keras.Input((3,)), dense])
    copy = graphs.replay(graphs.read(model))
    made = copy.layers[0]
    assert isinstance(made.kernel_initializer, keras.initializers.Ones)
    assert "add_weight" not in vars(made)
