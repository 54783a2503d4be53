"""Which `tf.*` function is which operation of Keras 3, and how arguments map.

Each row of `TABLE` says both ways at once. Checked against TensorFlow 2.21 and
Keras 3.15.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np


def _same(value, others):
    return value


@dataclasses.dataclass(frozen=True)
class Setting:
    """One value of a call, on both sides.

    Attributes:
        parameter: The function's parameter; empty where the function has
            none and `read` gives a constant.
        read: From `(the parameter's value, all parameters)` to the value that
            the operation has.
        write: The other way, from `(the operation's value, all of its
            configuration and its tensors)`.
    """

    parameter: str
    read: Callable[[Any, dict], Any] = _same
    write: Callable[[Any, dict], Any] = _same


@dataclasses.dataclass(frozen=True)
class Same:
    """A `tf.*` function that computes what an operation of Keras 3 does.

    A string stands for a `Setting` that holds the parameter as it is.

    Attributes:
        kind: The operation's kind.
        arguments: The operation's call arguments, in their order.
        config: The operation's configuration.
        also: Values of other parameters that mean what the default does.
    """

    kind: str
    arguments: tuple[Setting | str, ...]
    config: dict[str, Setting | str] = dataclasses.field(default_factory=dict)
    also: dict[str, tuple] = dataclasses.field(default_factory=dict)

    def call_settings(self) -> list[Setting]:
        return [
            Setting(entry) if isinstance(entry, str) else entry
            for entry in self.arguments
        ]

    def config_settings(self) -> dict[str, Setting]:
        return {
            name: Setting(entry) if isinstance(entry, str) else entry
            for name, entry in self.config.items()
        }


class _Unknown:
    """What a `read` gives for a call that no operation says."""


UNKNOWN = _Unknown()


def _numbers(value, call):
    """Sizes and axes as Python numbers, in whatever sequence they are."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    return value


def _target_shape(value, call):
    """A reshape's target; a size that is a tensor follows from the rest.

    `tf.reshape(x, (tf.shape(x)[0], 64))` says what `(-1, 64)` says.
    """
    value = _numbers(value, call)
    if isinstance(value, int):
        return (value,)
    if isinstance(value, (list, tuple)) and all(
        isinstance(size, int) for size in value
    ):
        return value
    known = call["shapes"][0]
    if list(known).count(None) > 1:
        return UNKNOWN
    return tuple(-1 if size is None else size for size in known)


def _known_size(value, call):
    """The height and width of a resized image."""
    size = tuple(call["shapes"][0][1:3])
    return UNKNOWN if None in size else size


def _axis_or_last(value, call):
    return -1 if value is None else value


def _split_places(value, call):
    """TensorFlow counts sizes, Keras 3 the places where the parts begin."""
    value = _numbers(value, call)
    if isinstance(value, int):
        return value
    if not isinstance(value, (list, tuple)) or not all(
        isinstance(size, int) and size >= -1 for size in value
    ):
        return UNKNOWN
    made = [shape[call["axis"]] for shape in call["shapes"]]
    # One size may be -1: what the others leave.
    sizes = [made[n] if size == -1 else size for n, size in enumerate(value)]
    if None in sizes:
        return UNKNOWN
    return np.cumsum(sizes)[:-1].tolist()


def _split_sizes(places, call):
    if isinstance(places, int):
        return places
    total = call["tensors"][0].shape[call["axis"]]
    return np.diff([0, *places, total]).tolist()


def _channels_last(value, call):
    return "channels_last" if value in (None, "NHWC") else "channels_first"


def _nhwc(value, call):
    return "NHWC" if value in (None, "channels_last") else "NCHW"


def _window(value, call):
    """A pooling window over height and width."""
    value = _numbers(value, call)
    if isinstance(value, int):
        return (value, value)
    value = tuple(value)
    if len(value) == 1:
        return value * 2
    if len(value) == 4:
        return value[1:3]
    return value


def _over_image(value, call):
    """A window over height and width, with the batch and channels around."""
    pair = (value, value) if isinstance(value, int) else tuple(value)
    return [1, *pair, 1]


def _dilation(value, call):
    pair = _window(value, call)
    return pair[0] if pair[0] == pair[1] else UNKNOWN


def _lower(value, call):
    return value.lower() if isinstance(value, str) else UNKNOWN


def _upper(value, call):
    return value.upper()


def _only(*allowed):
    def read(value, call):
        return value if value in allowed else UNKNOWN

    return read


def _always(constant):
    """An entry that the function has no parameter for."""
    return Setting("", lambda value, call: constant)


def _one_or_more(value, call):
    """`tf.reverse` takes a list of axes; `flip` does from Keras 3.14 on."""
    axes = tuple(np.atleast_1d(_numbers(value, call)).tolist())
    return axes[0] if len(axes) == 1 else axes


def _squeezed(value, call):
    value = _numbers(value, call)
    if isinstance(value, (list, tuple)) and len(value) == 1:
        return value[0]
    return value


def _one_number(value, call):
    """A bound that is the same for all elements."""
    is_list = isinstance(value, (list, tuple, np.ndarray))
    return UNKNOWN if is_list and np.ndim(value) else value


def _no_zero(value, call):
    """Keras 3 says None for padding with zeros."""
    return None if isinstance(value, (int, float)) and value == 0 else value


def _as_slices(key, call):
    """Slices, which tf_keras keeps as dictionaries."""
    if isinstance(key, dict):
        return slice(key["start"], key["stop"], key["step"])
    if isinstance(key, (list, tuple)):
        return tuple(_as_slices(part, call) for part in key)
    return key


def _as_dictionaries(key, call):
    if isinstance(key, slice):
        return {"start": key.start, "stop": key.stop, "step": key.step}
    if isinstance(key, (list, tuple)):
        return tuple(_as_dictionaries(part, call) for part in key)
    return key


def _unary(*symbols_and_kinds):
    """Rows of functions of one tensor, `symbol: Kind`."""
    rows = {}
    for text in symbols_and_kinds:
        symbol, parameter, kind = text.split()
        rows[symbol] = Same(f"ops.{kind}", (parameter,))
    return rows


def _binary(*symbols_and_kinds):
    rows = {}
    for text in symbols_and_kinds:
        symbol, kind = text.split()
        rows[symbol] = Same(f"ops.{kind}", ("x", "y"))
    return rows


def _reduction(*symbols_and_kinds):
    rows = {}
    for text in symbols_and_kinds:
        symbol, kind = text.split()
        rows[symbol] = Same(
            f"ops.{kind}",
            ("input_tensor",),
            {"axis": Setting("axis", _numbers), "keepdims": "keepdims"},
        )
    return rows


_POOLING = {
    "pool_size": Setting("ksize", _window),
    "strides": Setting("strides", _window),
    "padding": Setting("padding", _lower, _upper),
    "data_format": Setting("data_format", _channels_last, _nhwc),
}
_BLOCK = {
    "block_size": "block_size",
    "data_format": Setting("data_format", _channels_last, _nhwc),
}
_TRANSPOSE = Same(
    "ops.Transpose",
    ("a",),
    {"axes": Setting("perm", _numbers)},
)
_GATHER = Same(
    "ops.Take",
    ("params", "indices"),
    {"axis": Setting("axis", lambda value, call: value or 0)},
    {"batch_dims": (0,)},
)
_PAD = Same(
    "ops.Pad",
    (
        "tensor",
        Setting("constant_values", _no_zero, lambda v, call: v or 0),
    ),
    {
        "pad_width": Setting("paddings", _numbers),
        "mode": Setting("mode", _lower, _upper),
    },
)
_SQUEEZE = Same("ops.Squeeze", ("input",), {"axis": Setting("axis", _squeezed)})

TABLE: dict[str, Same] = {
    **_unary(
        "nn.relu features Relu",
        "nn.relu6 features Relu6",
        "nn.elu features Elu",
        "nn.selu features Selu",
        "nn.silu features Silu",
        "nn.softsign features Softsign",
        "math.softplus features Softplus",
        "math.sigmoid x Sigmoid",
        "math.tanh x Tanh",
        "math.negative x Negative",
        "math.abs x Absolute",
        "math.exp x Exp",
        "math.log x Log",
        "math.log1p x Log1p",
        "math.sqrt x Sqrt",
        "math.rsqrt x Rsqrt",
        "math.square x Square",
        "math.sign x Sign",
        "math.floor x Floor",
        "math.ceil x Ceil",
        "math.erf x Erf",
        "math.sin x Sin",
        "math.cos x Cos",
        "math.reciprocal x Reciprocal",
        "math.logical_not x LogicalNot",
        "math.is_nan x Isnan",
        "identity input Copy",
        "stop_gradient input StopGradient",
    ),
    **_binary(
        "__operators__.add Add",
        "math.add Add",
        "math.subtract Subtract",
        "math.multiply Multiply",
        "math.truediv TrueDivide",
        "math.divide TrueDivide",
        "math.divide_no_nan DivideNoNan",
        "math.pow Power",
        "math.floormod Mod",
        "compat.v1.floor_div FloorDivide",
        "math.floordiv FloorDivide",
        "math.maximum Maximum",
        "math.minimum Minimum",
        "math.less Less",
        "math.less_equal LessEqual",
        "math.greater Greater",
        "math.greater_equal GreaterEqual",
        "math.equal Equal",
        "math.not_equal NotEqual",
        "math.logical_and LogicalAnd",
        "math.logical_or LogicalOr",
        "math.logical_xor LogicalXor",
    ),
    **_reduction(
        "math.reduce_mean Mean",
        "math.reduce_sum Sum",
        "math.reduce_max Max",
        "math.reduce_min Min",
        "math.reduce_prod Prod",
        "math.reduce_std Std",
        "math.reduce_variance Var",
        "math.reduce_logsumexp Logsumexp",
        "math.reduce_all All",
        "math.reduce_any Any",
    ),
    "nn.moments": Same(
        "ops.Moments",
        ("x",),
        {"axes": Setting("axes", _numbers), "keepdims": "keepdims"},
        {"shift": (None,)},
    ),
    "math.add_n": Same("Add", ("inputs",)),
    "nn.bias_add": Same(
        "ops.Add",
        ("value", "bias"),
        {"data_format": Setting("data_format", _only(None, "NHWC"))},
    ),
    "math.l2_normalize": Same(
        "ops.Normalize",
        ("x",),
        {
            "axis": Setting("axis", _numbers),
            "order": _always(2),
            "epsilon": "epsilon",
        },
    ),
    "keras.backend.batch_flatten": Same("Flatten", ("x",)),
    "tensordot": Same("ops.Tensordot", ("a", "b"), {"axes": "axes"}),
    "convert_to_tensor": Same(
        "ops.ConvertToTensor", ("value",), {"dtype": "dtype"}
    ),
    "nn.gelu": Same("ops.Gelu", ("features",), {"approximate": "approximate"}),
    "nn.leaky_relu": Same(
        "ops.LeakyRelu", ("features",), {"negative_slope": "alpha"}
    ),
    "nn.softmax": Same(
        "ops.Softmax", ("logits",), {"axis": Setting("axis", _axis_or_last)}
    ),
    "nn.log_softmax": Same(
        "ops.LogSoftmax", ("logits",), {"axis": Setting("axis", _axis_or_last)}
    ),
    "clip_by_value": Same(
        "ops.Clip",
        ("t",),
        {
            "x_min": Setting("clip_value_min", _one_number),
            "x_max": Setting("clip_value_max", _one_number),
        },
    ),
    "math.round": Same("ops.Round", ("x",), {"decimals": _always(0)}),
    "math.argmax": Same(
        "ops.Argmax", ("input",), {"axis": "axis", "keepdims": _always(False)}
    ),
    "math.argmin": Same(
        "ops.Argmin", ("input",), {"axis": "axis", "keepdims": _always(False)}
    ),
    "math.cumsum": Same(
        "ops.Cumsum", ("x",), {"axis": "axis", "dtype": _always(None)}
    ),
    "where": Same("ops.Where", ("condition", "x", "y")),
    "cast": Same("ops.Cast", ("x",), {"dtype": "dtype"}),
    "zeros_like": Same("ops.ZerosLike", ("input",), {"dtype": "dtype"}),
    "ones_like": Same("ops.OnesLike", ("input",), {"dtype": "dtype"}),
    "linalg.matmul": Same("ops.Matmul", ("a", "b")),
    "reshape": Same(
        "ops.Reshape",
        ("tensor",),
        {"newshape": Setting("shape", _target_shape)},
    ),
    "transpose": _TRANSPOSE,
    "compat.v1.transpose": _TRANSPOSE,
    "concat": Same("ops.Concatenate", ("values",), {"axis": "axis"}),
    "stack": Same("ops.Stack", ("values",), {"axis": "axis"}),
    "unstack": Same("ops.Unstack", ("value",), {"num": "num", "axis": "axis"}),
    "split": Same(
        "ops.Split",
        ("value",),
        {
            "indices_or_sections": Setting(
                "num_or_size_splits", _split_places, _split_sizes
            ),
            "axis": "axis",
        },
    ),
    "squeeze": _SQUEEZE,
    "compat.v1.squeeze": _SQUEEZE,
    "expand_dims": Same("ops.ExpandDims", ("input",), {"axis": "axis"}),
    "tile": Same(
        "ops.Tile", ("input",), {"repeats": Setting("multiples", _numbers)}
    ),
    "repeat": Same(
        "ops.Repeat",
        ("input",),
        {"repeats": Setting("repeats", _numbers), "axis": "axis"},
    ),
    "broadcast_to": Same(
        "ops.BroadcastTo",
        ("input",),
        {"shape": Setting("shape", _numbers)},
    ),
    "roll": Same(
        "ops.Roll",
        ("input",),
        {"shift": Setting("shift", _numbers), "axis": "axis"},
    ),
    "reverse": Same(
        "ops.Flip",
        ("tensor",),
        {
            "axis": Setting(
                "axis", _one_or_more, lambda v, call: np.atleast_1d(v).tolist()
            )
        },
    ),
    "pad": _PAD,
    "compat.v1.pad": _PAD,
    "gather": _GATHER,
    "compat.v1.gather": _GATHER,
    "nn.depth_to_space": Same("ops.DepthToSpace", ("input",), _BLOCK),
    "nn.space_to_depth": Same("ops.SpaceToDepth", ("input",), _BLOCK),
    "image.extract_patches": Same(
        "ops.ExtractPatches",
        ("images",),
        {
            "size": Setting("sizes", _window, _over_image),
            "strides": Setting("strides", _window, _over_image),
            "dilation_rate": Setting("rates", _dilation, _over_image),
            "padding": Setting("padding", _lower, _upper),
            "data_format": _always("channels_last"),
        },
    ),
    "nn.avg_pool2d": Same("ops.AveragePool", ("input",), _POOLING),
    "nn.max_pool2d": Same("ops.MaxPool", ("input",), _POOLING),
    "image.resize": Same(
        "ops.Resize",
        ("images",),
        {
            "size": Setting("size", _known_size),
            "interpolation": Setting("method", _only("bilinear", "nearest")),
            "antialias": "antialias",
            "crop_to_aspect_ratio": _always(False),
            "pad_to_aspect_ratio": _always(False),
            "data_format": _always("channels_last"),
        },
    ),
    "__operators__.getitem": Same(
        "ops.GetItem",
        ("tensor", Setting("slice_spec", _as_slices, _as_dictionaries)),
    ),
}
