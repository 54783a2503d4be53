"""Random numbers that come again, without a trace in the caller's own.

Checked on Keras 3.15.1 and TensorFlow 2.21.
"""

from __future__ import annotations

import contextlib
import random
import sys

import numpy as np

from tf_channel_prune.graph.arrays import to_numpy


@contextlib.contextmanager
def repeated(seed: int):
    """Within it, whatever draws random numbers draws the same ones again.

    Covers Python, NumPy, Keras, TensorFlow and PyTorch; afterwards all of
    them go on as if nothing had been drawn. Generators of a layer's own are
    the layer's variables.
    """
    with contextlib.ExitStack() as stack:
        python, state = random.getstate(), np.random.get_state()
        stack.callback(random.setstate, python)
        stack.callback(np.random.set_state, state)
        random.seed(seed)
        np.random.seed(seed)
        stack.enter_context(_keras(seed))
        if sys.modules.get("tensorflow") is not None:
            stack.enter_context(_tensorflow(seed))
        if sys.modules.get("torch") is not None:
            import torch

            stack.enter_context(torch.random.fork_rng())
            torch.manual_seed(seed)
        yield


@contextlib.contextmanager
def same_numbers(model, seed: int = 0):
    """Within it, whatever the model draws is the same for every such model.

    Its layers' own generators go on afterwards as if they had drawn nothing.
    """
    weights = {id(weight) for weight in model.weights}
    # Keras 3 keeps a generator's state in a variable that is no weight.
    states = [v for v in model.variables if id(v) not in weights]
    before = [np.array(to_numpy(state)) for state in states]
    try:
        for state, value in zip(states, before):
            state.assign(np.full_like(value, seed))
        with repeated(seed):
            yield
    finally:
        for state, value in zip(states, before):
            state.assign(value)


@contextlib.contextmanager
def _keras(seed):
    from keras.random import SeedGenerator
    from keras.src.backend.common import global_state

    name = "global_seed_generator"
    before = global_state.get_global_attribute(name)
    global_state.set_global_attribute(
        name, SeedGenerator(seed, name="repeated")
    )
    try:
        yield
    finally:
        global_state.set_global_attribute(name, before)


@contextlib.contextmanager
def _tensorflow(seed):
    import tensorflow as tf
    from tensorflow.python.eager import context

    # Only `tf.random.set_seed` makes operations forget what they drew.
    eager = context.context()
    # There is none before a seed was set for the first time.
    before, rng = eager._seed, getattr(eager, "_rng", None)
    tf.random.set_seed(seed)
    try:
        yield
    finally:
        tf.random.set_seed(0)
        eager._seed, eager._rng = before, rng
