"""Cells for images, for sequences and for vectors."""

from __future__ import annotations

from fuzz_cells import ACTIVATIONS
from fuzz_cells import cell

# Images: (batch, height, width, channels).


@cell(rank=4, weight=5)
def conv(w, x):
    extra = ["", ", strides=2", ", use_bias=False", ", dilation_rate=2"]
    w.make(
        f"layers.Conv2D({w.width()}, {w.integer(1, 3)}, padding='same', "
        f"activation={w.choice(ACTIVATIONS)!r}{w.choice(extra)})({x})"
    )


@cell(rank=4)
def grouped_conv(w, x):
    c = w.channels(x)
    groups = w.choice([g for g in range(2, c + 1) if c % g == 0])
    filters = groups * w.integer(1, 3)
    w.make(f"layers.Conv2D({filters}, 3, padding='same', groups={groups})({x})")


@cell(rank=4)
def other_conv(w, x):
    n = w.width()
    kernel = f"keras.Variable({w.array((2, 2, w.channels(x), n))})"
    forms = [
        f"layers.DepthwiseConv2D(3, padding='same')({x})",
        f"layers.DepthwiseConv2D(3, depth_multiplier=2)({x})",
        f"layers.SeparableConv2D({n}, 3, padding='same')({x})",
        f"layers.Conv2DTranspose({n}, 2, strides=2)({x})",
        f"ops.conv({x}, {kernel})",
    ]
    w.make(w.choice(forms))


@cell(rank=4, weight=2)
def residual(w, x):
    c, n = w.channels(x), w.width()
    y = w.make(f"layers.Conv2D({n}, 3, padding='same', activation='relu')({x})")
    y = w.make(f"layers.BatchNormalization()({y})")
    y = w.make(f"layers.Conv2D({c}, 1)({y})")
    w.make(w.choice(["{} + {}", "layers.Add()([{}, {}])"]).format(x, y))


@cell(rank=4)
def option_a(w, x):
    extra = w.integer(1, 2)
    size = w.channels(x) + 2 * extra
    y = w.make(f"layers.Conv2D({size}, 3, padding='same', strides=2)({x})")
    pad = ((0, 0), (0, 0), (0, 0), (extra, extra))
    w.make(f"{y} + ops.pad({x}[:, ::2, ::2, :], {pad})")


@cell(rank=4)
def squeezed(w, x):
    forms = [
        f"layers.GlobalAveragePooling2D(keepdims=True)({x})",
        f"ops.mean({x}, axis=(1, 2), keepdims=True)",
        f"ops.max({x}, axis=(1, 2), keepdims=True)",
    ]
    s = w.make(w.choice(forms))
    s = w.make(f"layers.Conv2D({w.width()}, 1, activation='relu')({s})")
    s = w.make(f"layers.Conv2D({w.channels(x)}, 1, activation='sigmoid')({s})")
    w.make(f"{x} * {s}")


@cell(rank=4)
def spatial_gate(w, x):
    gate = w.make(f"layers.Conv2D(1, 1, activation='sigmoid')({x})")
    w.make(f"{x} * {gate}")


@cell(rank=4, weight=2)
def pooled(w, x):
    forms = [
        f"layers.MaxPooling2D(2)({x})",
        f"layers.AveragePooling2D(2, 1, 'same')({x})",
        f"layers.UpSampling2D(2)({x})",
        f"layers.ZeroPadding2D(1)({x})",
        f"layers.Cropping2D(1)({x})",
        f"ops.max_pool({x}, 2)",
        f"ops.image.resize({x}, (4, 4))",
        f"ops.pad({x}, ((0, 0), (1, 0), (0, 1), (0, 0)))",
        f"{x}[:, ::2, 1:]",
    ]
    w.make(w.choice(forms))


@cell(rank=4)
def pixels(w, x):
    forms = [
        f"ops.nn.depth_to_space({x}, 2)",
        f"ops.nn.space_to_depth({x}, 2)",
        f"ops.image.extract_patches({x}, 2)",
        f"layers.Permute((2, 1, 3))({x})",
        f"ops.swapaxes({x}, 1, 2)",
    ]
    w.make(w.choice(forms))


@cell(rank=4)
def to_sequence(w, x):
    _, height, width, c = w.shape(x)
    forms = [
        f"layers.Reshape(({height * width}, {c}))({x})",
        f"ops.reshape({x}, (-1, {height * width}, {c}))",
        f"ops.reshape({x}, (-1, {height}, {width * c}))",
        f"ops.mean({x}, axis=1)",
        f"layers.TimeDistributed(layers.Flatten())({x})",
    ]
    w.make(w.choice(forms))


@cell(rank=4)
def to_vector(w, x):
    forms = [
        f"layers.GlobalAveragePooling2D()({x})",
        f"layers.GlobalMaxPooling2D()({x})",
        f"layers.Flatten()({x})",
        f"ops.mean({x}, axis=(1, 2))",
        f"ops.sum(ops.square({x}), axis=(1, 2))",
    ]
    w.make(w.choice(forms))


# Sequences: (batch, length, channels).


@cell(rank=3, weight=2)
def conv1d(w, x):
    w.make(
        f"layers.Conv1D({w.width()}, 3, padding='same', "
        f"activation={w.choice(ACTIVATIONS)!r})({x})"
    )


@cell(rank=3, weight=2)
def attention(w, x):
    heads, width, other = w.integer(1, 3), w.integer(2, 4), w.same_but_last(x)
    forms = [
        f"layers.MultiHeadAttention({heads}, {width})({x}, {x})",
        f"layers.MultiHeadAttention({heads}, {width}, value_dim=3)"
        f"({x}, {other})",
        f"layers.GroupQueryAttention({width}, {2 * heads}, {heads})({x}, {x})",
    ]
    w.make(w.choice(forms))


@cell(rank=3)
def attention_by_hand(w, x):
    n = w.width()
    q, k, v = (w.make(f"layers.Dense({n})({x})") for _ in range(3))
    forms = [
        f"ops.einsum('bqc,bkc->bqk', {q}, {k})",
        f"ops.matmul({q}, ops.transpose({k}, (0, 2, 1)))",
        f"layers.Dot(axes=2)([{q}, {k}])",
    ]
    scores = w.make(w.choice(forms))
    w.make(f"ops.matmul(ops.softmax(0.5 * {scores}), {v})")


@cell(rank=3)
def heads_by_hand(w, x):
    heads, width, length = w.integer(2, 3), w.integer(2, 3), w.shape(x)[1]
    names = []
    for _ in range(3):
        y = w.make(f"layers.Dense({heads * width})({x})")
        shape = (-1, length, heads, width)
        names.append(w.make(f"ops.reshape({y}, {shape})"))
    q, k, v = names
    if w.chance(0.3):
        y = w.make(f"ops.nn.dot_product_attention({q}, {k}, {v})")
    else:
        s = w.make(f"ops.einsum('bqhd,bkhd->bhqk', {q}, {k})")
        y = w.make(f"ops.einsum('bhqk,bkhd->bqhd', ops.softmax({s}), {v})")
    w.make(f"ops.reshape({y}, (-1, {length}, {heads * width}))")


@cell(rank=3)
def tokens_mixed(w, x):
    y = w.make(f"ops.transpose({x}, (0, 2, 1))")
    y = w.make(f"layers.Dense({w.width()}, activation='gelu')({y})")
    y = w.make(f"layers.Dense({w.shape(x)[1]})({y})")
    w.make(f"{x} + ops.transpose({y}, (0, 2, 1))")


@cell(rank=3)
def recurrent(w, x):
    kind = w.choice(["LSTM", "GRU", "SimpleRNN"])
    inner = f"layers.{kind}({w.width()}, return_sequences={w.chance(0.6)})"
    if w.chance(0.3):
        inner = f"layers.Bidirectional({inner})"
    w.make(f"{inner}({x})")


@cell(rank=3)
def positioned(w, x):
    w.make(f"{x} + keras.Variable({w.array((1, *w.shape(x)[1:]))})")


@cell(rank=3)
def per_step(w, x):
    w.make(f"layers.TimeDistributed(layers.Dense({w.width()}, 'relu'))({x})")


@cell(rank=3)
def sequence_to_vector(w, x):
    forms = [
        f"layers.GlobalAveragePooling1D()({x})",
        f"layers.GlobalMaxPooling1D()({x})",
        f"layers.Flatten()({x})",
        f"{x}[:, 0]",
        f"ops.max({x}, axis=1)",
        f"ops.unstack({x}, axis=1)[-1]",
    ]
    w.make(w.choice(forms))


# Vectors: (batch, channels).


@cell(rank=2)
def vector_to_image(w, x):
    channels = w.integer(2, 4)
    y = w.make(f"layers.Dense({4 * channels})({x})")
    w.make(f"layers.Reshape((2, 2, {channels}))({y})")


@cell(rank=2)
def vector_to_sequence(w, x):
    stacked = f"ops.stack([{x}, 2 * {x}], axis=1)"
    w.make(w.choice([f"layers.RepeatVector(3)({x})", stacked]))


@cell(rank=2)
def vector_gates_image(w, x):
    images = [name for name in w.tensors if w.rank(name) == 4]
    if not images:
        raise w.Unsuitable
    image = w.choice(images)
    gate = w.make(f"layers.Dense({w.channels(image)}, 'sigmoid')({x})")
    w.make(f"{image} * {gate}[:, None, None, :]")
