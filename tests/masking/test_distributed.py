"""Masks on several devices, in a process with two logical CPUs."""

import os
import subprocess
import sys
import textwrap

import pytest

pytest.importorskip("tensorflow")

SCRIPT = """
    import keras
    import numpy as np
    import tensorflow as tf

    import tf_channel_prune as tcp
    from tf_channel_prune import callbacks
    from tf_channel_prune.masking import Masks

    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(
        cpu, [tf.config.LogicalDeviceConfiguration()] * 2
    )
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((6, 6, 2)),
            keras.layers.Conv2D(8, 3, name="one"),
            keras.layers.BatchNormalization(),
            keras.layers.Activation("sigmoid"),
            keras.layers.Conv2D(8, 3, name="two"),
            keras.layers.Flatten(),
            keras.layers.Dense(3, name="head"),
        ]
    )
    with strategy.scope():
        sparse = tcp.make_sparse(model)
        sparse.compile(
            keras.optimizers.SGD(0.05, momentum=0.9),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        )
    rng = np.random.default_rng(0)
    x = rng.normal(size=(32, 6, 6, 2)).astype("float32")
    schedule = callbacks.Polynomial(0.5, begin=2, end=6, frequency=2)
    sparse.fit(
        x,
        rng.integers(0, 3, 32),
        batch_size=8,
        epochs=3,
        verbose=0,
        callbacks=[callbacks.GradualPruning(schedule)],
    )
    masks = Masks(sparse)
    masks.check()
    assert tcp.sparsity(sparse, "flops") >= 0.5
    replicated = 0
    for variable in sparse.variables:
        values = [v.numpy() for v in variable.value.values]
        assert len(values) == 2
        if "moving_" not in variable.path:  # made equal when they are read
            np.testing.assert_array_equal(*values, variable.path)
        replicated += variable.path.endswith("_mask") and not values[0].all()
    assert replicated >= 4
    one = sparse.get_layer("one")
    for kernel in one.layer.kernel.value.values:
        dead = one.masks["kernel", 3].numpy() == 0
        assert dead.any() and not kernel.numpy()[..., dead].any()
        assert kernel.numpy()[..., ~dead].all()
    slim = tcp.transform(sparse)
    assert slim.count_params() < model.count_params()
    print("all equal")
"""


def test_masks_are_equal_on_all_replicas():
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(SCRIPT)],
        env={**os.environ, "KERAS_BACKEND": "tensorflow"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.endswith("all equal\n")
