"""One small model per topology: nesting, sharing, several inputs, constants."""

import keras
import numpy as np
import pytest
from keras import layers
from keras import ops
from model_checks import check
from model_checks import outputs_of
from model_checks import randomise

from tf_channel_prune.api import channels_of
from tf_channel_prune.graph.arrays import to_numpy
from tf_channel_prune.graph.inputs import random_inputs
from tf_channel_prune.masking import make_sparse
from tf_channel_prune.transform import make_slim

IMAGE = (6, 6, 3)


def conv(x, filters=8, name=None, **options):
    options.setdefault("activation", "relu")
    return layers.Conv2D(filters, 3, padding="same", name=name, **options)(x)


def head(x, units=2, name="head"):
    return layers.Dense(units, name=name)(layers.GlobalAveragePooling2D()(x))


def backbone(name="backbone", shape=(None, None, 3), bn=True):
    inputs = keras.Input(shape)
    x = conv(inputs, 6, "stem")
    x = layers.BatchNormalization(name="bn")(x) if bn else x
    x = layers.Add(name="add")([x, conv(x, 6, "inner")])
    return keras.Model(inputs, x, name=name)


def transfer():
    inputs = keras.Input(IMAGE)
    x = layers.Rescaling(0.5)(inputs)
    x = backbone()(x, training=False)
    return keras.Model(inputs, head(x))


def transfer_flat():
    """A Flatten behind a backbone whose own sizes are not known."""
    inputs = keras.Input(IMAGE)
    x = layers.Flatten()(backbone()(inputs))
    return keras.Model(inputs, layers.Dense(2)(x))


def frozen_backbone():
    base = backbone()
    base.trainable = False
    inputs = keras.Input(IMAGE)
    return keras.Model(inputs, head(conv(base(inputs), 5, "top")))


def nested_twice():
    """A model in a model in a model."""
    inputs = keras.Input((6, 6, 3))
    x = backbone("innermost", (6, 6, 3))(inputs)
    middle = keras.Model(inputs, conv(x, 4, "after"), name="middle")
    inputs = keras.Input(IMAGE)
    return keras.Model(inputs, head(conv(middle(inputs), 5, "outer")))


def sequential():
    return keras.Sequential(
        [
            keras.Input(IMAGE),
            layers.Conv2D(6, 3, activation="relu", name="a"),
            keras.Sequential(
                [layers.BatchNormalization(), layers.Conv2D(5, 1, name="b")],
                name="inner",
            ),
            layers.Flatten(),
            layers.Dense(2, name="c"),
        ]
    )


def sequential_of_models():
    return keras.Sequential(
        [keras.Input(IMAGE), backbone(), layers.Flatten(), layers.Dense(2)]
    )


def shared_layer():
    inputs = keras.Input(IMAGE)
    shared = layers.Conv2D(6, 3, padding="same", name="shared")
    x = conv(inputs, 6, "a")
    x = shared(x) + shared(ops.relu(shared(x)))
    return keras.Model(inputs, head(x))


def siamese():
    one, two = keras.Input(IMAGE, name="one"), keras.Input(IMAGE, name="two")
    base = backbone()
    x = ops.abs(base(one) - base(two))
    return keras.Model([one, two], head(x))


def shared_model_between_channels():
    """Called twice on channels that are made by different layers."""
    inputs = keras.Input(IMAGE)
    inner = backbone("inner", (6, 6, 6), bn=False)
    x = inner(conv(inputs, 6, "a")) * inner(conv(inputs, 6, "b"))
    return keras.Model(inputs, head(x))


def part_called_again():
    """A model made of tensors that the model around it uses, too: siamese."""
    one, two = keras.Input((16,), name="one"), keras.Input((16,), name="two")
    x = layers.Dense(8, activation="tanh", name="a")(one)
    x = layers.Dense(6, activation="gelu", name="b")(x)
    part = keras.Model(one, x, name="part")
    x = layers.Subtract(name="gap")([part(two), x])
    return keras.Model([one, two], layers.Dense(3, name="head")(x))


def part_called_on_its_output():
    """The cycle of an encoder and a decoder."""
    image = keras.Input((6,), name="image")
    code = layers.Dense(5, activation="tanh", name="encode")(image)
    encoder = keras.Model(image, code, name="encoder")
    x = layers.Dense(7, activation="relu", name="wide")(code)
    again = layers.Dense(6, name="decode")(x)
    return keras.Model(image, [again, encoder(again)])


def shared_model_with_a_reshape():
    """The inner target shape must suit both calls."""
    inside = keras.Input((6, 6, 8))
    x = ops.reshape(inside, (-1, 36, 8))
    x = ops.transpose(ops.reshape(x, (-1, 36, 2, 4)), (0, 1, 3, 2))
    x = ops.reshape(x, (-1, 6, 6, 8))
    inner = keras.Model(inside, x, name="shuffle")
    inputs = keras.Input(IMAGE)
    x = conv(inner(conv(inputs, 8, "a")), 8, "b")
    return keras.Model(inputs, head(inner(x)))


def shared_model_of_a_fixed_call():
    """One of two calls takes the image, so its input stays whole."""
    inside = keras.Input((6, 6, 3))
    inner = keras.Model(inside, conv(inside, 4, "c"), name="inner")
    inputs = keras.Input(IMAGE)
    x = inner(inputs) + inner(conv(inputs, 3, "a"))
    return keras.Model(inputs, head(x))


def shared_model_of_two_sizes():
    inner = backbone()
    inputs = keras.Input((8, 8, 3))
    small = layers.AveragePooling2D(2)(inputs)
    x = layers.Concatenate()(
        [inner(inputs), layers.UpSampling2D()(inner(small))]
    )
    return keras.Model(inputs, head(x))


def same_tensor_twice():
    one, two = keras.Input((6, 6, 4)), keras.Input((6, 6, 4))
    inner = keras.Model([one, two], conv(one * two, 5, "c"), name="inner")
    inputs = keras.Input(IMAGE)
    x = conv(inputs, 4, "a")
    return keras.Model(inputs, head(inner([x, x])))


def two_inputs_two_outputs():
    image = keras.Input(IMAGE, name="image")
    facts = keras.Input((5,), name="facts")
    x = conv(image, 6, "a")
    y = layers.Dense(6, activation="relu", name="b")(facts)
    x = x * y[:, None, None, :]
    return keras.Model([image, facts], [head(x, name="one"), conv(x, 2, "two")])


def dictionaries():
    image = keras.Input(IMAGE, name="image")
    facts = keras.Input((5,), name="facts")
    x = head(conv(image, 6, "a"), 4, "b")
    y = layers.Dense(4, name="c")(facts)
    return keras.Model(
        {"facts": facts, "image": image},
        {"sum": layers.Dense(2, name="d")(x + y), "y": layers.Dense(1)(y)},
    )


def nested_dictionaries():
    inner = dictionaries()
    image, facts = keras.Input(IMAGE), keras.Input((5,))
    outputs = inner({"image": image, "facts": facts})
    x = layers.Concatenate()([outputs["sum"], outputs["y"]])
    return keras.Model([image, facts], layers.Dense(2)(x))


def output_in_between():
    """A tensor that is an output and goes on."""
    inputs = keras.Input(IMAGE)
    x = conv(inputs, 6, "a")
    y = conv(x, 4, "b")
    return keras.Model(inputs, [y, head(conv(y, 5, "c"))])


def input_as_output():
    inputs = keras.Input(IMAGE)
    return keras.Model(inputs, [inputs, head(conv(inputs, 5, "c"))])


def nested_input_as_output():
    inside = keras.Input((6, 6, 4))
    inner = keras.Model(inside, [inside, conv(inside, 4, "c")], name="inner")
    inputs = keras.Input(IMAGE)
    one, two = inner(conv(inputs, 4, "a"))
    return keras.Model(inputs, head(one + two))


def unused_input():
    image, other = keras.Input(IMAGE), keras.Input((4,))
    return keras.Model([image, other], head(conv(image, 5, "c")))


def open_sizes():
    inputs = keras.Input((None, None, 3))
    x = conv(inputs, 6, "a")
    x = layers.Conv2DTranspose(5, 2, strides=2, name="b")(x)
    return keras.Model(inputs, head(x))


def fixed_batch():
    inputs = keras.Input(batch_shape=(3, 6, 6, 3))
    x = conv(inputs, 6, "a")
    x = ops.reshape(x, (3, 36, 6))
    return keras.Model(inputs, layers.Dense(2)(ops.mean(x, axis=1)))


def variable_in_an_operation():
    scale = keras.Variable(np.ones(6, "float32"), name="scale")
    inputs = keras.Input(IMAGE)
    return keras.Model(inputs, head(conv(inputs, 6, "a") * scale))


def variables_make_channels():
    kernel = keras.Variable(np.ones((6, 5), "float32"), name="kernel")
    bias = keras.Variable(np.ones(5, "float32"), name="bias")
    gain = keras.Variable(1.5, name="gain")
    inputs = keras.Input(IMAGE)
    x = conv(inputs, 6, "a") @ kernel + bias
    return keras.Model(inputs, head(ops.relu(x) * gain))


def variable_of_positions():
    table = keras.Variable(np.ones((1, 6, 6, 4), "float32"), name="table")
    inputs = keras.Input(IMAGE)
    return keras.Model(inputs, head(conv(inputs, 4, "a") + table))


def counting_variable():
    """Whole numbers are no weights: they stay constants."""
    shift = keras.Variable(
        [1, 2, 3, 4], dtype="int32", trainable=False, name="shift"
    )
    inputs = keras.Input(IMAGE)
    x = conv(inputs, 4, "a") * ops.cast(shift + 0, "float32")
    return keras.Model(inputs, head(x))


def variable_in_a_shared_model():
    scale = keras.Variable(np.ones(4, "float32"), name="scale")
    inside = keras.Input((6, 6, 4))
    inner = keras.Model(inside, ops.relu(inside * scale), name="inner")
    inputs = keras.Input(IMAGE)
    x = inner(conv(inputs, 4, "a"))
    return keras.Model(inputs, head(inner(conv(x, 4, "b"))))


def several_tensors():
    """A layer that returns a list."""
    inputs = keras.Input(IMAGE)
    parts = ops.split(conv(inputs, 9, "a"), 3, axis=-1)
    x = layers.Concatenate()([parts[2], parts[0] * parts[1]])
    return keras.Model(inputs, head(x))


def unet():
    inputs = keras.Input((8, 8, 3))
    one = conv(inputs, 4, "down1")
    two = conv(layers.MaxPooling2D()(one), 6, "down2")
    x = conv(layers.MaxPooling2D()(two), 8, "bottom")
    x = layers.Concatenate()([layers.UpSampling2D()(x), two])
    x = conv(x, 6, "up2")
    x = layers.Conv2DTranspose(4, 2, strides=2, name="up")(x)
    x = conv(layers.Concatenate()([x, one]), 4, "up1")
    return keras.Model(inputs, layers.Conv2D(2, 1, name="masks")(x))


def detector():
    """Two scales, a neck that adds and joins, shared heads."""
    inputs = keras.Input((8, 8, 3))
    fine = conv(inputs, 6, "c3")
    coarse = conv(layers.MaxPooling2D()(fine), 8, "c4")
    p4 = layers.Conv2D(6, 1, name="l4")(coarse)
    p3 = layers.Conv2D(6, 1, name="l3")(fine) + layers.UpSampling2D()(p4)
    joined = layers.Concatenate()([layers.MaxPooling2D()(p3), p4])
    p4 = conv(joined, 6, "n4")
    tower = layers.Conv2D(5, 3, padding="same", activation="relu", name="tower")
    boxes = layers.Conv2D(4, 1, name="boxes")
    classes = layers.Conv2D(3, 1, name="classes")
    outputs = []
    for level in (p3, p4):
        x = tower(level)
        for last in (boxes, classes):
            y = last(x)
            outputs.append(layers.Reshape((-1, y.shape[-1]))(y))
    return keras.Model(
        inputs,
        {
            "boxes": layers.Concatenate(axis=1)(outputs[::2]),
            "classes": layers.Concatenate(axis=1)(outputs[1::2]),
        },
    )


def option_a():
    """ResNet's shortcut without weights: strided, padded with zeros."""
    inputs = keras.Input((8, 8, 3))
    x = conv(inputs, 4, "stem")
    for width, name in ((8, "one"), (16, "two")):
        y = conv(x, width, f"{name}a", strides=2)
        y = conv(y, width, f"{name}b", activation=None)
        side = (width - x.shape[-1]) // 2
        pad = ((0, 0), (0, 0), (0, 0), (side, side))
        x = ops.relu(y + ops.pad(x[:, ::2, ::2, :], pad))
    return keras.Model(inputs, head(x))


def dense_net():
    inputs = keras.Input(IMAGE)
    x = conv(inputs, 4, "stem")
    for i in range(3):
        y = layers.BatchNormalization(name=f"bn{i}")(x)
        x = layers.Concatenate()([x, conv(ops.relu(y), 3, f"grow{i}")])
    return keras.Model(inputs, head(x))


def inception():
    inputs = keras.Input(IMAGE)
    x = conv(inputs, 5, "stem")
    branches = [
        conv(x, 4, "b1"),
        conv(conv(x, 3, "b2a"), 4, "b2b"),
        layers.AveragePooling2D(2, 1, "same")(x),
    ]
    x = layers.Concatenate()(branches)
    return keras.Model(inputs, head(conv(x, 4, "after")))


def mobile():
    """Inverted residuals with squeeze and excitation."""
    inputs = keras.Input(IMAGE)
    x = conv(inputs, 4, "stem")
    y = conv(x, 12, "expand")
    y = layers.DepthwiseConv2D(3, padding="same", name="dw")(y)
    y = layers.BatchNormalization(name="bn")(y)
    s = layers.GlobalAveragePooling2D(keepdims=True)(y)
    s = layers.Conv2D(4, 1, activation="relu", name="s")(s)
    y = y * layers.Conv2D(12, 1, activation="hard_sigmoid", name="e")(s)
    x = x + layers.Conv2D(4, 1, name="project")(y)
    return keras.Model(inputs, head(x))


def mixed_precision():
    policy = keras.DTypePolicy("mixed_bfloat16")
    inputs = keras.Input(IMAGE)
    x = layers.Conv2D(6, 3, dtype=policy, activation="relu", name="a")(inputs)
    x = ops.cast(x, "float32") * 2.0
    return keras.Model(inputs, head(x))


# Builder, what can be cut (None: not said here).
MODELS = [
    (transfer, {"backbone/stem": 6}),
    (transfer_flat, {"backbone/stem": 6}),
    (frozen_backbone, {"backbone/stem": 6, "top": 5}),
    (nested_twice, {"middle/innermost/stem": 6, "middle/after": 4, "outer": 5}),
    (sequential, {"a": 6, "inner/b": 5}),
    (sequential_of_models, {"backbone/stem": 6}),
    (shared_layer, {"a": 6}),
    (part_called_again, {"a": 8, "b": 6}),
    (part_called_on_its_output, {"wide": 7}),
    (siamese, {"backbone/stem": 6}),
    (shared_model_between_channels, {"a": 6, "inner/stem": 6}),
    (shared_model_with_a_reshape, {"a": 4}),
    (shared_model_of_a_fixed_call, {"inner/c": 4}),
    (shared_model_of_two_sizes, {"backbone/stem": 6}),
    (same_tensor_twice, {"a": 4, "inner/c": 5}),
    (two_inputs_two_outputs, {"a": 6}),
    (dictionaries, {"a": 6, "b": 4}),
    (nested_dictionaries, None),
    (output_in_between, {"a": 6, "c": 5}),
    (input_as_output, {"c": 5}),
    (nested_input_as_output, {"a": 4}),
    (unused_input, {"c": 5}),
    (open_sizes, {"a": 6, "b": 5}),
    (fixed_batch, {"a": 6}),
    (variable_in_an_operation, {"a": 6}),
    (variables_make_channels, {"a": 6, "kernel:axis1": 5}),
    (variable_of_positions, {"a": 4}),
    (counting_variable, {"a": 4}),
    (variable_in_a_shared_model, {"a": 4}),
    (several_tensors, {"a[0:3]": 3, "a[6:9]": 3}),
    (unet, None),
    (detector, None),
    (option_a, None),
    (dense_net, None),
    (inception, None),
    (mobile, {"stem": 4, "expand": 12, "s": 4}),
    (mixed_precision, {"a": 6}),
]


@pytest.mark.parametrize(
    ("build", "expected"), MODELS, ids=[m[0].__name__ for m in MODELS]
)
def test_topology(build, expected, tmp_path):
    mixed = build is mixed_precision
    # Keras cannot load the first of these as it is; what is made of it, it can.
    saves = None if build is part_called_again else tmp_path
    channels = check(
        build(), saves=saves, tolerance=3e-2 if mixed else 2e-5, rounds=2
    )
    found = {group.name: group.size for group in channels.prunable}
    assert found, [(g.name, g.reason) for g in channels.groups]
    if expected is not None:
        assert found == expected, [(g.name, g.reason) for g in channels.groups]


def built(build):
    """`(dense, sparse, slim)` with half of every group gone."""
    dense = randomise(build())
    channels = channels_of(dense)
    alive = np.ones(channels.unit_count, bool)
    for group in channels.prunable:
        alive[group.units[: group.size // 2]] = False
    return dense, make_sparse(channels, alive), make_slim(channels, alive)


def layer_names(model):
    return [layer.name for layer in model.layers]


def test_what_is_made_of_a_part_called_again_can_be_loaded(tmp_path):
    for number, model in enumerate(built(part_called_again)[1:]):
        path = tmp_path / f"{number}.keras"
        model.save(path)
        x = [np.ones((2, 16), "float32"), np.zeros((2, 16), "float32")]
        loaded = keras.models.load_model(path)
        np.testing.assert_array_equal(to_numpy(loaded(x)), to_numpy(model(x)))


@pytest.mark.parametrize("build", [transfer, nested_twice, sequential, siamese])
def test_names_and_nesting_stay(build):
    dense, sparse, slim = built(build)
    assert_same_tree(dense, sparse)
    assert_same_tree(dense, slim)


def assert_same_tree(one, two):
    assert type(one) is type(two)
    assert one.name == two.name
    assert layer_names(one) == layer_names(two)
    for first, second in zip(one.layers, two.layers):
        if isinstance(first, keras.Model):
            assert_same_tree(first, second)


def test_shared_models_stay_shared():
    dense, sparse, slim = built(siamese)
    for model in (sparse, slim):
        assert len(model.layers) == len(dense.layers)


def test_structures_stay():
    dense, sparse, slim = built(dictionaries)
    inputs = random_inputs(dense)
    for model in (sparse, slim):
        assert set(model(inputs)) == {"sum", "y"}
        assert model.input.keys() == dense.input.keys()


def test_training_false_stays():
    for model in built(transfer):
        node = model.get_layer("backbone")._inbound_nodes[-1]
        assert node.arguments.kwargs["training"] is False


def test_frozen_backbone_stays_frozen():
    dense, _, slim = built(frozen_backbone)
    assert len(slim.trainable_variables) == len(dense.trainable_variables)
    assert not slim.get_layer("backbone").trainable


def test_the_model_keeps_no_trace():
    model = randomise(nested_twice())
    before = [len(op._inbound_nodes) for op in model._flatten_layers()]
    channels = channels_of(model)
    make_slim(channels, np.ones(channels.unit_count, bool))
    after = [len(op._inbound_nodes) for op in model._flatten_layers()]
    assert before == after


def test_an_operation_with_a_variable_trains():
    """The slim model holds it as a weight that a file keeps."""
    _, sparse, slim = built(variables_make_channels)
    for model in (sparse, slim):
        names = [v.path for v in model.trainable_variables]
        for name in ("kernel", "bias", "gain"):
            assert any(name in path for path in names)
    inputs = random_inputs(slim)
    before = outputs_of(slim, inputs)[0]
    gain = next(v for v in slim.weights if "gain" in v.path)
    gain.assign(2 * np.array(gain))
    assert np.abs(outputs_of(slim, inputs)[0] - before).max() > 1e-3


def test_masks_of_a_variable_hold():
    _, sparse, _ = built(variables_make_channels)
    sparse.compile("sgd", "mse")
    sparse.fit(random_inputs(sparse), np.ones((2, 2)), verbose=0)
    kernel = np.array(
        next(v for v in sparse.weights if v.path == "kernel/kernel")
    )
    assert kernel.shape == (6, 5)
    assert (kernel[:3] == 0).all()
    assert (kernel[:, :2] == 0).all()
    assert (kernel[3:, 2:] != 0).all()
