"""ONNX files, for onnxruntime, TensorRT, OpenVINO and others."""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile

import numpy as np

from tf_channel_prune.errors import PruningError
from tf_channel_prune.errors import what_it_says
from tf_channel_prune.export.conversion import check_slim
from tf_channel_prune.export.files import check_file
from tf_channel_prune.export.files import read_file
from tf_channel_prune.export.files import write_file
from tf_channel_prune.export.named import in_batches
from tf_channel_prune.export.named import named_arrays
from tf_channel_prune.export.serving import check_outputs
from tf_channel_prune.export.serving import export
from tf_channel_prune.export.serving import of_tensorflow
from tf_channel_prune.graph.inputs import by_input_name
from tf_channel_prune.graph.inputs import random_inputs

# Its kernels sum in another order.
TOLERANCE = 1e-3


def onnx(model, path, opset: int | None = None) -> str:
    """Writes an ONNX file, in floats, for batches of any size.

    Its outputs are compared with the model's in onnxruntime. Inputs have the
    names of the model's `Input`s.

    Args:
        model: A slim model of either Keras.
        path: The file.
        opset: The version of ONNX' operators. Defaults to that which tf2onnx
            prefers.

    Returns:
        The file.

    Raises:
        PruningError: If tf2onnx or onnxruntime is not installed, the model
            holds masks, ONNX does not take it, or the file cannot be written.
        VerificationError: If the outputs differ.
    """
    tf2onnx, runtime = _library("tf2onnx"), _library("onnxruntime")
    check_slim(model)
    check_file(path)
    try:
        with tempfile.TemporaryDirectory() as folder:
            # tf2onnx reads what TensorFlow runs, not what JAX wraps for it.
            export(of_tensorflow(model, ("tensorflow",)), folder)
            content = _convert(tf2onnx, folder, opset)
        session = _session(runtime, content)
    except PruningError:
        raise
    except Exception as error:  # Keras, tf2onnx and onnxruntime have their own
        raise PruningError(
            f"ONNX does not take model {model.name!r}: "
            f"{what_it_says(error)[:300]}"
        ) from error
    _compare(model, session)
    write_file(path, content)
    return os.fspath(path)


def predict_onnx(path, x, batch_size: int | None = None):
    """The outputs of an ONNX file, from onnxruntime.

    Args:
        path: The file.
        x: An array, or a dictionary of arrays by input name.
        batch_size: Defaults to all samples at once.

    Returns:
        An array, or a list or dictionary of arrays where the model has
        several outputs.

    Raises:
        PruningError: If onnxruntime is not installed, there is no ONNX file,
            or it takes other inputs.
    """
    runtime = _library("onnxruntime")
    content = read_file(path)
    try:
        session = _session(runtime, content)
    except Exception as error:  # onnxruntime has its own kinds
        raise PruningError(
            f"{path} is no ONNX file that onnxruntime reads: "
            f"{what_it_says(error)[:300]}"
        ) from error
    return _run(session, x, batch_size)


def _library(name: str):
    """A library that only ONNX needs.

    Raises:
        PruningError: If it is not installed, or not with what it needs.
    """
    try:
        return __import__(name)
    except ImportError as error:
        raise PruningError(
            f"ONNX files need {name}: pip install 'tf_channel_prune[onnx]'."
        ) from error
    except AttributeError as error:  # onnx and an older ml_dtypes
        raise PruningError(
            f"{name} cannot be imported: {error}. With TensorFlow before 2.19 "
            "it needs an older onnx: pip install 'onnx<1.19'."
        ) from error


def _convert(tf2onnx, folder, opset) -> bytes:
    """An ONNX file's content from a SavedModel, of whichever Keras."""
    with _quiet("tf2onnx", "tensorflow"):
        graph, takes, gives = _frozen(folder)
        made, _ = tf2onnx.convert.from_graph_def(
            graph,
            input_names=[*takes],
            output_names=[*gives],
            opset=opset,
            tensors_to_rename={**takes, **gives},
            custom_op_handlers={"Erfc": (_erfc, [])},
        )
    return made.SerializeToString()


def _frozen(folder):
    """A SavedModel as one graph without variables and functions.

    tf2onnx would do it as well, but takes constants that functions hold for
    inputs of the model.

    Returns:
        The `GraphDef`, and by the names of its tensors the names of the
        model's inputs and of its outputs.
    """
    import tensorflow as tf
    from tensorflow.python.framework import convert_to_constants

    _compile_nothing(os.path.join(folder, "saved_model.pb"))
    loaded = tf.saved_model.load(folder)  # holds the variables
    serve = loaded.signatures["serving_default"]
    specs = serve.structured_input_signature[1]

    @tf.function(
        input_signature=[
            tf.TensorSpec(spec.shape, spec.dtype, name)
            for name, spec in specs.items()
        ],
        autograph=False,
    )
    def flat(*arrays):
        return serve(**dict(zip(specs, arrays)))

    frozen = convert_to_constants.convert_variables_to_constants_v2(
        flat.get_concrete_function(),
        lower_control_flow=False,
        aggressive_inlining=True,
    )
    takes = dict(zip((t.name for t in frozen.inputs), specs))
    names = sorted(serve.structured_outputs)
    gives = dict(zip((t.name for t in frozen.outputs), names))
    return frozen.graph.as_graph_def(add_shapes=True), takes, gives


def _compile_nothing(path) -> None:
    """Has the functions in a SavedModel's file run without XLA.

    Keras compiles convolutions in groups, which then stay functions.
    """
    from tensorflow.core.protobuf import saved_model_pb2

    saved = saved_model_pb2.SavedModel()
    with open(path, "rb") as file:
        saved.ParseFromString(file.read())
    for graph in saved.meta_graphs:
        for function in graph.graph_def.library.function:
            for part in (function, *function.node_def):
                part.attr.pop("_XlaMustCompile", None)
    with open(path, "wb") as file:
        file.write(saved.SerializeToString())


def _erfc(graph, node, name, args) -> None:
    """`1 - erf(x)`, which GELU needs and tf2onnx has no operator for."""
    from tf2onnx import utils

    made = node.output[0]
    number = utils.map_onnx_to_numpy_type(graph.get_dtype(made))
    kind = {
        "dtypes": [graph.get_dtype(made)],
        "shapes": [graph.get_shape(made)],
    }
    erf = graph.make_node("Erf", node.input, name=f"{name}/erf", **kind)
    one = graph.make_const(f"{name}/one", np.ones((), number))
    graph.remove_node(name)
    inputs = [one.output[0], erf.output[0]]
    graph.make_node("Sub", inputs, outputs=[made], name=name, **kind)


@contextlib.contextmanager
def _quiet(*names):
    """Without what libraries log, also warnings and errors.

    What comes of those is seen where the file is loaded and compared.
    """
    logs = [logging.getLogger(name) for name in names]
    levels = [log.level for log in logs]
    try:
        for log in logs:
            log.setLevel(logging.CRITICAL)
        yield
    finally:
        for log, level in zip(logs, levels):
            log.setLevel(level)


def _session(runtime, content):
    options = runtime.SessionOptions()
    options.log_severity_level = 3  # errors, which are raised as well
    return runtime.InferenceSession(
        content, options, providers=["CPUExecutionProvider"]
    )


def _run(session, x, batch_size):
    shapes = {
        given.name: [
            size if isinstance(size, int) else None for size in given.shape
        ]
        for given in session.get_inputs()
    }
    names = [made.name for made in session.get_outputs()]

    def run(batch):
        return dict(zip(names, session.run(names, batch)))

    return in_batches(run, named_arrays(x, shapes), batch_size)


def _compare(model, session) -> None:
    inputs = random_inputs(model)
    found = _run(session, by_input_name(model, inputs), None)
    check_outputs("ONNX file", model, inputs, found, TOLERANCE)
