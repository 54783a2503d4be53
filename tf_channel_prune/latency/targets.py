"""What models run on, and how long one sample takes there.

Where all work is in the calling thread, the clock is that thread's processor
time, so that waiting for other programs does not count.
"""

from __future__ import annotations

import functools
import importlib.metadata
import os
import platform
import re
import sys
import tempfile
import time
from collections.abc import Callable

import numpy as np

from tf_channel_prune.errors import PruningError
from tf_channel_prune.export.lite import interpreter
from tf_channel_prune.graph import flavours
from tf_channel_prune.graph.inputs import random_inputs
from tf_channel_prune.graph.structure import leaves
from tf_channel_prune.latency.timing import fastest
from tf_channel_prune.latency.timing import processor_clock
from tf_channel_prune.numbers import check_count
from tf_channel_prune.numbers import is_real

# Of one measurement; a whole model gets more.
SECONDS = 0.1
WHOLE_SECONDS = 2.0


def target_for(target, threads: int | None = None):
    """The target that a name or a function stands for.

    Args:
        target: `litert` (with XNNPACK), `tensorflow` (a `tf.function`), or a
            function that is given the path of a LiteRT file and returns the
            microseconds that one sample takes.
        threads: How many threads it may use; None for its own default.

    Raises:
        PruningError: If there is no such target.
    """
    if threads is not None:
        threads = check_count(threads, 1, "threads")
    if target == "litert":
        return LiteRT(threads)
    if target == "tensorflow":
        return TensorFlow(threads)
    if callable(target):
        return Function(target, threads)
    raise PruningError(
        f"target={target!r}: expected litert, tensorflow, or a function of "
        "the path of a LiteRT file that returns microseconds."
    )


class LiteRT:
    """The LiteRT interpreter on this machine, with its XNNPACK delegate."""

    name = "litert"

    def __init__(self, threads):
        self.threads = threads
        alone = threads in (None, 1)
        self.clock = processor_clock() if alone else time.perf_counter

    def versions(self) -> dict[str, str]:
        return _versions("tensorflow", "ai-edge-litert", "keras")

    def runner(self, model) -> Callable[[], None]:
        """A function that runs the model once."""
        made = interpreter(converted(model), self.threads)
        made.allocate_tensors()
        rng = np.random.default_rng(0)
        for details in made.get_input_details():
            array = rng.random(details["shape"]).astype(details["dtype"])
            made.set_tensor(details["index"], array)
        return made.invoke

    def time(self, model, seconds=SECONDS) -> float:
        """Microseconds of one sample."""
        return fastest([self.runner(model)], seconds, self.clock)[0]


class TensorFlow:
    """A `tf.function` of the model on this machine.

    TensorFlow's threads are set once for a process, before it first computes.
    """

    name = "tensorflow"
    clock = staticmethod(time.perf_counter)

    def __init__(self, threads):
        import tensorflow as tf

        self.threads = threads
        setting = tf.config.threading
        chosen = os.environ.get("TF_NUM_INTRAOP_THREADS", "")
        if threads in (None, setting.get_intra_op_parallelism_threads()) or (
            chosen == str(threads)
        ):
            return
        try:
            setting.set_intra_op_parallelism_threads(threads)
            setting.set_inter_op_parallelism_threads(1)
        except RuntimeError as error:
            raise PruningError(
                f"TensorFlow has begun to compute and cannot take threads="
                f"{threads} any more: set TF_NUM_INTRAOP_THREADS={threads} "
                "before Python starts, or give threads=None for what it has."
            ) from error

    def versions(self) -> dict[str, str]:
        return _versions("tensorflow", "keras")

    def runner(self, model) -> Callable[[], None]:
        """A function that runs the model once."""
        import tensorflow as tf

        function = concrete(model)
        given = [
            tf.constant(value)
            for value in leaves(random_inputs(model, batch=1))
        ]
        return lambda: function(*given)

    def time(self, model, seconds=SECONDS) -> float:
        """Microseconds of one sample."""
        return fastest([self.runner(model)], seconds, self.clock)[0]


class Function:
    """A function of the user's that measures LiteRT files somewhere."""

    def __init__(self, function, threads):
        self.name = _named(function)
        self.function = function
        self.threads = threads

    def versions(self) -> dict[str, str]:
        return _versions("tensorflow", "keras")

    def time(self, model, seconds=SECONDS) -> float:
        """Microseconds of one sample."""
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "model.tflite")
            with open(path, "wb") as file:
                file.write(converted(model))
            value = self._measured(path)
        if not is_real(value) or not 0 <= value < np.inf:
            raise PruningError(
                f"target {self.name} must return the microseconds of one "
                f"sample; it returned {value!r}."
            )
        return float(value)

    def _measured(self, path):
        try:
            return self.function(path)
        except PruningError:
            raise
        except (Exception, SystemExit) as error:  # the user's: anything
            raise PruningError(
                f"target {self.name} raised {type(error).__name__}: {error}"
            ) from error


def _named(function) -> str:
    """What tells a function from another of the same name, in any process.

    Its file, or its module where that has none, and its name in there.
    """
    while isinstance(function, functools.partial):
        function = function.func
    if not hasattr(function, "__qualname__"):
        function = type(function)  # an object that can be called
    file = getattr(sys.modules.get(function.__module__), "__file__", None)
    where = os.path.abspath(file) if file else function.__module__
    return f"{where}:{function.__qualname__}"


def this_machine() -> str:
    """The processor's name, or what Python calls it where none is known."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            found = re.search(r"^model name\s*:\s*(\S.*)$", file.read(), re.M)
    except (OSError, UnicodeDecodeError):
        found = None
    if found:
        return found[1].strip()
    return platform.processor() or platform.machine()


def concrete(model):
    """The model as a TensorFlow function of one sample."""
    import tensorflow as tf

    given = random_inputs(model, batch=1)
    specs = [
        tf.TensorSpec(np.shape(value), np.asarray(value).dtype)
        for value in leaves(given)
    ]

    def call(*values):
        packed = tf.nest.pack_sequence_as(given, values)
        return model(packed, training=False)

    return tf.function(call).get_concrete_function(*specs)


def converted(model) -> bytes:
    """The model as a LiteRT file for one sample, its weights constants."""
    import tensorflow as tf
    from tensorflow.python.framework import convert_to_constants

    if flavours.flavour(model) == "keras":
        _need_tensorflow()
    # With variables, the converter writes NaN in silence for Keras 3 models.
    frozen = convert_to_constants.convert_variables_to_constants_v2(
        concrete(model)
    )
    converter = tf.lite.TFLiteConverter.from_concrete_functions([frozen], model)
    return converter.convert()


def _need_tensorflow() -> None:
    import keras

    if keras.backend.backend() != "tensorflow":
        raise PruningError(
            "Latencies are measured on the TensorFlow backend of Keras: set "
            "KERAS_BACKEND=tensorflow before Keras is imported."
        )


def measure(
    model, target="litert", threads=None, seconds=WHOLE_SECONDS
) -> float:
    """The measured latency of a model in microseconds; see `target_for`."""
    return target_for(target, threads).time(model, seconds)


def in_turns(models, target="litert", threads=None, seconds=WHOLE_SECONDS):
    """Latencies of several models that are run in turns, in microseconds.

    What slows the machine down for a while slows all of them down.
    """
    place = target_for(target, threads)
    runners = [place.runner(model) for model in models]
    return fastest(runners, seconds, place.clock)


def _versions(*names) -> dict[str, str]:
    found = {}
    for name in names:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
