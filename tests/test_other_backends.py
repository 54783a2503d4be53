"""Keras' other backends: the zoo and short fits, again, on each."""

import importlib.util
import os
import pathlib
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).parent
BACKENDS = ("jax", "torch")
FILES = (
    "analysis/test_fast.py",
    "criteria/test_reconstruction.py",
    "export/test_onnx.py",
    "graph/test_recalibration.py",
    "masking/test_training.py",
    "masking/test_gradual.py",
    "models/test_traps.py",
    "models/test_zoo_activations.py",
    "models/test_zoo_implicit_masks.py",
    "models/test_zoo_opened.py",
    "models/test_zoo_ops.py",
    "models/test_zoo_structure.py",
    "models/test_zoo_subclassed.py",
    "graph/test_compiling.py",
    "graph/test_contributions.py",
    "graph/test_initial_values.py",
    "transform/test_memory.py",
)

WITHOUT_TENSORFLOW = """
import sys

for name in ("tensorflow", "tf_keras", "tensorflow_model_optimization"):
    sys.modules[name] = None  # importing it raises
import keras
import numpy as np
import tf_channel_prune as tcp

model = keras.Sequential(
    [
        keras.Input((8, 8, 3)),
        keras.layers.Conv2D(8, 3, name="a"),
        keras.layers.BatchNormalization(),
        keras.layers.ReLU(),
        keras.layers.GlobalAveragePooling2D(),
        keras.layers.Dense(2),
    ]
)
sparse = tcp.prune(model, ratio=0.5)
sparse.compile("sgd", "mse")
sparse.fit(np.ones((8, 8, 8, 3)), np.ones((8, 2)), verbose=0)
assert tcp.transform(sparse).get_layer("a").filters == 4
"""


def run_on(backend, *command):
    """Runs Python with Keras on another backend.

    XLA compiles each small operation; optimizing them takes most of the time.
    """
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    done = subprocess.run(
        [sys.executable, *command],
        env={
            **os.environ,
            "KERAS_BACKEND": backend,
            "XLA_FLAGS": "--xla_backend_optimization_level=0",
        },
        capture_output=True,
        text=True,
        timeout=1800,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]


@pytest.mark.slow
@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("backend", BACKENDS)
def test_again_on(backend, file):
    run_on(backend, "-m", "pytest", "-q", str(HERE / file))


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
def test_without_tensorflow_on(backend):
    run_on(backend, "-c", WITHOUT_TENSORFLOW)
