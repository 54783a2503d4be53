"""One small model per operation of keras.ops: what can be cut, and equal."""

import keras
import numpy as np
import pytest
from keras import layers
from keras import ops
from model_checks import check
from model_checks import where_keras_can

RNG = np.random.default_rng(7)
WEIGHTS = RNG.standard_normal((8, 6)).astype("float32")
VECTOR = RNG.standard_normal(8).astype("float32")


def conv(x, filters=8, name=None, **options):
    return layers.Conv2D(filters, 3, padding="same", name=name, **options)(x)


def image_model(function, activation="relu"):
    """`function` of the 8 channels that `a` makes, then a head."""
    inputs = keras.Input((6, 6, 3), name="image")
    x = function(conv(inputs, name="a", activation=activation))
    outputs = []
    for y in x if isinstance(x, (list, tuple)) else [x]:
        if len(y.shape) == 4:
            y = layers.Conv2D(2, 1)(y)
        elif len(y.shape) == 3:
            y = layers.Conv1D(2, 1)(y)
        else:
            y = layers.Dense(2)(y)
        outputs.append(y)
    return keras.Model(inputs, outputs)


def pair_model(function, **options):
    """`function` of two tensors of 8 channels."""
    inputs = keras.Input((6, 6, 3), name="image")
    one = conv(inputs, name="a", activation="relu", **options)
    two = conv(inputs, name="b", activation="relu", **options)
    y = function(one, two)
    head = layers.Conv2D(2, 1) if len(y.shape) == 4 else layers.Dense(2)
    return keras.Model(inputs, head(y))


TORCH = keras.backend.backend() == "torch"
A8 = {"a": 8}
# Name, function of a tensor of 8 channels, what can be cut.
ONE = [
    ("x + 1", lambda x: x + 1, A8),
    ("1 - x", lambda x: 1 - x, A8),
    ("x * 2", lambda x: x * 2, A8),
    ("-x", lambda x: -x, A8),
    ("x / 3", lambda x: x / 3, A8),
    ("x ** 2", lambda x: x**2, A8),
    ("2 ** x", lambda x: 2.0**x, A8),
    ("x ** 0.5 has no slope at 0", lambda x: x**0.5, {}),
    ("(x + 1) ** 0.5", lambda x: (x + 1.0) ** 0.5, A8),
    ("sqrt has no slope at 0", ops.sqrt, {}),
    ("sqrt(x + 1)", lambda x: ops.sqrt(x + 1), A8),
    ("log is not finite at 0", lambda x: ops.log(squared(x)), A8),
    ("log(1 + exp(x))", lambda x: ops.log(1 + ops.exp(x)), A8),
    ("sigmoid by hand", lambda x: 1 / (1 + ops.exp(-x)), A8),
    ("softsign by hand", lambda x: x / (1 + ops.abs(x)), A8),
    ("1 / x is not finite at 0", lambda x: 1 / squared(x), A8),
    ("rsqrt(x^2 + 1)", lambda x: ops.rsqrt(ops.square(x) + 1.0), A8),
    ("hard swish", lambda x: x * ops.relu6(x + 3) / 6, A8),
    ("mish by hand", lambda x: x * ops.tanh(ops.softplus(x)), A8),
    ("clip", lambda x: ops.clip(x, 0.1, 0.5), A8),
    ("maximum", lambda x: ops.maximum(x, 0.3), A8),
    ("minimum of an array", lambda x: ops.minimum(x, VECTOR), A8),
    ("where", lambda x: ops.where(x > 0.2, x, 0.1 * x), A8),
    ("where of numbers", lambda x: ops.where(x > 0.2, 1.0, -1.0), A8),
    ("array on the right", lambda x: x * VECTOR, A8),
    ("array added", lambda x: x + VECTOR, A8),
    ("tensor on the left", lambda x: ops.convert_to_tensor(VECTOR) - x, A8),
    ("number array", lambda x: x * np.float32(2), A8),
    ("cast", lambda x: ops.cast(ops.cast(x, "float16"), "float32"), A8),
    ("cast of a comparison", lambda x: ops.cast(x > 0.1, "float32"), A8),
    ("zeros_like", lambda x: x + ops.zeros_like(x), A8),
    ("ones_like", lambda x: x + ops.ones_like(x), A8),
    ("full_like", lambda x: x * ops.full_like(x, 2.0), A8),
    ("stop_gradient", ops.stop_gradient, A8),
    ("mean of positions", lambda x: ops.mean(x, axis=(1, 2)), A8),
    ("max of positions", lambda x: ops.max(x, axis=(1, 2)), A8),
    ("max with initial", lambda x: ops.max(x, (1, 2), initial=0.4), A8),
    (
        "squeeze and excitation",
        lambda x: (
            x
            * layers.Conv2D(8, 1, activation="sigmoid", name="e")(
                layers.Conv2D(4, 1, activation="relu", name="s")(
                    ops.mean(x, axis=(1, 2), keepdims=True)
                )
            )
        ),
        {"a": 8, "s": 4},
    ),
    (
        "sum of zeros",
        lambda x: ops.concatenate(
            [x, ops.sum(x, axis=-1, keepdims=True)], axis=-1
        ),
        A8,
    ),
    (
        "sum of ones",
        lambda x: ops.sum(x + 1, axis=-1, keepdims=True) * x,
        {},
    ),
    ("mean of channels", lambda x: x * ops.mean(x, -1, keepdims=True), {}),
    ("max of channels", lambda x: x * ops.max(x, -1, keepdims=True), {}),
    ("variance of positions", lambda x: ops.var(x, axis=(1, 2)), A8),
    ("moments", lambda x: ops.concatenate(ops.moments(x, (1, 2)), -1), A8),
    (
        "instance normalisation by hand",
        lambda x: (
            lambda mean, variance: (x - mean) / ops.sqrt(variance + 1e-3)
        )(*ops.moments(x, axes=(1, 2), keepdims=True)),
        A8,
    ),
    (
        "moments of channels",
        lambda x: x * ops.moments(x, -1, keepdims=True)[1],
        {},
    ),
    # Its slope at 0 is NaN, but not on PyTorch.
    ("std", lambda x: ops.std(x, axis=(1, 2)), A8 if TORCH else {}),
    ("logsumexp", lambda x: ops.logsumexp(x, axis=(1, 2)), A8),
    ("cumsum of positions", lambda x: ops.cumsum(x, axis=1), A8),
    ("cumsum of channels", lambda x: ops.cumsum(x, axis=-1), A8),
    ("cumsum of ones", lambda x: ops.cumsum(x + 1, axis=-1), {}),
    ("l2 norm by hand", lambda x: x / (1 + ops.sum(x * x, -1, True)), A8),
    ("normalize", lambda x: ops.normalize(x, axis=-1), A8),
    ("normalize not zero", lambda x: ops.normalize(x + 1, axis=-1), {}),
    ("normalize positions", lambda x: ops.normalize(x, axis=1), {}),
    ("softmax of positions", lambda x: ops.softmax(x, axis=1), A8),
    ("softmax of channels", lambda x: ops.softmax(x, axis=-1), {}),
    ("sort of positions", lambda x: ops.sort(x, axis=1), A8),
    ("top_k of channels", lambda x: ops.top_k(x, 3)[0], {}),
    ("glu", lambda x: ops.glu(x), {"a": 4}),
    ("reshape", lambda x: ops.reshape(x, (-1, 36, 8)), A8),
    ("reshape to one", lambda x: ops.reshape(x, (-1, 288)), A8),
    ("reshape -1 last", lambda x: ops.reshape(x, (-1, 36, 8, 1))[..., 0], A8),
    ("reshape to pairs", lambda x: ops.reshape(x, (-1, 6, 12, 4)), {"a": 4}),
    (
        "channel shuffle",
        lambda x: ops.reshape(
            ops.transpose(ops.reshape(x, (-1, 6, 6, 2, 4)), (0, 1, 2, 4, 3)),
            (-1, 6, 6, 8),
        ),
        {"a": 4},
    ),
    ("transpose", lambda x: ops.transpose(x, (0, 2, 1, 3)), A8),
    ("moveaxis", lambda x: ops.moveaxis(ops.moveaxis(x, 3, 1), 1, -1), A8),
    ("swapaxes", lambda x: ops.swapaxes(x, 1, 2), A8),
    ("squeeze", lambda x: ops.squeeze(x[:, :1, :1, :]), A8),
    ("squeeze axes", lambda x: ops.squeeze(x[:, :1], axis=1), A8),
    ("expand_dims", lambda x: ops.expand_dims(x, (1, 2))[:, 0, 0], A8),
    ("flip", lambda x: ops.flip(x, axis=-1), A8),
    ("flip all but the batch", lambda x: ops.flip(x, axis=(1, 2, 3)), A8),
    ("roll", lambda x: ops.roll(x, 3, axis=-1), A8),
    ("roll back", lambda x: ops.roll(x, (-2, 1), axis=(3, 1)), A8),
    ("roll meets itself", lambda x: x + ops.roll(x, 2, axis=-1), {"a": 2}),
    (
        "an empty slice",
        lambda x: ops.concatenate([x[..., 8:], x, x[..., :0]], -1),
        A8,
    ),
    ("slice", lambda x: x[..., 2:6], {"a[0,1,6,...]": 4, "a[2:6]": 4}),
    ("strided", lambda x: x[..., ::2], {"a[0,2,4,...]": 4, "a[1,3,5,...]": 4}),
    ("backwards", lambda x: x[..., ::-1], A8),
    (
        "ghost of slices",
        lambda x: ops.concatenate([x[..., 4:], x[..., :4]], -1),
        {"a[0:4]": 4, "a[4:8]": 4},
    ),
    (
        "one channel by number",
        lambda x: x * x[..., 3:4],
        {"a[0,1,2,...]": 7},
    ),
    ("an int", lambda x: x * x[..., 3, None], {"a[0,1,2,...]": 7}),
    (
        "new axis",
        lambda x: x[:, None, :, :, 1:][:, 0],
        {"a[0:1]": 1, "a[1:8]": 7},
    ),
    ("positions", lambda x: x[:, ::2, 1:5], A8),
    ("core slice", lambda x: ops.slice(x, (0, 0, 0, 2), (3, 6, 6, 5)), None),
    ("take", lambda x: ops.take(x, [5, 1, 1, 7], axis=-1), None),
    ("take a table", lambda x: ops.take(x, [[5, 1], [2, 7]], axis=-1), None),
    ("take a position", lambda x: ops.take(x, 2, axis=1), A8),
    ("split", lambda x: ops.split(x, 2, axis=-1), None),
    ("split unevenly", lambda x: ops.split(x, [1, 4], axis=-1), None),
    (
        "split and gate",
        lambda x: (lambda a, b: a * ops.sigmoid(b))(*ops.split(x, 2, -1)),
        {"a": 4},
    ),
    ("unstack positions", lambda x: ops.unstack(x, axis=1)[:2], A8),
    ("unstack channels", lambda x: ops.unstack(x[:, 0], axis=-1)[:2], {}),
    ("concatenate itself", lambda x: ops.concatenate([x, x], -1), A8),
    ("stack", lambda x: ops.max(ops.stack([x, 2 * x], axis=1), axis=1), A8),
    ("tile", lambda x: ops.tile(x, (1, 1, 1, 2)), A8),
    ("tile short", lambda x: ops.tile(x, 2), A8),
    ("repeat", lambda x: ops.repeat(x, 2, axis=-1), A8),
    ("repeat unevenly", lambda x: ops.repeat(x, [1, 2] * 4, axis=-1), None),
    (
        "pad positions",
        lambda x: ops.pad(x, ((0, 0), (1, 1), (2, 0), (0, 0))),
        A8,
    ),
    (
        "pad with ones",
        lambda x: ops.pad(
            x, ((0, 0), (1, 1), (0, 0), (1, 2)), constant_values=1.0
        ),
        None,
    ),
    (
        "pad by reflection",
        lambda x: ops.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect"),
        A8,
    ),
    ("broadcast_to", lambda x: ops.broadcast_to(x[:, :1], (3, 6, 6, 8)), None),
    ("depth_to_space", lambda x: ops.nn.depth_to_space(x, 2), {"a": 2}),
    ("space_to_depth", lambda x: ops.nn.space_to_depth(x, 2), A8),
    ("max_pool", lambda x: ops.max_pool(x, 2), A8),
    ("average_pool", lambda x: ops.average_pool(x, 2, padding="same"), A8),
    ("resize", lambda x: ops.image.resize(x, (4, 4)), A8),
    ("extract_patches", lambda x: ops.image.extract_patches(x, 2), A8),
    ("pad_images", lambda x: ops.image.pad_images(x, 1, 1, 1, 1), A8),
    ("crop_images", lambda x: ops.image.crop_images(x, 1, 1, 1, 1), A8),
    ("tril", lambda x: ops.moveaxis(ops.tril(ops.moveaxis(x, 3, 1)), 1, 3), A8),
    (
        "matmul of an array",
        lambda x: ops.matmul(x, WEIGHTS),
        {"a": 8, "constant": 6},
    ),
    ("matmul of ones", lambda x: ops.matmul(x + 1, WEIGHTS), {"constant": 6}),
    (
        "einsum",
        lambda x: ops.einsum("bhwc,cd->bwd", x, WEIGHTS),
        {"a": 8, "constant": 6},
    ),
    (
        "einsum dots",
        lambda x: ops.einsum("...c,cd->...d", x, WEIGHTS),
        {"a": 8, "constant": 6},
    ),
    (
        "tensordot",
        lambda x: ops.tensordot(x, WEIGHTS, axes=1),
        {"a": 8, "constant": 6},
    ),
    ("dot", lambda x: ops.dot(x, WEIGHTS), {"a": 8, "constant": 6}),
    (
        "gram matrix",
        lambda x: ops.sum(ops.einsum("bhwc,bhwd->bcd", x, x), -1),
        A8,
    ),
    ("self attention", lambda x: attention(x), {"a": 8}),
    ("no rule, tried", lambda x: ops.diff(x, axis=1), A8),
    ("no rule", lambda x: ops.sort(x, axis=-1), {}),
    ("argmax of channels", lambda x: ops.one_hot(ops.argmax(x, -1), 8), {}),
    (
        "argmax of positions",
        lambda x: ops.cast(ops.argmax(x, 1), "float32"),
        A8,
    ),
]


def squared(x):
    """Never zero, but where a channel is masked."""
    return ops.square(layers.Conv2D(8, 1, name="s")(x))


def attention(x):
    x = ops.reshape(x, (-1, 36, 8))
    scores = ops.softmax(ops.matmul(x, ops.transpose(x, (0, 2, 1))))
    return ops.matmul(scores, x)


if hasattr(ops, "array_split"):  # not in Keras 3.12
    ONE += [
        ("array split", lambda x: ops.array_split(x, 4, axis=-1), None),
        ("array split unevenly", lambda x: ops.array_split(x, 3, -1), None),
        ("array split of positions", lambda x: ops.array_split(x, 4, 1), A8),
    ]

TWO = [
    ("a + b", lambda a, b: a + b, A8),
    ("a - b", lambda a, b: a - b, A8),
    ("a * b", lambda a, b: a * b, A8),
    ("a / (1 + b)", lambda a, b: a / (1 + b), A8),
    ("a / b is not finite at 0", lambda a, b: a / squared(b), {"b": 8}),
    ("divide_no_nan", ops.divide_no_nan, A8),
    ("maximum", ops.maximum, A8),
    ("minimum", ops.minimum, A8),
    ("power", lambda a, b: ops.power(1 + a, b), A8),
    ("where", lambda a, b: ops.where(a > b, a, b), A8),
    (
        "logical",
        lambda a, b: ops.where(ops.logical_and(a > 0, b > 0), a, b),
        A8,
    ),
    ("a gate", lambda a, b: a * ops.sigmoid(b), A8),
    ("a gate of one channel", lambda a, b: a * b[..., :1], None),
    (
        "concatenated",
        lambda a, b: ops.concatenate([a, b], -1),
        {"a": 8, "b": 8},
    ),
    ("stacked", lambda a, b: ops.mean(ops.stack([a, b], 1), 1), A8),
    ("scores", lambda a, b: ops.einsum("bhwc,bijc->bhwij", a, b)[:, 0, 0], A8),
    (
        "scores of ones",
        lambda a, b: (
            (a + 1) * ops.einsum("bhwc,bhwc->bh", a + 1, b + 1)[..., None, None]
        ),
        {},
    ),
    (
        "scores half zero",
        lambda a, b: (
            (a + 1) * ops.einsum("bhwc,bhwc->bh", a, b + 1)[..., None, None]
        ),
        A8,
    ),
    (
        "outer of channels",
        lambda a, b: ops.reshape(ops.einsum("bhwc,bhwd->bcd", a, b), (-1, 64)),
        None,
    ),
    (
        "fixed by the image",
        lambda a, b: ops.concatenate([a, b], -1)[..., :3],
        None,
    ),
]


@pytest.mark.parametrize(
    ("function", "expected"), [r[1:] for r in ONE], ids=[r[0] for r in ONE]
)
def test_one(function, expected, request, tmp_path):
    with where_keras_can():
        model = image_model(function)
    channels = check(model, len(request.node.name), saves=tmp_path)
    check_groups(channels, expected)


@pytest.mark.parametrize(
    ("function", "expected"), [r[1:] for r in TWO], ids=[r[0] for r in TWO]
)
def test_two(function, expected, tmp_path):
    channels = check(pair_model(function), saves=tmp_path)
    check_groups(channels, expected)


def check_groups(channels, expected):
    # A constant is named after the operation, which Keras numbers.
    found = {
        "constant" if ":constant" in group.name else group.name: group.size
        for group in channels.prunable
    }
    if expected is not None:
        assert found == expected, [(g.name, g.reason) for g in channels.groups]


def test_sizes_from_numpy():
    """Keras cannot save such a model; here it prunes all the same."""
    model = image_model(lambda x: ops.reshape(x, (-1, np.int64(36), 8)))
    check_groups(check(model), A8)
