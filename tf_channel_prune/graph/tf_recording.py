"""Records `tf.*` functions that a Keras 3 layer calls, as operations of Keras.

Keras refuses its symbolic tensors to TensorFlow's functions, which then ask
the dispatchers that TensorFlow knows of. While a layer is opened, one of those
calls the operation of Keras that a function is (`tf_table`): so what is
recorded is what the layer would be had it been written with `keras.ops`.
Checked on TensorFlow 2.21 and Keras 3.15.1.
"""

from __future__ import annotations

import contextlib
import inspect

import keras
from keras import tree

from tf_channel_prune.graph import keras_internals

_SHAPES = ("shape", "compat.v1.shape", "shape_v2")


@contextlib.contextmanager
def recorded():
    """While open, `tf.*` functions take the symbolic tensors of Keras 3."""
    if keras_internals.backend() != "tensorflow":
        yield
        return
    import tensorflow as tf
    from tensorflow.python.util import dispatch

    dispatcher = _dispatcher()
    dispatchers = dispatch._GLOBAL_DISPATCHERS
    dispatchers.append(dispatcher)
    # TensorFlow's own tensors have it.
    keras.KerasTensor.get_shape = lambda self: tf.TensorShape(self.shape)
    try:
        yield
    except Exception as error:
        if dispatcher.refused is None:
            raise
        raise TypeError(
            f"keras.ops has no counterpart of tf.{dispatcher.refused} as it is "
            "called here"
        ) from error
    finally:
        del keras.KerasTensor.get_shape
        dispatchers.remove(dispatcher)


def _dispatcher():
    from tensorflow.python.util import dispatch

    class Dispatcher(dispatch.GlobalOpDispatcher):
        """Takes calls on symbolic tensors, where Keras has the operation.

        TensorFlow asks for the innermost function first, and for those around
        it where that one is refused.
        """

        refused = None

        def handle(self, op, args, kwargs):
            leaves = tree.flatten((args, kwargs))
            if not any(isinstance(v, keras.KerasTensor) for v in leaves):
                return self.NOT_SUPPORTED
            symbol = _symbol(op)
            result = _as_operation(symbol, op, args, kwargs)
            self.refused = symbol if result is None else None
            return self.NOT_SUPPORTED if result is None else result

    return Dispatcher()


def _symbol(function) -> str:
    """A function's public name without `tf.`."""
    from tensorflow.python.util.tf_export import get_canonical_name_for_symbol

    public = get_canonical_name_for_symbol(
        function, add_prefix_to_v1_names=True
    )
    return public or function.__qualname__


def _as_operation(symbol, function, args, kwargs):
    """The result of a call of a `tf.*` function; None if Keras has it not."""
    from tf_channel_prune.graph import tf_ops

    if symbol in _SHAPES:
        return keras.ops.shape(args[0] if args else kwargs["input"])
    args, kwargs = tree.map_structure(_constant, (args, kwargs))
    specs = keras_internals.specs_of(function, args, kwargs)
    args, kwargs = tree.map_structure(tf_ops.plain, (args, kwargs))
    normal = tf_ops.normalise(
        symbol, function, args, kwargs, [spec.shape for spec in specs]
    )
    if normal is None:
        return None
    result = _operation(normal.kind, normal.config)(*normal.args)
    results = tree.flatten(result)
    if [r.shape for r in results] != [spec.shape for spec in specs]:
        return None
    return tree.pack_sequence_as(
        result, [_cast(r, spec.dtype) for r, spec in zip(results, specs)]
    )


def _constant(value):
    """The value of a variable that does not train: Keras does not see it."""
    if keras_internals.is_unseen(value) and not value.trainable:
        return value.numpy()
    return value


def _operation(kind: str, config: dict):
    """What a row of the table is, in Keras 3.

    Settings that only the function has are at what the operation does.
    """
    name = kind.removeprefix("ops.")
    if name == kind:
        return getattr(keras.layers, name)(**config)
    cls = keras_internals.operation_class(name)
    known = inspect.signature(cls.__init__).parameters
    return cls(**{key: v for key, v in config.items() if key in known})


def _cast(tensor, dtype):
    """A result in the function's dtype: positions are int64 in TensorFlow."""
    if tensor.dtype == dtype:
        return tensor
    return keras.ops.cast(tensor, dtype)
