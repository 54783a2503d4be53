"""What goes wrong, in silence, in other pruners: here it does not."""

import keras
import numpy as np
import pytest
from keras import layers
from keras import ops
from model_checks import check
from model_checks import outputs_of
from model_checks import randomise

import tf_channel_prune as tcp
from tf_channel_prune.api import channels_of
from tf_channel_prune.channels import groups
from tf_channel_prune.graph.inputs import random_inputs
from tf_channel_prune.masking import make_sparse
from tf_channel_prune.transform import make_slim

IMAGE = (6, 6, 3)


def conv(x, filters, name, **options):
    return layers.Conv2D(filters, 3, padding="same", name=name, **options)(x)


def head(x):
    return layers.Dense(2, name="head")(layers.GlobalAveragePooling2D()(x))


def sizes(channels):
    return {group.name: group.size for group in channels.prunable}


def model_of(function):
    inputs = keras.Input(IMAGE)
    return keras.Model(inputs, function(inputs))


def test_flattened_branches_are_not_coupled():
    """1. Two branches flattened, concatenated, then Dense."""

    def build(x):
        a = layers.Flatten()(conv(x, 4, "a"))
        b = layers.Flatten()(conv(x, 5, "b"))
        return layers.Dense(2)(layers.Concatenate()([a, b]))

    assert sizes(check(model_of(build), rounds=3)) == {"a": 4, "b": 5}


@pytest.mark.parametrize("groups", [2, 3])
def test_channel_shuffle(groups):
    """2. A shuffle is not element-wise: its columns go together."""

    def build(x):
        x = conv(x, 12, "a")
        x = layers.Reshape((6, 6, groups, 12 // groups))(x)
        x = layers.Permute((1, 2, 4, 3))(x)
        x = layers.Reshape((6, 6, 12))(x)
        return head(conv(x, 4, "b"))

    found = sizes(check(model_of(build), rounds=3))
    assert found == {"a": 12 // min(groups, 12 // groups), "b": 4}


def test_gate_of_one_channel():
    """3. The gate stays, what it gates is pruned."""

    def build(x):
        x = conv(x, 6, "a")
        gate = layers.Conv2D(1, 1, activation="sigmoid", name="gate")(x)
        return head(x * gate)

    assert sizes(check(model_of(build), rounds=3)) == {"a": 6}


@pytest.mark.parametrize(
    "join",
    [
        layers.Add(),
        layers.Average(),
        layers.Maximum(),
        layers.Multiply(),
        lambda parts: parts[0] + parts[1] + parts[2],
        lambda parts: ops.maximum(ops.maximum(parts[0], parts[1]), parts[2]),
        lambda parts: ops.multiply(parts[0], parts[1]) - parts[2],
        lambda parts: ops.where(parts[0] > 0, parts[1], parts[2]),
    ],
)
def test_all_inputs_are_united_in_every_form(join):
    """4 and 11. Layers, operators and functions, with three inputs."""

    def build(x):
        return head(join([conv(x, 5, name) for name in "abc"]))

    channels = check(model_of(build), rounds=2)
    (group,) = channels.prunable
    assert group.size == 5
    assert set(group.layers) == {"a", "b", "c"}


def test_outputs_keep_their_channels():
    """5. A fully convolutional net's last convolution stays."""

    def build(x):
        return conv(conv(x, 6, "a"), 4, "b")

    assert sizes(check(model_of(build))) == {"a": 6}


REVIVING = {
    "a bias": lambda x: conv(x, 6, "a", bias_initializer="ones"),
    "a beta": lambda x: layers.BatchNormalization()(conv(x, 6, "a")),
    "sigmoid": lambda x: ops.sigmoid(conv(x, 6, "a")),
    "x + 1": lambda x: conv(x, 6, "a") + 1,
    "an offset": lambda x: layers.Rescaling(1, 2)(conv(x, 6, "a")),
}


@pytest.mark.parametrize("revive", REVIVING.values(), ids=REVIVING)
def test_masked_channels_do_not_come_back(revive):
    """6. What a masked channel carries does not reach the outputs."""
    model = randomise(model_of(lambda x: head(conv(revive(x), 4, "b"))))
    channels = channels_of(model)
    alive = np.ones(channels.unit_count, bool)
    group = next(g for g in channels.prunable if g.name == "a")
    alive[group.units[1:4]] = False
    sparse = make_sparse(channels, alive)
    inputs = random_inputs(sparse)
    before = outputs_of(sparse, inputs)[0]
    slim = outputs_of(make_slim(channels, alive), inputs)[0]
    np.testing.assert_allclose(before, slim, atol=1e-5)
    # Whatever the masked channels hold: the weights behind them are zero.
    kernel = sparse.get_layer("b").layer.kernel
    assert (np.array(kernel)[:, :, 1:4] == 0).all()


def test_adding_the_input_freezes():
    """7. Add(Input, conv): the input's channels cannot go."""

    def build(x):
        return head(conv(x + conv(x, 3, "a"), 4, "b"))

    channels = check(model_of(build))
    assert sizes(channels) == {"b": 4}
    (reason,) = [g.reason for g in channels.groups if g.name == "a"]
    assert "input" in reason


def test_concatenation_then_addition():
    """8. Each half of the joined channels meets its own half."""

    def build(x):
        joined = layers.Concatenate()([conv(x, 4, "a"), conv(x, 4, "b")])
        return head(joined + conv(x, 8, "c"))

    channels = check(model_of(build), rounds=3)
    assert {group.layers: group.size for group in channels.prunable} == {
        ("a", "c"): 4,
        ("b", "c"): 4,
    }


def test_splits_and_slices():
    """9. Parts of the channels meet other parts."""

    def build(x):
        x = conv(x, 8, "a")
        one, two = ops.split(x, 2, axis=-1)
        x = layers.Concatenate()([one * two, x[..., 6:], x[..., :2]])
        x = ops.nn.depth_to_space(x, 2)
        return head(conv(x, 3, "b"))

    check(model_of(build), rounds=3)


def test_shared_layer():
    """10. One layer, two calls, one set of weights."""

    def build(x):
        shared = layers.Conv2D(3, 3, padding="same", name="shared")
        return head(conv(shared(ops.tanh(shared(x))), 4, "b"))

    model = model_of(build)
    channels = check(model, rounds=3)
    assert sizes(channels) == {"b": 4}
    slim = make_slim(channels, np.ones(channels.unit_count, bool))
    assert len(slim.weights) == len(model.weights)


def test_the_inside_of_blocks_is_pruned():
    """12. A residual net is pruned inside its blocks and along its stream."""

    def build(x):
        x = conv(x, 6, "stem")
        for i in range(2):
            x = x + conv(ops.relu(conv(x, 8, f"in{i}")), 6, f"out{i}")
        return head(x)

    found = sizes(check(model_of(build), rounds=3))
    assert found == {"stem": 6, "in0": 8, "in1": 8}


def plain(x):
    return head(conv(ops.relu(conv(x, 8, "a")), 6, "b"))


def test_labels_are_made_once_a_model(monkeypatch):
    """24. Not again for every group, candidate or query."""
    walks = []

    def walk(*args, **kwargs):
        walks.append(args)
        return original(*args, **kwargs)

    original = groups.walk
    monkeypatch.setattr(groups, "walk", walk)
    model = randomise(model_of(plain))
    sparse = tcp.prune(model, ratio=0.5)
    assert len(walks) == 1
    tcp.transform(sparse)
    assert len(walks) == 2


def test_masks_are_vectors():
    """25. One entry per position of an axis, not one per weight."""
    sparse = make_sparse(channels_of(model_of(plain)))
    masks = [w for w in sparse.weights if w.path.endswith("_mask")]
    assert masks and all(len(mask.shape) == 1 for mask in masks)
