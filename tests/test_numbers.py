"""NumPy's numbers are as good as Python's, wherever users give them."""

import numpy as np
import pytest
from small_models import residual

import tf_channel_prune as tcp
from tf_channel_prune.finetune import Target
from tf_channel_prune.numbers import plain
from tf_channel_prune.planning import Limits
from tf_channel_prune.planning import Request


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (np.float32(0.5), 0.5),
        (np.float64(0.5), 0.5),
        (np.int64(3), 3),
        (True, True),
        (None, None),
        ("auto", "auto"),
        ({"a": np.float16(0.25), "b": [np.uint8(1)]}, {"a": 0.25, "b": [1]}),
        ((np.int32(1), "x"), (1, "x")),
    ],
)
def test_plain(given, expected):
    made = plain(given)
    # The text too: names of files and digests are made of it.
    assert made == expected and repr(made) == repr(expected)


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (tcp.Recipe(np.float32(0.5)), tcp.Recipe(0.5)),
        (tcp.Recipe(epochs=np.int64(1)), tcp.Recipe(epochs=1)),
        (tcp.Distill(weight=np.float32(0.5)), tcp.Distill(weight=0.5)),
        (Target(np.float32(0.5)), Target(0.5)),
        (Target(max_drop=np.float64(0.5)), Target(max_drop=0.5)),
        (Limits(max_ratio=np.float32(0.5)), Limits(max_ratio=0.5)),
        (Request(np.float32(0.5)), Request(0.5)),
        (
            Request({"params": np.int64(1500)}),
            Request({"params": 1500}),
        ),
    ],
)
def test_what_is_asked_is_the_same(made, expected):
    assert repr(made) == repr(expected)


@pytest.mark.parametrize(
    ("asked", "plainly"),
    [
        ({"ratio": np.float32(0.5)}, {"ratio": 0.5}),
        (
            {"ratio": {"params": np.int64(700)}},
            {"ratio": {"params": 700}},
        ),
        (
            {
                "ratio": np.float64(0.25),
                "min_channels": {"one": np.int64(4)},
                "max_ratio": np.float32(0.75),
                "divisor": np.int64(2),
                "allocation": {"three": np.float32(0.5)},
            },
            {
                "ratio": 0.25,
                "min_channels": {"one": 4},
                "max_ratio": 0.75,
                "divisor": 2,
                "allocation": {"three": 0.5},
            },
        ),
    ],
)
def test_plans_of_numpy_numbers_are_the_same_files(tmp_path, asked, plainly):
    pruner = tcp.Pruner(residual(), tmp_path)
    pruner.prune(**asked)
    first = pruner.plan_path
    pruner.prune(**plainly)
    assert pruner.plan_path == first


def test_a_search_and_a_run_take_numpy_numbers(tmp_path):
    x = np.random.default_rng(0).normal(size=(8, 6, 6, 2)).astype("float32")
    pruner = tcp.Pruner(residual(), tmp_path)

    def evaluate(model):
        return np.float32(-np.square(np.asarray(model(x))).mean())

    pruner.ana(evaluate, [np.float32(0.5)], progress=False)
    pruner.prune(threshold=np.float32(1e-3))
    pruner.search(
        evaluate,
        x,
        np.float32(0.25),
        candidates=np.int64(2),
        seed=np.int64(1),
        samples=np.int64(8),
        progress=False,
    )
    for kind in (np.float32, float):
        whole = int if kind is float else np.int64
        pruner.run(
            train=lambda model: None,
            evaluate=evaluate,
            ratio=kind(0.25),
            tolerance=kind(9),
            rounds=whole(1),
            seed=whole(1),
            limits={"divisor": whole(1), "min_channels": {"*": whole(2)}},
            progress=False,
        )
    assert len(list(tmp_path.glob("runs/*"))) == 1


def test_finetuning_takes_numpy_numbers(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(8, 6, 6, 2)).astype("float32")
    y = rng.normal(size=(8, 3)).astype("float32")
    pruner = tcp.Pruner(residual(), tmp_path)
    sparse = pruner.prune(0.25)
    for kind, whole in ((np.float32, np.int64), (float, int)):
        pruner.finetune(
            sparse,
            (x, y),
            recipes=tcp.Recipe(kind(0.0625), epochs=whole(1)),
            loss="mse",
            seed=whole(3),
            distill=tcp.Distill(weight=kind(0.5)),
            progress=False,
        )
    assert len(list(tmp_path.glob("finetune/*/*"))) == 1
