"""LiteRT (TensorFlow Lite) files: float, float16 or int8."""

from __future__ import annotations

import os
import tempfile
import warnings

import numpy as np

from tf_channel_prune.errors import PruningError
from tf_channel_prune.export.conversion import check_slim
from tf_channel_prune.export.conversion import to_tf_keras
from tf_channel_prune.export.files import check_file
from tf_channel_prune.export.files import read_file
from tf_channel_prune.export.files import write_file
from tf_channel_prune.export.named import check_shape
from tf_channel_prune.export.named import in_batches
from tf_channel_prune.export.named import named_arrays
from tf_channel_prune.export.serving import check_outputs
from tf_channel_prune.export.serving import export
from tf_channel_prune.export.serving import of_tensorflow
from tf_channel_prune.graph.data import batches
from tf_channel_prune.graph.flavours import flavour
from tf_channel_prune.graph.inputs import by_input_name
from tf_channel_prune.graph.inputs import inputs_by_name
from tf_channel_prune.graph.inputs import random_inputs

WAYS = (None, "dynamic", "float16", "int8")
# Of float files; their kernels sum in another order.
TOLERANCE = {None: 1e-3, "float16": 3e-2}
# Behind the first four bytes of every file, by TensorFlow's schema.fbs.
_FILE_IDENTIFIER = b"TFL3"
# What tells a model that `quantize` made.
_AWARE = "QuantizeWrapper"


def litert(
    model,
    path,
    quantize: str | None = None,
    data=None,
    samples: int = 200,
    integer_io: bool = False,
) -> str:
    """Writes a LiteRT file.

    A float file's outputs are compared with the model's in the LiteRT
    interpreter. What quantization costs in accuracy only your data can tell:
    see `predict_litert`. A recurrent model's file takes one sample at a time;
    where you run it, call `reset_all_variables` between samples, since
    LiteRT's LSTM goes on from the state of the last one.

    Args:
        model: A slim model of either Keras, or one that `export.quantize`
            made and you trained.
        path: The file.
        quantize: `None` for float32; `"float16"` weights; `"dynamic"`: int8
            weights, float activations; `"int8"`: both. A model that
            `export.quantize` made is always int8. Defaults to None.
        data: For `"int8"`: typical inputs to measure activation ranges on, as
            arrays or batches, in the shapes that the model takes; not for a
            model that `export.quantize` made.
        samples: How many of them to use. Defaults to 200.
        integer_io: Whether an int8 file takes and gives int8 itself (of
            inputs that are integers already, it takes those). Defaults to
            False: float inputs and outputs.

    Returns:
        The file.

    Raises:
        PruningError: If the model holds masks, `data` is missing, empty or
            of other shapes, LiteRT does not take the model, or the file
            cannot be written.
        VerificationError: If a float file's outputs differ.
    """
    check_slim(model)
    check_file(path)
    aware = _is_aware(model)
    if quantize not in WAYS:
        raise PruningError(
            f"quantize={quantize!r}: expected one of "
            + ", ".join(map(repr, WAYS))
            + "."
        )
    if quantize == "int8" and data is None and not aware:
        raise PruningError(
            'quantize="int8" needs data=: some hundred typical inputs, to '
            "measure the range of every activation on."
        )
    if integer_io and quantize != "int8" and not aware:
        raise PruningError('integer_io=True goes with quantize="int8".')
    typical = None
    if quantize == "int8" and not aware:
        typical = _single_samples(model, data, samples)
    content = _content(
        of_tensorflow(model), quantize, typical, integer_io, aware
    )
    if not aware and quantize in TOLERANCE:
        _check(model, content, TOLERANCE[quantize])
    write_file(path, content)
    return os.fspath(path)


def _is_aware(model) -> bool:
    return any(type(v).__name__.startswith(_AWARE) for v in model.layers)


def _content(model, *options) -> bytes:
    """The file's content, for batches of any size where LiteRT can."""
    for write in (export, _export_for_one):
        try:
            with tempfile.TemporaryDirectory() as folder:
                write(model, folder)
                return _convert(folder, *options)
        except PruningError:
            raise
        except Exception as error:  # the converter may raise anything
            text = str(error).strip().splitlines() or [type(error).__name__]
            problem = PruningError(
                f"LiteRT does not take model {model.name!r}: {text[0][:300]}"
            )
            problem.__cause__ = error
    raise problem


def _export_for_one(model, folder) -> None:
    """A SavedModel for single samples.

    Loops of recurrent layers need that in LiteRT, and to be those of tf_keras:
    in others, variables are lost.
    """
    import tensorflow as tf

    model = to_tf_keras(model) if flavour(model) == "keras" else model
    one = [
        tf.TensorSpec((1, *tensor.shape[1:]), tensor.dtype, tensor.name)
        for tensor in model.inputs
    ]

    @tf.function(input_signature=one, autograph=False)
    def serve(*given):
        outputs = model(
            tf.nest.pack_sequence_as(model.input, given), training=False
        )
        if isinstance(outputs, dict):
            return outputs
        flat = tf.nest.flatten(outputs)
        return {f"output_{i}": tensor for i, tensor in enumerate(flat)}

    module = tf.Module()
    module.model = model
    concrete = serve.get_concrete_function()
    tf.saved_model.save(
        module, folder, signatures={"serving_default": concrete}
    )


def _convert(folder, quantize, typical, integer_io, aware):
    import tensorflow as tf

    # From a SavedModel always: from concrete functions, the converter writes
    # NaN in silence for Keras 3 models.
    converter = tf.lite.TFLiteConverter.from_saved_model(folder)
    if quantize is not None or aware:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if quantize == "float16" and not aware:
        converter.target_spec.supported_types = [tf.float16]
    if typical is not None:
        converter.representative_dataset = lambda: iter(typical)
        converter.target_spec.supported_ops = [
            tf.lite.OpsSet.TFLITE_BUILTINS_INT8
        ]
    if integer_io:
        converter.inference_input_type = tf.int8
        converter.inference_output_type = tf.int8
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # see `interpreter`
        return converter.convert()


def _single_samples(model, data, samples) -> list[dict[str, np.ndarray]]:
    """Samples to calibrate on, by the names of the model's inputs.

    LiteRT's calibration makes a float file of no samples, without a word, and
    may kill the process on a sample of another shape.
    """
    import tensorflow as tf

    tensors = inputs_by_name(model)
    singles = []
    for x, _ in batches(data, 32, samples):
        named = by_input_name(model, x)
        for name, value in named.items():
            check_shape(name, value.shape, tensors[name].shape)
            dtype = tf.as_dtype(tensors[name].dtype).as_numpy_dtype
            named[name] = value.astype(dtype)
        singles += [
            {name: value[row : row + 1] for name, value in named.items()}
            for row in range(len(next(iter(named.values()))))
        ]
    if not singles:
        raise PruningError(
            "The data to calibrate on are empty: give some hundred typical "
            "inputs, as arrays or as batches that were not read before, and "
            "samples=1 at least."
        )
    return singles


def _check(model, content, tolerance):
    inputs = random_inputs(model)
    found = _run(content, by_input_name(model, inputs), None)
    check_outputs("LiteRT file", model, inputs, found, tolerance)


def predict_litert(path, x, batch_size: int = 1):
    """The outputs of a LiteRT file, from the LiteRT interpreter.

    Args:
        path: The file.
        x: An array, or a dictionary of arrays by input name. Floats are
            quantized for a file that takes integers.
        batch_size: Defaults to 1, as on a device.

    Returns:
        An array, or a list or dictionary of arrays where the model has
        several outputs; integers of an integer file as the floats that they
        stand for.

    Raises:
        PruningError: If there is no LiteRT file, or it takes other inputs.
    """
    content = read_file(path)
    if content[4:8] != _FILE_IDENTIFIER:
        raise PruningError(f"{path} is no LiteRT file.")
    return _run(content, x, batch_size)


def _run(content, x, batch_size):
    file = interpreter(content)
    file.allocate_tensors()
    runner = file.get_signature_runner()
    takes = runner.get_input_details()
    gives = runner.get_output_details()
    arrays = named_arrays(x, {name: _shape(takes[name]) for name in takes})
    fixed = next(iter(takes.values()))["shape_signature"][0]

    def run(batch):
        # An LSTM goes on from the state that its last call left.
        file.reset_all_variables()
        made = runner(**{k: _to_file(v, takes[k]) for k, v in batch.items()})
        return {k: _from_file(v, gives[k]) for k, v in made.items()}

    return in_batches(run, arrays, int(fixed) if fixed > 0 else batch_size)


def _shape(details) -> list[int | None]:
    return [
        None if size < 0 else int(size) for size in details["shape_signature"]
    ]


def interpreter(content: bytes, threads: int | None = None):
    """The LiteRT interpreter of a file's content."""
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        from tensorflow.lite.python.interpreter import Interpreter
    with warnings.catch_warnings():
        # TensorFlow says that its interpreter moves to another package.
        warnings.simplefilter("ignore", UserWarning)
        return Interpreter(model_content=content, num_threads=threads)


def _to_file(array, details):
    dtype = details["dtype"]
    scale, zero = details["quantization"]
    if scale and np.issubdtype(dtype, np.integer):
        limits = np.iinfo(dtype)
        array = np.clip(np.round(array / scale) + zero, limits.min, limits.max)
    return array.astype(dtype)


def _from_file(array, details):
    scale, zero = details["quantization"]
    if scale and np.issubdtype(array.dtype, np.integer):
        return ((array.astype("float32") - zero) * scale).astype("float32")
    return array
