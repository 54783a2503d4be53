"""The forms that training data may have, and that they come again."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from stored_arrays import Table
from stored_arrays import in_file

from tf_channel_prune.errors import PruningError
from tf_channel_prune.finetune import Recipe
from tf_channel_prune.finetune import finetune
from tf_channel_prune.finetune.streams import Stream


def epoch_of(stream, epoch):
    return [stream.batch(epoch, index) for index in range(stream.steps)]


def test_arrays_are_shuffled_by_seed_and_epoch():
    x, y = np.arange(10), np.arange(10) * 10
    stream = Stream((x, y), 4, seed=3)
    assert stream.steps == 2  # the last two samples make no full batch
    first = epoch_of(stream, 0)
    for a, b in first:
        np.testing.assert_array_equal(b, a * 10)
    assert len({*first[0][0], *first[1][0]}) == 8
    second = [a.tolist() for a, _ in epoch_of(stream, 1)]
    assert second != [a.tolist() for a, _ in first]
    # Another process that goes on at epoch 1, in any order.
    again = Stream((x, y), 4, seed=3)
    assert again.batch(1, 1)[0].tolist() == second[1]
    assert again.batch(1, 0)[0].tolist() == second[0]
    other = Stream((x, y), 4, seed=4)
    assert [a.tolist() for a, _ in epoch_of(other, 1)] != second


def test_few_samples_make_one_batch():
    stream = Stream((np.arange(3), np.arange(3)), 128, seed=0)
    assert stream.steps == 1
    assert sorted(stream.batch(5, 0)[0].tolist()) == [0, 1, 2]


def test_functions_of_the_epoch():
    stream = Stream(lambda epoch: [epoch * 10, epoch * 10 + 1], 4, seed=0)
    assert stream.steps == 2
    assert epoch_of(stream, 1) + epoch_of(stream, 2) == [10, 11, 20, 21]


@pytest.mark.parametrize(
    "data",
    [
        (np.zeros(0), np.zeros(0)),
        (np.zeros(3), np.zeros(4)),
        [],
        iter([]),
    ],
)
def test_bad_data_are_refused(data):
    with pytest.raises(PruningError):
        Stream(data, 2, 0)


def test_an_epoch_that_runs_short_is_said():
    stream = Stream(lambda epoch: [1, 2] if epoch == 0 else [1], 4, seed=0)
    with pytest.raises(PruningError, match="Epoch 2 of the data has 1"):
        stream.batch(1, 0)


def test_what_is_read_in_order_is_made_anew_to_go_back():
    made = []

    def of(epoch):
        made.append(epoch)
        # Asked a second time, it would be in another order.
        return tf.data.Dataset.range(8).shuffle(8, seed=epoch)

    stream = Stream(of, 99, seed=0)
    first = [int(batch) for batch in epoch_of(stream, 1)]
    assert sorted(first) == list(range(8))
    assert first == [int(batch) for batch in epoch_of(stream, 1)]
    assert made == [0, 1, 1]
    short = tf.data.Dataset.range(3)
    short = short.apply(tf.data.experimental.assert_cardinality(4))
    with pytest.raises((PruningError, tf.errors.FailedPreconditionError)):
        epoch_of(Stream(lambda epoch: short, 1, seed=0), 0)


def test_lists_are_batches_where_they_hold_tuples():
    x, y = np.zeros((4, 2)), np.zeros(4)
    assert Stream([(x, y), (x, y), (x, y)], 2, seed=0).steps == 3
    assert Stream([x, y], 2, seed=0).steps == 2
    assert Stream(lambda epoch: [x, y, x], 2, seed=0).steps == 3
    with pytest.raises(PruningError, match="data has 4 parts"):
        Stream([x, x, x, y], 2, seed=0)


def test_lists_of_other_batches_are_other_data():
    x, y = np.zeros((4, 2)), np.zeros(4)
    digest = Stream([(x, y), (x, y)], 2, seed=0).digest()
    assert digest == Stream([(x, y), (x, y)], 2, seed=0).digest()
    assert digest != Stream([(x, y), (x + 1, y)], 2, seed=0).digest()


RECIPE = Recipe(0.05, epochs=2, batch_size=8)


def net(kind):
    kind.utils.set_random_seed(1)
    layers = kind.layers
    inputs = [layers.Input((3,)), layers.Input((3,))]
    hidden = layers.Concatenate()(inputs)
    hidden = layers.Dense(8, activation="relu")(hidden)
    outputs = [layers.Dense(1)(hidden), layers.Dense(2)(hidden)]
    model = kind.Model(inputs, outputs)
    model.compile("sgd", ["mse", "mse"])
    return model


def samples():
    """Two inputs and two outputs."""
    rng = np.random.default_rng(0)
    x = tuple(rng.normal(size=(32, 3)).astype("float32") for _ in range(2))
    return x, (x[0][:, :1] - x[1][:, :1], x[0][:, 1:])


def batches(epoch=0):
    found = Stream(samples(), 8, seed=0)
    return epoch_of(found, epoch)


def sequence_of(kind, found):
    class Batches(getattr(kind.utils, "PyDataset", kind.utils.Sequence)):
        def __len__(self):
            return len(found)

        def __getitem__(self, index):
            return found[index]

    return Batches()


def reader(found):
    """As tf.data does it: one after the other."""
    specs = tf.nest.map_structure(
        lambda a: tf.TensorSpec((None, *a.shape[1:]), a.dtype), found[0]
    )
    read = tf.data.Dataset.from_generator(
        lambda: iter(found), output_signature=specs
    )
    return read.apply(tf.data.experimental.assert_cardinality(len(found)))


def listed(found):
    """With lists for several inputs and None for the weights."""
    return [(list(x), list(y), None) for x, y in found]


# Other forms of the arrays above, or of the batches that they make.
FORMS = {
    "lists": lambda kind: listed([samples()])[0],
    "tensors": lambda kind: tf.nest.map_structure(tf.constant, samples()),
    "h5py": lambda kind: tf.nest.map_structure(in_file, samples()),
    "tables": lambda kind: tf.nest.map_structure(Table, samples()),
    "a list of arrays": lambda kind: list(map(list, samples())),
    "a function to arrays": lambda kind: lambda epoch: samples(),
    "to lists and None": lambda kind: lambda epoch: listed([samples()])[0],
    "to batches": lambda kind: batches,
    "to lists": lambda kind: lambda epoch: listed(batches(epoch)),
    "to PyDataset": lambda kind: lambda e: sequence_of(kind, batches(e)),
    "to tf.data": lambda kind: lambda epoch: reader(batches(epoch)),
}


@pytest.fixture(scope="module", params=[keras, tf_keras])
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def expected(kind):
    return trained(kind, samples())


def trained(kind, data):
    made = finetune(net(kind), data, recipes=RECIPE).model
    return made.get_weights()


def assert_equal(found, expected):
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("form", FORMS)
def test_all_forms_of_the_same_data_train_the_same(kind, form, expected):
    assert_equal(trained(kind, FORMS[form](kind)), expected)


def test_a_list_of_batches_is_the_same_in_every_epoch(kind):
    expected = trained(kind, lambda epoch: batches(0))
    assert_equal(trained(kind, listed(batches(0))), expected)


def test_data_that_tf_shuffles_come_again(kind, tmp_path):
    """Their seed and the global one, which is set for every epoch."""

    def shuffled(epoch):
        data = tf.data.Dataset.from_tensor_slices(samples())
        return data.shuffle(32, seed=3).batch(8)

    class Kill(kind.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if int(self.model.optimizer.iterations) == 6:
                raise RuntimeError("killed in the second epoch")

    model, how = net(kind), {"recipes": RECIPE}
    whole = finetune(model, shuffled, **how).model.get_weights()
    how["folder"] = tmp_path
    with pytest.raises(PruningError, match="killed"):
        finetune(model, shuffled, callbacks=[Kill()], **how)
    resumed = finetune(model, shuffled, **how).model
    assert_equal(resumed.get_weights(), whole)
