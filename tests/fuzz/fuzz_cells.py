"""What random models are made of, whatever the rank of their tensors.

A cell is a function of a `Writer`: it picks tensors that are there, writes
lines that make new ones, and may fail where its picks do not fit.
"""

from __future__ import annotations

from fuzz_layers import Unseen

CELLS: dict[str, tuple] = {}

ACTIVATIONS = "relu gelu tanh sigmoid elu silu softplus linear".split()
UNARY = [
    "{x} + 1.0",
    "1.5 - {x}",
    "{x} * 2.0",
    "-{x}",
    "{x} / 3.0",
    "{x} ** 2",
    "ops.relu({x})",
    "ops.sigmoid({x})",
    "ops.tanh({x})",
    "ops.gelu({x})",
    "ops.abs({x})",
    "ops.exp(-ops.abs({x}))",
    "ops.log(1.0 + ops.abs({x}))",
    "ops.log1p(ops.square({x}))",
    "ops.sqrt(ops.square({x}) + 1.0)",
    "ops.sqrt(ops.square({x}))",
    "{x} / (1.0 + ops.abs({x}))",
    "1.0 / (1.0 + ops.exp(-{x}))",
    "{x} * ops.relu6({x} + 3.0) / 6.0",
    "ops.clip({x}, -0.5, 0.7)",
    "ops.maximum({x}, -0.2)",
    "ops.where({x} > 0.1, {x}, 0.2 * {x})",
    "ops.where({x} > 0.1, 1.0, {x})",
    "{x} + ops.ones_like({x})",
    "{x} * ops.cast({x} > 0.0, {x}.dtype)",
    "ops.stop_gradient({x})",
]
BINARY = [
    "{a} + {b}",
    "{a} - {b}",
    "{a} * {b}",
    "{a} / (1.0 + ops.abs({b}))",
    "ops.maximum({a}, {b})",
    "ops.where({a} > {b}, {a}, 0.5 * {b})",
    "ops.logaddexp({a}, {b})",
    "layers.Add()([{a}, {b}])",
    "layers.Multiply()([{a}, {b}])",
    "layers.Average()([{a}, {b}])",
    "layers.Maximum()([{a}, {b}, {a}])",
    "layers.Subtract()([{a}, {b}])",
]


def cell(rank=None, weight=1):
    """Registers a cell for tensors of a rank, and how often it is taken."""

    def add(function):
        CELLS[function.__name__] = (function, rank, weight)
        return function

    return add


@cell(weight=3)
def unary(w, x):
    w.make(w.choice(UNARY).format(x=x))


@cell(weight=3)
def binary(w, x):
    w.make(w.choice(BINARY).format(a=x, b=w.like(x)))


@cell()
def with_array(w, x):
    array = w.array((w.channels(x),))
    form = w.choice(["{x} * {a}", "{x} + {a}", "{a} - {x}"])
    if form.startswith("{a}"):  # NumPy would take over
        array = f"ops.convert_to_tensor({array})"
    w.make(form.format(x=x, a=array))


@cell()
def with_variable(w, x):
    value = w.array((w.channels(x),))
    variable = w.make(f"keras.Variable({value})", tensor=False)
    w.make(f"{x} {w.choice('*+')} {variable}")


@cell()
def matmul_variable(w, x):
    value = w.array((w.channels(x), w.width()))
    variable = w.make(f"keras.Variable({value})", tensor=False)
    w.make(f"ops.matmul({x}, {variable})")


@cell()
def matmul_array(w, x):
    w.make(f"ops.matmul({x}, {w.array((w.channels(x), w.width()))})")


@cell(weight=2)
def joined(w, x):
    y = w.same_but_last(x)
    form = w.choice(["ops.concatenate([{}], -1)", "layers.Concatenate()([{}])"])
    w.make(form.format(f"{x}, {y}, {x}" if w.chance(0.3) else f"{x}, {y}"))


@cell(weight=2)
def parts(w, x):
    cut = w.integer(1, w.channels(x) - 1)
    a = w.make(f"{x}[..., :{cut}]")
    b = w.make(f"{x}[..., {cut}:]")
    if w.chance(0.6):
        w.make(f"ops.concatenate([{b}, {a}], -1)")


@cell(weight=2)
def halves(w, x):
    if w.channels(x) % 2:
        raise w.Unsuitable
    a, b = w.name(), w.name()
    w.line(f"{a}, {b} = ops.split({x}, 2, axis=-1)", [a, b])
    w.make(w.choice(BINARY).format(a=a, b=b))


@cell()
def thirds(w, x):
    if w.channels(x) < 3:
        raise w.Unsuitable
    cuts = sorted(w.sample(range(1, w.channels(x)), 2))
    names = [w.name() for _ in range(3)]
    w.line(f"{', '.join(names)} = ops.split({x}, {cuts}, axis=-1)", names)
    w.make(f"ops.concatenate([{names[2]}, {names[0]}], -1)")


@cell()
def strided(w, x):
    w.make(f"{x}[..., ::{w.choice([2, -1, -2, 3])}]")


@cell()
def gathered(w, x):
    c = w.channels(x)
    picks = [w.integer(0, c - 1) for _ in range(w.integer(2, c + 2))]
    w.make(f"ops.take({x}, {picks}, axis=-1)")


@cell()
def one_channel_gate(w, x):
    at = w.integer(0, w.channels(x) - 1)
    w.make(f"{x} * ops.sigmoid({x}[..., {at}:{at + 1}])")


@cell()
def turned(w, x):
    c, last = w.channels(x), (1,) * (w.rank(x) - 1)
    forms = [
        f"ops.flip({x}, axis=-1)",
        f"ops.roll({x}, {w.integer(-c, c)}, axis=-1)",
        f"ops.tile({x}, {(*last, 2)})",
        f"ops.repeat({x}, 2, axis=-1)",
    ]
    w.make(w.choice(forms))


@cell()
def padded_channels(w, x):
    before, after = w.integer(0, 3), w.integer(0, 3)
    widths = ((0, 0),) * (w.rank(x) - 1) + ((before, after),)
    value = w.choice(["", "", ", constant_values=0.5"])
    y = w.make(f"ops.pad({x}, {widths}{value})")
    if w.chance(0.7):
        size = before + after + w.channels(x)
        w.make(f"{y} + layers.Dense({size})({w.same_but_last(x)})")


@cell(weight=2)
def shuffled(w, x):
    c, shape = w.channels(x), w.shape(x)[1:-1]
    groups = w.choice([g for g in range(2, c) if c % g == 0] or [0])
    if not groups:
        raise w.Unsuitable
    front = tuple(range(len(shape) + 1))
    last = len(front)
    y = w.make(f"ops.reshape({x}, {(-1, *shape, groups, c // groups)})")
    y = w.make(f"ops.transpose({y}, {(*front, last + 1, last)})")
    w.make(f"ops.reshape({y}, {(-1, *shape, c)})")


@cell()
def summed(w, x):
    s = w.make(f"ops.sum({x}, axis=-1, keepdims=True)")
    w.make(f"{x} * ops.tanh({s})")


@cell()
def over_channels(w, x):
    forms = [
        f"ops.normalize({x}, axis=-1)",
        f"{x} / (1.0 + ops.sum(ops.square({x}), -1, keepdims=True))",
        f"{x} - ops.mean({x}, axis=-1, keepdims=True)",
        f"ops.softmax({x}, axis=-1)",
        f"layers.UnitNormalization()({x})",
        f"ops.cumsum({x}, axis=-1)",
    ]
    w.make(w.choice(forms))


@cell(weight=2)
def normalized(w, x):
    c = w.channels(x)
    groups = w.choice([g for g in range(1, c + 1) if c % g == 0])
    forms = [
        "layers.BatchNormalization()",
        "layers.BatchNormalization(scale=False)",
        "layers.BatchNormalization(center=False)",
        "layers.LayerNormalization()",
        "layers.RMSNormalization()",
        f"layers.GroupNormalization({groups})",
    ]
    w.make(f"{w.choice(forms)}({x})")


@cell(weight=3)
def dense(w, x):
    activation = f", activation={w.choice(ACTIVATIONS)!r}"
    options = w.choice(["", activation, ", use_bias=False"])
    w.make(f"layers.Dense({w.width()}{options})({x})")


@cell()
def einsum_dense(w, x):
    equation = "'...a,ab->...b'"
    w.make(f"layers.EinsumDense({equation}, {w.width()}, bias_axes='b')({x})")


@cell(weight=2)
def composite(w, x):
    width = w.width()
    forms = [
        f"OwnDense({width})",
        f"OwnDense({width}, transposed=True)",
        "Scaled()",
        f"Gated({width})",
        f"WithModel({width})",
        "SometimesOdd()",
        f"Unseen({w.choice(list(Unseen.WAYS))!r})",
    ]
    if w.rank(x) == 4:
        forms += [f"Residual({width})"] * 2
        forms += [f"Windowed({width})"] * (w.shape(x)[1] % 2 == 0)
    if w.rank(x) == 3:
        forms += ["WithToken()", f"Attention({width})"]
    layer = w.make(w.choice(forms), tensor=False)
    y = w.make(f"{layer}({x})")
    if w.chance(0.3) and w.shape(y) == w.shape(x):
        w.make(f"{layer}({y})")


@cell()
def shared_dense(w, x):
    layer = w.make(f"layers.Dense({w.channels(x)})", tensor=False)
    y = w.make(f"{layer}({x})")
    w.make(w.choice(BINARY).format(a=f"{layer}(ops.relu({y}))", b=x))


@cell(weight=2)
def nested(w, x):
    """A model, called once or twice."""
    inside = w.make(f"keras.Input({w.shape(x)[1:]})", tensor=False)
    width, last = w.width(), w.channels(x)
    forms = [
        f"layers.Dense({last})(layers.Dense({width}, 'relu')({inside}))",
        f"layers.BatchNormalization()(layers.Dense({last})({inside}))",
        f"ops.concatenate([{inside}[..., 1:], {inside}[..., :1]], -1)",
        f"ops.relu({inside}) + layers.Dense({last})({inside})",
    ]
    model = w.make(f"keras.Model({inside}, {w.choice(forms)})", tensor=False)
    y = w.make(f"{model}({x})")
    if w.chance(0.4):
        w.make(f"{model}({w.choice([y, w.like(x)])})")


@cell()
def chained(w, x):
    w.make(
        f"keras.Sequential([layers.Dense({w.width()}, 'relu'), "
        f"layers.BatchNormalization(), layers.Dense({w.width()})])({x})"
    )


@cell()
def plain(w, x):
    forms = ["layers.Dropout(0.2)", "layers.PReLU()", "layers.ReLU(6.0)"]
    w.make(f"{w.choice(forms)}({x})")
