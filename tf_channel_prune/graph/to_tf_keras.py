"""Makes a tf_keras model of a Keras 3 model, with the same weights.

Files and configs do not carry over from one Keras to the other. This replays
the graph with the layers of the other Keras: same class, the arguments that
both have, weights copied by name. What has no counterpart as it is, is opened
into what it is made of.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable

import keras
import tensorflow as tf
import tf_keras
from tf_keras.src.layers.core.tf_op_layer import SlicingOpLambda
from tf_keras.src.layers.core.tf_op_layer import TFOpLambda
from tf_keras.src.layers.core.tf_op_layer import get_symbol_from_name

from tf_channel_prune.errors import PruningError
from tf_channel_prune.graph import read_keras
from tf_channel_prune.graph import read_tf_keras
from tf_channel_prune.graph import replay_tf_keras
from tf_channel_prune.graph import tf_keras_internals
from tf_channel_prune.graph.flavours import flavour
from tf_channel_prune.graph.tf_functions import FunctionCall
from tf_channel_prune.graph.tf_layers import preferring_layers
from tf_channel_prune.graph.tf_table import TABLE

# Which function to call for an operation; the first row of a kind has it.
_SYMBOLS = {row.kind: symbol for symbol, row in reversed(TABLE.items())}
_SYMBOLS["ops.Einsum"] = "einsum"

# Operations that tf_keras says with several functions, and activations that
# it lacks or, as `hard_sigmoid`, computes in another way.
_FORMULAS: dict[str, Callable] = {
    "hard_sigmoid": lambda x: tf.nn.relu6(x + 3.0) / 6.0,
    "hard_silu": lambda x: x * tf.nn.relu6(x + 3.0) / 6.0,
    "hard_swish": lambda x: x * tf.nn.relu6(x + 3.0) / 6.0,
    "relu6": lambda x: tf.nn.relu6(x),
    "log_sigmoid": lambda x: -tf.math.softplus(-x),
    "ops.HardSigmoid": lambda x: tf.nn.relu6(x + 3.0) / 6.0,
    "ops.HardSilu": lambda x: x * tf.nn.relu6(x + 3.0) / 6.0,
    "ops.LogSigmoid": lambda x: -tf.math.softplus(-x),
}

_SAME_ACTIVATIONS = {"silu": "swish"}

# Arguments by the name that tf_keras has for them.
_RENAMED = {("LeakyReLU", "negative_slope"): "alpha"}

_PLACEMENT = ("name", "trainable", "dtype")


def to_tf_keras(model, flat: bool = False):
    """The model as a tf_keras model with weights of its own, not compiled.

    Args:
        model: A model of either Keras.
        flat: Whether the layers of nested models become the model's own, and
            functions become layers where one does the same.

    Raises:
        PruningError: If a layer has no counterpart in tf_keras.
    """
    if flavour(model) == "tf_keras":
        graph = read_tf_keras.read(model, _carries_over)
        builder = replay_tf_keras.TfBuilder(graph, None, None, None)
    else:
        graph = read_keras.read(model, _carries_over)
        builder = _Builder(graph, None, None, None)
    builder.flat = flat
    return builder.build(builder.graph.root)


def _carries_over(kinds) -> bool:
    kind = kinds[0]
    return (
        kind in _SYMBOLS
        or kind in _FORMULAS
        or hasattr(tf_keras.layers, kind)
        or kind in ("Variable", "Constant")
    )


class _Builder(replay_tf_keras.TfBuilder):
    """Makes layers of tf_keras from a graph of Keras 3."""

    sequential = keras.Sequential

    def _inputs(self, block, inner, given):
        made = []
        for position, number in enumerate(block.inputs):
            tensor = self.graph.tensors[number]
            shape = tensor.shape if given is None else given[position].shape
            name = self._unique((), tensor.name) if given is None else None
            made.append(
                tf_keras.Input(batch_shape=shape, dtype=tensor.dtype, name=name)
            )
        return made

    def _made(self, node, config):
        if not node.is_layer:
            return self._operation(node, config)
        if node.kind == "Activation" and _activation(config) == "relu6":
            return tf_keras.layers.ReLU(6.0, name=self._name(node))
        if node.kind == "Activation" and _activation(config) in _FORMULAS:
            return _Formula(_FORMULAS[_activation(config)])
        cls = getattr(tf_keras.layers, node.kind, None)
        if cls is None:
            raise PruningError(_no_counterpart(node))
        config = _config(node, node.kind, config)
        config["name"] = self._name(node)
        try:
            return tf_keras_internals.from_config(cls, config)
        except Exception as error:  # arguments that only Keras 3 has
            raise PruningError(f"{_no_counterpart(node)} ({error})") from error

    def _operation(self, node, config):
        if node.kind in _FORMULAS:
            return _Formula(_FORMULAS[node.kind])
        symbol = _SYMBOLS.get(node.kind)
        if symbol is None:
            raise PruningError(_no_counterpart(node))
        name = self._name(node)
        kind = SlicingOpLambda if node.kind == "ops.GetItem" else TFOpLambda
        layer = kind(get_symbol_from_name(symbol), name=name)
        call = FunctionCall(layer, node.kinds, config, normal=True)
        parameters = inspect.signature(node.operation.call)

        def run(*args, **kwargs):
            bound = parameters.bind(*args, **kwargs)
            bound.apply_defaults()
            return call(*bound.args)

        if self.flat:
            return preferring_layers(node.kind, config, name, run)
        return run

    def _first_call(self, node, config, args, kwargs):
        new = self._made(node, config)
        outputs = new(*args, **kwargs)
        if isinstance(new, tf_keras.layers.Layer):
            self._fill(node, new)
            new.trainable = node.operation.trainable
        return new, outputs

    def _is_chain(self, block):
        return super()._is_chain(block) and all(
            isinstance(self.operations.get(id(step.operation)), _LAYER)
            for step in block.steps
            if hasattr(step, "operation")
        )


_LAYER = tf_keras.layers.Layer


class _Formula:
    """An activation layer as a few functions."""

    def __init__(self, function):
        self.function = function

    def __call__(self, inputs, training=None):
        return self.function(inputs)


def _no_counterpart(node) -> str:
    text = f"{node.name} ({node.kind}) has no counterpart in tf_keras"
    if node.closed_reason:
        text += f" and does not open: {node.closed_reason}"
    return (
        f"{text}: leave tfmot out for this model and take "
        'export.litert(model, path, "int8", data).'
    )


def _config(node, kind: str, config) -> dict:
    """The arguments of a layer that its counterpart has too.

    Args:
        node: The node, for errors.
        kind: The name of the layer's class; of a layer inside `node` too.
        config: Its arguments in Keras 3.
    """
    known = {*_PLACEMENT}
    for base in getattr(tf_keras.layers, kind).__mro__:
        if "__init__" in vars(base):
            known |= inspect.signature(base.__init__).parameters.keys()
    defaults = inspect.signature(getattr(keras.layers, kind)).parameters
    result = {}
    for key, value in config.items():
        mine = _RENAMED.get((kind, key), key)
        if key.endswith("_initializer") or key == "build_config":
            continue  # the weights are copied
        if mine in known:
            result[mine] = _value(node, key, value)
        elif key in defaults and value != defaults[key].default:
            raise PruningError(
                f"{_no_counterpart(node)} (its argument {key}={value!r})"
            )
    return result


def _value(node, key, value):
    if key == "dtype":
        return value["config"]["name"] if isinstance(value, dict) else value
    if key.endswith("activation"):
        return _known_activation(node, key, value)
    if key.endswith("layer") and isinstance(value, dict):
        name = value["class_name"]
        if not hasattr(tf_keras.layers, name):
            raise PruningError(f"{_no_counterpart(node)} (its {key} {name})")
        return {
            "class_name": name,
            "config": _config(node, name, value["config"]),
        }
    return value


def _known_activation(node, key, value):
    name = _activation({"activation": value})
    name = _SAME_ACTIVATIONS.get(name, name)
    if name in _FORMULAS or not hasattr(tf_keras.activations, name):
        raise PruningError(f"{_no_counterpart(node)} (its {key} is {name!r})")
    return name


def _activation(config) -> str:
    value = config["activation"]
    if isinstance(value, dict):
        inner = value.get("config")
        return inner if isinstance(inner, str) else str(value["class_name"])
    return value if isinstance(value, str) else "linear"
