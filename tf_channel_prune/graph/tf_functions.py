"""Calls of `tf.*` functions in a tf_keras model, as operations."""

from __future__ import annotations

from tf_keras.src.layers.core.tf_op_layer import TFOpLambda

from tf_channel_prune.graph import tf_operands
from tf_channel_prune.graph import tf_ops

# What a rebuilt model computes anew from its own tensors; see `shape_axes`.
SHAPE = "tf.Shape"
_SHAPE_SYMBOLS = ("shape", "compat.v1.shape", "shape_v2")


class FunctionCall:
    """A call of a `tf.*` function that looks like an operation of Keras 3.

    Attributes:
        layer: The layer that tf_keras made of the call.
        kinds: What rules know it by.
        config: The configuration that an operation of Keras 3 would have.
        normal: Whether arguments are those of that operation, else they are
            the function's own.
    """

    trainable = True

    def __init__(self, layer, kinds, config, normal):
        self.layer = layer
        self.name = layer.name
        self.kinds = kinds
        self.config = config
        self.normal = normal

    def get_config(self):
        return {"name": self.name, **self.config}

    def remade(self, config):
        """A call of the same function in another model."""
        config = dict(config)
        name = config.pop("name")
        layer = type(self.layer)(self.layer.function, name=name)
        return FunctionCall(layer, self.kinds, config, self.normal)

    def __call__(self, *args, **kwargs):
        if self.normal:
            symbol = self.layer.symbol
            args, kwargs = tf_ops.restore(symbol, args, self.config)
        return self.layer(*args, **kwargs)


def read(call) -> tuple[FunctionCall, tuple, dict] | None:
    """A call of a function as `(operation, args, kwargs)`.

    None if the layer that is called is no function.
    """
    layer = call.operation
    if not isinstance(layer, TFOpLambda):
        return None
    args, kwargs = call.arguments.convert(tf_ops.plain)
    if layer.symbol in _SHAPE_SYMBOLS:
        config = {"axes": _axes_read(layer, call)}
        return FunctionCall(layer, (SHAPE,), config, False), args, kwargs
    args, kwargs = tf_operands.with_arrays(layer.function, args, kwargs)
    shapes = [tuple(t.shape) if t.shape.rank else () for t in call.outputs]
    normal = tf_ops.normalise(
        layer.symbol, layer.function, args, kwargs, shapes
    )
    own = f"tf.{layer.symbol or layer.function.__qualname__}"
    if normal is None:
        return FunctionCall(layer, (own,), {}, False), args, kwargs
    operation = FunctionCall(layer, (normal.kind, own), normal.config, True)
    return operation, normal.args, {}


def _axes_read(layer, call):
    """The axes whose sizes somebody takes out of a `tf.shape`."""
    rank = len(call.input_tensors[0].shape)
    axes = set()
    for node in layer._outbound_nodes:
        key = node.call_args[1] if len(node.call_args) > 1 else None
        if getattr(node.layer, "symbol", None) != "__operators__.getitem" or (
            not isinstance(key, int)
        ):
            return list(range(rank))
        axes.add(key % rank)
    return sorted(axes)
