"""Calls of `tf.*` functions that models of both Kerases are tested with."""

import numpy as np
import tensorflow as tf
import tf_keras

backend = tf_keras.backend


def attention(x, y):
    """Scores over positions, as written in TensorFlow."""
    flat = tf.reshape(x, (tf.shape(x)[0], 36, 8))
    other = tf.reshape(y, (-1, 36, 8))
    scores = tf.nn.softmax(tf.matmul(flat, other, transpose_b=True))
    return tf.reshape(tf.matmul(scores, other), (-1, 6, 6, 8))


def shuffle(x, y):
    parts = tf.reshape(x, (-1, 6, 6, 2, 4))
    return tf.reshape(tf.transpose(parts, (0, 1, 2, 4, 3)), (-1, 6, 6, 8))


# What is done to two tensors of shape (batch, 6, 6, 8) that convolutions make,
# and whether channels of them can go.
CASES = {
    "add": (lambda x, y: x + y, True),
    "add_n": (lambda x, y: tf.add_n([x, y, y]), True),
    "number first": (lambda x, y: 2.0 - x, True),
    "array": (lambda x, y: x * np.arange(1.0, 9.0, dtype="float32"), True),
    "bias_add": (lambda x, y: tf.nn.bias_add(x, np.ones(8, "float32")), True),
    "divide": (lambda x, y: x / 3.0, True),
    "power": (lambda x, y: x**2, True),
    "maximum": (lambda x, y: tf.maximum(x, y), True),
    "relu": (lambda x, y: tf.nn.relu(x), True),
    "relu6": (lambda x, y: tf.nn.relu6(x), True),
    "leaky": (lambda x, y: tf.nn.leaky_relu(x, 0.3), True),
    "gelu": (lambda x, y: tf.nn.gelu(x, approximate=True), True),
    "sigmoid": (lambda x, y: tf.sigmoid(x), True),
    "swish": (lambda x, y: tf.nn.swish(x), True),
    "softmax": (lambda x, y: tf.nn.softmax(x), False),
    "clip": (lambda x, y: tf.clip_by_value(x, -1.0, 0.5), True),
    "where": (lambda x, y: tf.where(x > 0, x, y), True),
    "cast": (lambda x, y: tf.cast(tf.cast(x, "float64"), "float32"), True),
    "stop": (lambda x, y: tf.stop_gradient(tf.identity(x)), True),
    "round": (lambda x, y: tf.round(x) + tf.zeros_like(y), True),
    "concat": (lambda x, y: tf.concat([x, y], -1), True),
    "stack": (lambda x, y: tf.stack([x, y], axis=3)[:, :, :, 1], True),
    "split": (lambda x, y: tf.split(x, 2, axis=-1)[1], True),
    "split sizes": (lambda x, y: tf.split(x, [2, 6], axis=-1)[1], True),
    "split, the rest": (
        lambda x, y: tf.split(x, [3, -1, 2], axis=-1)[1],
        True,
    ),
    "split rows": (lambda x, y: tf.split(x, [2, 4], axis=1)[1], True),
    "unstack": (lambda x, y: tf.unstack(x, axis=1)[2][:, None], True),
    "slice": (lambda x, y: x[:, ::2, 1:4, 2:], True),
    "ellipsis": (lambda x, y: x[..., :3], True),
    "new axis": (lambda x, y: x[:, tf.newaxis, 0], True),
    "gather": (lambda x, y: tf.gather(x, [0, 5, 6], axis=-1), True),
    "pad": (lambda x, y: tf.pad(x, [[0, 0], [1, 0], [0, 2], [0, 0]]), True),
    "pad channels": (
        lambda x, y: tf.pad(x, [[0, 0], [0, 0], [0, 0], [1, 3]]),
        True,
    ),
    "reflect": (
        lambda x, y: tf.pad(x, [[0, 0], [2, 2], [2, 2], [0, 0]], "REFLECT"),
        True,
    ),
    "tile": (lambda x, y: tf.tile(x, [1, 1, 2, 1]), True),
    "repeat": (lambda x, y: tf.repeat(x, 2, axis=-1), True),
    "reverse": (lambda x, y: tf.reverse(x, [-1, 1]), True),
    "roll": (lambda x, y: tf.roll(x, 1, axis=1), True),
    "transpose": (
        lambda x, y: tf.transpose(tf.transpose(x, (0, 3, 1, 2)), (0, 2, 3, 1)),
        True,
    ),
    "expand": (lambda x, y: tf.squeeze(tf.expand_dims(x, 1), 1), True),
    "broadcast": (
        lambda x, y: x + tf.broadcast_to(tf.constant([1.0]), (6, 8)),
        True,
    ),
    "shuffle": (shuffle, True),
    "batch size": (
        lambda x, y: tf.reshape(x, (tf.shape(x)[0], 36, 1, 8)),
        True,
    ),
    "width as number": (
        lambda x, y: x / tf.cast(tf.shape(x)[-1], "float32"),
        False,
    ),
    "attention": (attention, True),
    "einsum": (lambda x, y: tf.einsum("bhwc,bhwc->bhwc", x, y), True),
    "depth_to_space": (lambda x, y: tf.nn.depth_to_space(x, 2), True),
    "space_to_depth": (lambda x, y: tf.nn.space_to_depth(x, 2), True),
    "average": (lambda x, y: tf.nn.avg_pool2d(x, 2, 2, "SAME"), True),
    "patches": (
        lambda x, y: tf.image.extract_patches(
            x, [1, 2, 3, 1], [1, 2, 3, 1], [1, 1, 1, 1], "VALID"
        ),
        True,
    ),
    "argmin": (
        lambda x, y: x * tf.cast(tf.argmin(y, 1), "float32")[:, None],
        True,
    ),
    "largest": (lambda x, y: tf.nn.max_pool(x, 2, 1, "VALID"), True),
    "resize": (lambda x, y: tf.image.resize(x, (3, 9)), True),
    "resize as": (
        lambda x, y: tf.image.resize(x, tf.shape(y)[1:3], method="nearest"),
        True,
    ),
    "mean": (lambda x, y: tf.reduce_mean(x, [1, 2], keepdims=True), True),
    "moments": (
        lambda x, y: (
            x / tf.sqrt(tf.nn.moments(x, [1, 2], keepdims=True)[1] + 1)
        ),
        True,
    ),
    "sum of channels": (
        lambda x, y: tf.reduce_sum(x, -1, keepdims=True),
        True,
    ),
    "max of channels": (
        lambda x, y: tf.reduce_max(tf.nn.relu(x), -1, keepdims=True),
        False,
    ),
    "backend": (
        lambda x, y: backend.concatenate([backend.relu(x), y])[:, 1:],
        True,
    ),
    "hard_sigmoid": (lambda x, y: tf_keras.activations.hard_sigmoid(x), True),
    "tried": (lambda x, y: tf.math.bessel_i0e(x), True),
    "unknown": (lambda x, y: tf.sort(x), False),
}
