"""Composite layers and subclassed models: opened, or left whole with reason."""

import keras
import numpy as np
import pytest
from keras import layers
from keras import ops
from model_checks import check
from model_checks import outputs_of
from model_checks import randomise

from tf_channel_prune.api import channels_of
from tf_channel_prune.graph.names import joined
from tf_channel_prune.masking import make_sparse
from tf_channel_prune.transform import make_slim
from tf_channel_prune.transform.verify import compare

IMAGE = (6, 6, 3)


class Block(layers.Layer):
    """A residual block of ordinary layers."""

    def __init__(self, width, hidden, **kwargs):
        super().__init__(**kwargs)
        self.first = layers.Conv2D(hidden, 3, padding="same", name="first")
        self.norm = layers.BatchNormalization(name="norm")
        self.second = layers.Conv2D(width, 1, name="second")
        self.drop = layers.Dropout(0.2, name="drop")

    def call(self, x, training=False):
        y = ops.relu(self.norm(self.first(x), training=training))
        return x + self.drop(self.second(y), training=training)


class OwnWeights(layers.Layer):
    """A dense layer, a scale and a shift written by hand."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units

    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1], self.units), name="w")
        self.scale = self.add_weight(shape=(self.units,), name="scale")
        self.shift = self.add_weight(
            shape=(1, 1, self.units), name="shift", initializer="ones"
        )

    def call(self, x):
        x = ops.matmul(x, self.kernel)
        return self.scale * x + ops.reshape(self.shift, (1, 1, 1, -1))


class TransposedWeight(layers.Layer):
    """What is computed from a weight alone is recorded as well."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units

    def build(self, shape):
        self.table = self.add_weight(shape=(self.units, shape[-1]), name="t")

    def call(self, x):
        return ops.relu(ops.matmul(x, ops.transpose(self.table * 2.0)))


class ListOfWeights(layers.Layer):
    def build(self, shape):
        self.gains = [
            self.add_weight(shape=(shape[-1],), name=f"gain{i}")
            for i in range(3)
        ]

    def call(self, x):
        for gain in self.gains:
            x = ops.tanh(x * (1 + gain))
        return x


class OwnConvolution(layers.Conv2D):
    """A subclass that overrides `call`."""

    def call(self, x):
        return ops.relu(super().call(x)) + 0.1


class Nested(layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.blocks = [Block(4, 5, name=f"block{i}") for i in range(2)]
        self.own = OwnWeights(6, name="own")

    def call(self, x):
        for block in self.blocks:
            x = block(x)
        return self.own(x)


class HoldsModel(layers.Layer):
    """A functional and a Sequential model inside a composite."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        inputs = keras.Input((6, 6, 4))
        x = layers.Conv2D(5, 1, activation="relu", name="in")(inputs)
        self.model = keras.Model(inputs, x, name="model")
        self.chain = keras.Sequential(
            [layers.Conv2D(3, 1, name="c1"), layers.Conv2D(4, 1, name="c2")],
            name="chain",
        )

    def build(self, shape):
        self.chain.build((None, 6, 6, 5))

    def call(self, x):
        return self.chain(self.model(x))


class TwoTensors(layers.Layer):
    """Several tensors in and out, in structures."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.one = layers.Conv2D(4, 1, name="one")
        self.two = layers.Conv2D(5, 1, name="two")

    def call(self, x):
        return {"a": self.one(x["a"]), "b": [self.two(x["b"])]}


class Windows(layers.Layer):
    """Arithmetic on the batch size, as in Swin."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.mix = layers.Dense(4, name="mix")

    def call(self, x):
        batch, height, width, channels = ops.shape(x)
        x = ops.reshape(x, (batch, height // 2, 2, width // 2, 2, channels))
        x = ops.transpose(x, (0, 1, 3, 2, 4, 5))
        x = self.mix(ops.reshape(x, (batch * height * width // 4, 4, channels)))
        x = ops.reshape(x, (batch, height // 2, width // 2, 2, 2, -1))
        x = ops.transpose(x, (0, 1, 3, 2, 4, 5))
        return ops.reshape(x, (-1, height, width, 4))


class ClassToken(layers.Layer):
    """A row that is put in front of every sample's positions."""

    def __init__(self, how, **kwargs):
        super().__init__(**kwargs)
        self.how = how

    def build(self, shape):
        self.token = self.add_weight(shape=(1, 1, shape[-1]), name="token")

    def call(self, x):
        batch = ops.shape(x)[0]
        if self.how == "tile":
            token = ops.tile(self.token, (batch, 1, 1))
        else:
            token = ops.broadcast_to(self.token, (batch, 1, x.shape[-1]))
        return ops.concatenate([token, x], axis=1)


class Positions(layers.Layer):
    """A sub-layer that is called on numbers alone."""

    def __init__(self, length, width, **kwargs):
        super().__init__(**kwargs)
        self.length = length
        self.table = layers.Embedding(length, width, name="table")

    def build(self, shape):
        self.table.build()

    def call(self, x):
        return x + self.table(ops.arange(self.length))


class Branches(layers.Layer):
    """Computes something else while training."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.one = layers.Conv2D(4, 1, name="one")

    def call(self, x, training=False):
        return self.one(x) * 2 if training else self.one(x)


class Counts(layers.Layer):
    """Changes a weight of its own."""

    def build(self, shape):
        self.calls = self.add_weight(shape=(), name="calls", trainable=False)

    def call(self, x):
        self.calls.assign(self.calls + 1)
        return x * 1.0


class Borrows(layers.Layer):
    """Uses another layer's weight by itself."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = layers.Dense(4, name="dense")

    def call(self, x):
        x = self.dense(x)
        return x + ops.sum(self.dense.kernel)


class Regularized(layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = layers.Dense(4, name="dense")

    def call(self, x):
        x = self.dense(x)
        self.add_loss(ops.sum(x))
        return x


class ActivityRegularized(layers.Layer):
    """Keras adds a loss of its outputs, which no call shows."""

    def __init__(self, activity_regularizer="l2", **kwargs):
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        self.dense = layers.Dense(4, name="dense")

    def call(self, x):
        return self.dense(x)


class Noisy(layers.Layer):
    """Another constant at every call."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = layers.Dense(4, name="dense")
        self.rng = np.random.default_rng(0)

    def call(self, x):
        return self.dense(x) + self.rng.standard_normal(4).astype("float32")


class Remembers(layers.Layer):
    """Keeps a tensor of its call."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = layers.Dense(4, name="dense")

    def call(self, x):
        self.last = self.dense(x)
        return ops.relu(self.last)


def around(*parts, channels=4):
    """Layers between a convolution `a` and a head."""
    inputs = keras.Input(IMAGE)
    x = layers.Conv2D(channels, 3, padding="same", name="a")(inputs)
    for part in parts:
        x = part(x)
    if len(x.shape) == 4:
        x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(2, name="head")(x))


def tokens(*parts):
    """Layers between an embedding of 5 positions and a head."""
    inputs = keras.Input((5, 3))
    x = layers.Dense(6, name="embed")(inputs)
    for part in parts:
        x = part(x)
    x = layers.Conv1D(2, 2, name="head")(x)
    return keras.Model(inputs, x)


def two_tensors():
    inputs = keras.Input(IMAGE)
    x = {name: layers.Conv2D(4, 1, name=name)(inputs) for name in "ab"}
    y = TwoTensors(name="t")(x)
    y = layers.Concatenate()([y["a"], y["b"][0]])
    return keras.Model(inputs, layers.Conv2D(2, 1)(y))


def called_twice():
    shared = OwnWeights(4, name="own")
    return around(lambda x: shared(ops.relu(shared(x))))


def in_a_nested_model():
    inputs = keras.Input((6, 6, 4))
    inner = keras.Model(inputs, Nested(name="n")(inputs), name="inner")
    return around(inner)


def in_a_shared_model():
    inputs = keras.Input((6, 6, 4))
    inner = keras.Model(inputs, Block(4, 5, name="b")(inputs), name="inner")
    return around(inner, inner)


def sizes(channels):
    """Sizes by name; a path is written with dots, whatever the backend."""
    dash = joined("", "")
    return {g.name.replace(dash, "."): g.size for g in channels.prunable}


OPENED = [
    (lambda: around(Block(4, 6, name="b")), {"a": 4, "b.first": 6}),
    (lambda: around(OwnWeights(5, name="o")), {"a": 4, "o.w:axis1": 5}),
    (called_twice, {"a": 4}),
    (
        lambda: around(TransposedWeight(5, name="o")),
        {"a": 4, "o.t:axis0": 5},
    ),
    (lambda: around(ListOfWeights(name="l")), {"a": 4}),
    (
        lambda: around(OwnConvolution(5, 3, name="c")),
        {"a": 4, "c.kernel:axis3": 5},
    ),
    (
        lambda: around(Nested(name="n")),
        {
            "a": 4,
            "n.block0.first": 5,
            "n.block1.first": 5,
            "n.own.w:axis1": 6,
        },
    ),
    (
        lambda: around(HoldsModel(name="h")),
        {"a": 4, "h.model/in": 5, "h.chain/c1": 3, "h.chain/c2": 4},
    ),
    (two_tensors, {"a": 4, "b": 4, "t.one": 4, "t.two": 5}),
    (lambda: around(Windows(name="w")), {"a": 4, "w.mix": 4}),
    (lambda: tokens(ClassToken("tile", name="c")), {"embed": 6}),
    (lambda: tokens(ClassToken("broadcast", name="c")), {"embed": 6}),
    (lambda: tokens(Positions(5, 6, name="p")), {"embed": 6}),
    (lambda: around(Remembers(name="r")), {"a": 4, "r.dense": 4}),
    (in_a_nested_model, None),
    (in_a_shared_model, {"a": 4, "inner/b.first": 5}),
]


@pytest.mark.parametrize(("build", "expected"), OPENED)
def test_opened(build, expected, tmp_path):
    model = build()
    before = state(model)
    channels = check(model, rounds=2)
    assert state(model) == before
    assert not channels.left_whole
    found = sizes(channels)
    if expected is not None:
        assert found == expected, [(g.name, g.reason) for g in channels.groups]
    slim = make_slim(channels, np.ones(channels.unit_count, bool))
    slim.save(tmp_path / "slim.keras")
    # Loads without any class of the user's.
    with keras.saving.custom_object_scope({}):
        loaded = keras.models.load_model(tmp_path / "slim.keras")
    assert compare(slim, loaded, inputs_of(model)).relative < 1e-6


def state(model):
    """What opening may leave behind: calls, attributes."""
    return [
        (len(op._inbound_nodes), len(op._outbound_nodes), sorted(vars(op)))
        for op in model._flatten_layers()
    ]


def inputs_of(model):
    from tf_channel_prune.graph.inputs import random_inputs

    return random_inputs(model)


WHOLE = [
    (Branches, "another path while training"),
    (Counts, "weight"),
    (Borrows, "weight"),
    (Regularized, "add_loss"),
    (ActivityRegularized, "activity regularizer"),
    (Noisy, "differs from run to run"),
]


@pytest.mark.parametrize(("cls", "reason"), WHOLE)
def test_left_whole_with_its_reason(cls, reason):
    model = around(
        layers.Conv2D(4, 1, name="b"),
        cls(name="odd"),
        layers.Conv2D(5, 1, name="c"),
    )
    # No two calls of the last ones give the same.
    look = channels_of if cls in (Noisy, Counts) else check
    channels = look(model)
    found = sizes(channels)
    assert found == {"a": 4, "c": 5}
    ((name, why),) = channels.left_whole
    assert name == "odd"
    assert reason in why


class Subclassed(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.stem = layers.Conv2D(6, 3, padding="same", name="stem")
        self.blocks = [Block(6, 5, name=f"block{i}") for i in range(2)]
        self.own = OwnWeights(7, name="own")
        self.head = layers.Dense(2, name="head")

    def call(self, x, training=False):
        x = self.stem(x)
        for block in self.blocks:
            x = block(x, training=training)
        x = ops.relu(self.own(x))
        return self.head(ops.mean(x, axis=(1, 2)))


class OfDictionaries(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.look = layers.Embedding(9, 4, name="look")
        self.mix = layers.Dense(4, activation="relu", name="mix")
        self.head = layers.Dense(2, name="head")

    def call(self, inputs):
        x = ops.mean(self.look(inputs["words"]), axis=1)
        y = self.mix(inputs["facts"])
        return {"score": self.head(x + y), "mixed": self.head(x * y)}


class OfLists(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.one = layers.Dense(4, name="one")
        self.head = layers.Dense(2, name="head")

    def call(self, inputs):
        one, two = inputs
        return self.head(self.one(one) * self.one(two)), self.head(two)


class OwnTraining(Subclassed):
    def train_step(self, data):
        return super().train_step(data)


def rows(*shape):
    return np.random.default_rng(0).standard_normal(shape).astype("float32")


def subclassed():
    model = Subclassed(name="mine")
    data = rows(3, *IMAGE)
    model(data)
    return randomise(model), data


def of_dictionaries():
    model = OfDictionaries()
    words = np.random.default_rng(0).integers(0, 9, (3, 5))
    data = {"words": words, "facts": rows(3, 4)}
    model(data)
    return randomise(model), data


def of_lists():
    model = OfLists()
    data = [rows(3, 4), rows(3, 4)]
    model(data)
    return randomise(model), data


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (
            subclassed,
            {
                "stem": 6,
                "block0.first": 5,
                "block1.first": 5,
                "own.w:axis1": 7,
            },
        ),
        (of_dictionaries, {"look": 4}),
        (of_lists, {}),
    ],
)
def test_subclassed_models(build, expected, tmp_path):
    model, data = build()
    before = outputs_of(model, data)
    kept = state(model)
    channels = channels_of(model)
    found = sizes(channels)
    assert found == expected, [(g.name, g.reason) for g in channels.groups]
    alive = np.ones(channels.unit_count, bool)
    whole = make_sparse(channels, alive)
    for one, two in zip(before, outputs_of(whole, data)):
        np.testing.assert_allclose(one, two, atol=1e-5)
    assert same_structure(model(data), whole(data))
    for group in channels.prunable:
        alive[group.units[: group.size // 2]] = False
    sparse = make_sparse(channels, alive)
    slim = make_slim(channels, alive)
    assert compare(sparse, slim, data).relative < 1e-5
    assert state(model) == kept
    slim.save(tmp_path / "slim.keras")
    loaded = keras.models.load_model(tmp_path / "slim.keras")
    assert compare(slim, loaded, data).relative < 1e-6


def same_structure(one, two):
    keras.tree.assert_same_structure(one, two)
    return True


def test_integer_inputs_are_found():
    model, _ = of_dictionaries()
    channels = channels_of(model)
    slim = make_slim(channels, np.ones(channels.unit_count, bool))
    assert str(slim.input["words"].dtype) == "int32"
    assert str(slim.input["facts"].dtype) == "float32"


def test_notes_say_what_is_lost():
    model = OwnTraining()
    model(rows(3, *IMAGE))
    notes = " ".join(channels_of(model).graph.notes)
    assert "train_step" in notes
    model, _ = subclassed()
    notes = " ".join(channels_of(model).graph.notes)
    assert "train_step" not in notes
    assert "subclass" in notes


def test_notes_are_printed_once(capsys):
    model, _ = subclassed()
    for _ in range(2):
        channels_of(model)
    assert capsys.readouterr().out.count("subclass") == 1


def masked(*parts):
    """An embedding with a mask, and an LSTM that uses what is left of it."""
    inputs = keras.Input((5,), dtype="int32")
    x = layers.Embedding(7, 6, mask_zero=True, name="embed")(inputs)
    for part in parts:
        x = part(x)
    x = layers.GlobalAveragePooling1D(name="pool")(x)
    return keras.Model(inputs, layers.Dense(2, name="head")(x))


class DropsMask(layers.Layer):
    """Operations lose the mask; Keras puts it back on the output."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True
        self.dense = layers.Dense(6, name="dense")

    def call(self, x):
        return x + self.dense(x)


class LosesMask(DropsMask):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = False


class GivesNone(DropsMask):
    """A layer that Keras cannot record as one call."""

    def call(self, x):
        return super().call(x), None


class DropsMaskInside(layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.inner = GivesNone(name="inner")
        self.look = layers.MultiHeadAttention(2, 3, name="look")

    def call(self, x):
        y, _ = self.inner(x)
        return self.look(y, y)


class PassesMask(layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = layers.Dense(6, name="dense")
        self.look = layers.MultiHeadAttention(2, 3, name="look")

    def call(self, x):
        y = self.dense(x)
        return self.look(y, y)


class TakesMask(layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = layers.Dense(6, name="dense")

    def call(self, x, mask=None):
        x = self.dense(x)
        if mask is not None:
            x = x * ops.cast(mask, x.dtype)[..., None]
        return x


@pytest.mark.parametrize(
    ("cls", "reason"),
    [
        (PassesMask, ""),
        (LosesMask, ""),
        (DropsMask, "mask"),
        (DropsMaskInside, "mask"),
        (TakesMask, ""),  # Keras records the mask as an argument
    ],
)
def test_masks_take_the_same_way(cls, reason):
    model = randomise(masked(cls(name="odd")))
    channels = channels_of(model)
    found = " ".join(why for _, why in channels.left_whole)
    assert reason in found
    assert bool(found) == bool(reason)
    words = np.array([[1, 2, 3, 0, 0], [4, 5, 0, 0, 0], [1, 2, 3, 4, 5]])
    alive = np.ones(channels.unit_count, bool)
    whole = make_sparse(channels, alive)
    assert compare(model, whole, words).relative < 1e-5
    for group in channels.prunable:
        alive[group.units[: group.size // 2]] = False
    sparse = make_sparse(channels, alive)
    slim = make_slim(channels, alive)
    assert compare(sparse, slim, words).relative < 1e-5


def test_mixed_precision_inside():
    policy = keras.DTypePolicy("mixed_bfloat16")
    model = around(
        OwnWeights(5, name="o", dtype=policy),
        lambda x: ops.cast(x, "float32"),
    )
    channels = check(model, tolerance=3e-2, gradients=False)
    found = sizes(channels)
    assert found == {"a": 4, "o.w:axis1": 5}


@keras.saving.register_keras_serializable("zoo")
def own_gelu(x):
    return keras.activations.gelu(x, approximate=True)


def shifted(x):
    return ops.sigmoid(x) * x + 0.5


def centred(x):
    return x - ops.mean(x, axis=-1, keepdims=True)


@pytest.mark.parametrize(
    "build",
    [
        lambda f: layers.Dense(5, activation=f, name="d"),
        lambda f: layers.Conv2D(5, 3, activation=f, name="d"),
        lambda f: layers.SeparableConv2D(5, 3, activation=f, name="d"),
    ],
)
@pytest.mark.parametrize("function", [own_gelu, shifted])
def test_activations_of_the_users_own(build, function, tmp_path):
    layer = build(function)
    model = around(layer, layers.Conv2D(3, 1, name="after"))
    channels = check(model)
    found = {group.name: group.size for group in channels.prunable}
    assert found["d"] == 5 and found["a"] == 4
    assert layer.activation is function
    slim = make_slim(channels, np.ones(channels.unit_count, bool))
    slim.save(tmp_path / "slim.keras")
    keras.models.load_model(tmp_path / "slim.keras")


def test_an_activation_of_the_users_own_in_a_shared_layer():
    shared = layers.Dense(4, activation=own_gelu, name="d")
    channels = check(around(lambda x: shared(shared(x))))
    assert {group.name for group in channels.prunable} == {"a"}
    alone = layers.Activation(shifted, name="act")
    channels = check(around(alone, layers.Conv2D(3, 1, name="after")))
    assert {group.name for group in channels.prunable} == {"a", "after"}


def test_an_activation_over_channels_mixes_them():
    layer = layers.Dense(5, activation=centred, name="d")
    channels = check(around(layer, layers.Conv2D(3, 1, name="after")))
    frozen = {g.name: g.reason for g in channels.groups if g.frozen}
    assert "mixes it" in frozen["d"]


def test_a_mask_keeps_the_activation_in_its_layer():
    """Operations would lose the mask."""
    layer = layers.Dense(6, activation=own_gelu, name="d")
    model = randomise(masked(layer))
    channels = channels_of(model)
    whole = make_sparse(channels, np.ones(channels.unit_count, bool))
    words = np.array([[1, 2, 3, 0, 0], [4, 5, 0, 0, 0]])
    assert compare(model, whole, words).relative < 1e-5


def test_the_same_names_in_every_reading():
    """Keras numbers recorded operations over the whole process."""
    model = around(Nested(name="n"), Windows(name="w"))
    one, two = (channels_of(model) for _ in range(2))
    names = [[node.name for node in c.graph.nodes] for c in (one, two)]
    assert names[0] == names[1]
    slims = [make_slim(c, np.ones(c.unit_count, bool)) for c in (one, two)]
    assert [op.name for op in slims[0].operations] == [
        op.name for op in slims[1].operations
    ]
