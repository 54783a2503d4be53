"""Data that do not fit are one sentence, whatever looks at them."""

import keras
import numpy as np
import pytest
import tf_keras
from small_models import images
from small_models import residual
from stored_arrays import Table
from stored_arrays import in_file

import tf_channel_prune as tcp
from tf_channel_prune import graph as graphs
from tf_channel_prune.errors import PruningError
from tf_channel_prune.errors import what_it_says
from tf_channel_prune.graph import run as running
from tf_channel_prune.graph.data import batches

Y = np.arange(16) % 3
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


@pytest.mark.parametrize(
    "look",
    [
        lambda model, data: tcp.prune(model, 0.4, data=data, loss=LOSS),
        lambda model, data: tcp.prune(
            model,
            0.4,
            "flops",
            "taylor",
            data=data,
            loss=LOSS,
            allocation="global",
        ),
        lambda model, data: tcp.prune(
            model, 0.4, "flops", "apoz", data=data, allocation="global"
        ),
        lambda model, data: tcp.recalibrate(model, data),
    ],
    ids=["thinet", "taylor", "apoz", "recalibrate"],
)
@pytest.mark.parametrize(
    ("x", "message"),
    [
        (images()[:, :4], r"shape \(4, 6, 2\).*takes \(6, 6, 2\)"),
        (images()[..., :1], "do not fit the model's inputs"),
        (images()[:, 0], "do not fit the model's inputs"),
        (np.full(16, "text"), "do not fit the model's inputs"),
        (images().tolist(), "Data are arrays"),
    ],
    ids=["height", "channels", "rank", "text", "lists"],
)
def test_inputs_that_do_not_fit(look, x, message):
    with pytest.raises(PruningError, match=message):
        look(residual(), (x, Y))


@pytest.mark.parametrize("criterion", ["thinet", "taylor"])
@pytest.mark.parametrize("y", [Y + 9, Y[:, None, None] * np.ones((1, 5, 7))])
def test_targets_that_do_not_fit(criterion, y):
    allocation = None if criterion == "thinet" else "global"
    with pytest.raises(PruningError, match="Do the targets fit"):
        tcp.prune(
            residual(),
            0.4,
            criterion=criterion,
            data=(images(), y),
            loss=LOSS,
            allocation=allocation,
        )


@pytest.mark.parametrize("loss", ["nonsense", 5])
def test_no_such_loss(loss):
    with pytest.raises(PruningError, match=f"loss={loss!r} is no loss"):
        tcp.prune(residual(), 0.4, data=(images(), Y), loss=loss)


def test_tf_keras_inputs_that_do_not_fit():
    model = tf_keras.Sequential(
        [tf_keras.Input((4,)), tf_keras.layers.Dense(3)]
    )
    graph = graphs.read(model)
    assert list(running.inputs(graph, np.ones((2, 4)))) == graph.inputs
    for x in (np.ones((2, 5)), np.ones(2), [np.ones((2, 4))] * 2):
        with pytest.raises(PruningError, match="do not fit the model's inputs"):
            running.inputs(graph, x)


GRAPH_ERROR = """Graph execution error:

Detected at node compile_loss/x defined at (most recent call last):
  File "mine.py", line 3, in <module>

    model.fit(x, y)

Received a label value of 12 which is outside the valid range of [0, 4).
\t [[{{node compile_loss/x}}]] [Op:__inference_7]"""
USER_CODE = """in user code:

    File "training.py", line 1381, in step_function  **
        outputs = model.distribute_strategy.run(run_step, args=(data,))

    ValueError: Shapes (32, 1) and (32, 4) are incompatible
"""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            GRAPH_ERROR,
            "Received a label value of 12 which is outside the valid "
            "range of [0, 4).",
        ),
        (USER_CODE, "Shapes (32, 1) and (32, 4) are incompatible"),
        ("Graph execution error:\n", "Graph execution error:"),
        ("Exception encountered when calling A.call().\n\nno", "no"),
        ("one\ntwo", "one"),
        ("", "ValueError"),
    ],
)
def test_what_another_library_says(text, said):
    assert what_it_says(ValueError(text)) == said


@pytest.mark.parametrize("form", [in_file, Table], ids=["h5py", "table"])
@pytest.mark.parametrize("limit", [None, 9])
def test_samples_are_the_same_ones_in_any_form(form, limit):
    arrays = np.arange(48.0).reshape(16, 3), np.arange(32).reshape(16, 2)
    expected = list(batches(arrays, 4, limit, seed=3))
    found = list(batches(tuple(map(form, arrays)), 4, limit, seed=3))
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one[0], other[0])
        np.testing.assert_array_equal(one[1], other[1])
