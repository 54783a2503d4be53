"""Gradients of a model's outputs, on whichever backend Keras runs."""

import keras
from keras import ops


def slopes(model, inputs):
    """The gradients of the mean squares of all outputs.

    Returns:
        `(path, array)` of each trainable variable that has one.
    """
    by_backend = {"tensorflow": _tensorflow, "jax": _jax, "torch": _torch}
    found = by_backend[keras.backend.backend()](model, inputs)
    return [
        (variable.path, ops.convert_to_numpy(slope))
        for variable, slope in zip(model.trainable_variables, found)
        if slope is not None
    ]


def _loss(outputs):
    return sum(
        ops.mean(ops.square(ops.cast(y, "float32")))
        for y in keras.tree.flatten(outputs)
    )


def _tensorflow(model, inputs):
    import tensorflow as tf

    with tf.GradientTape() as tape:
        loss = _loss(model(inputs, training=False))
    found = tape.gradient(loss, [v.value for v in model.trainable_variables])
    return [None if s is None else tf.convert_to_tensor(s) for s in found]


def _jax(model, inputs):
    import jax

    def loss(trainable):
        rest = [v.value for v in model.non_trainable_variables]
        outputs, _ = model.stateless_call(
            trainable, rest, inputs, training=False
        )
        return _loss(outputs)

    return jax.grad(loss)([v.value for v in model.trainable_variables])


def _torch(model, inputs):
    values = [v.value for v in model.trainable_variables]
    for value in values:
        value.grad = None
    _loss(model(inputs, training=False)).backward()
    return [value.grad for value in values]
