"""Commands in a folder with a model and functions."""

import pathlib

from tf_channel_prune import cli

ANA = ("--action=ana", "--model=dense.keras", "--workspace=space")
PRUNE = ("--action=prune", "--model=dense.keras", "--workspace=space")
RUN = (
    "--action=run",
    "--model=dense.keras",
    "--workspace=space",
    "--train=mine.py:train",
)

# The file mine.py.
FUNCTIONS = """
import beside  # a file in the same folder
import keras
import numpy as np

calls = []
x = np.random.default_rng(0).normal(size=(16, 6, 6, 2)).astype("float32")
y = x.mean((1, 2)) @ np.ones((2, 3), "float32")

def evaluate(model):
    calls.append(1)
    return -float(np.square(np.asarray(model(x)) - y).mean())

def largeness(model):
    return float(np.abs(np.asarray(model(x))).sum())

def data():
    return x, y

def wide():
    return x[:, :, :4], y

def inputs():
    return x

def exits():
    raise SystemExit(3)

def long(model):
    raise ValueError("x " * 9999)

def train(model):
    model.compile(keras.optimizers.Adam(0.01), "mse")
    model.fit(x, y, verbose=0)

def raises(model):
    raise ValueError("no data\\nhere")

def nan(model):
    return float("nan")

def text(model):
    return "good"

def revive(model):
    layer = model.get_layer("three").layer
    layer.bias.assign(np.ones(12))

number = 3
"""


def run(*arguments):
    """The exit code of a command."""
    return cli.main(["tf-channel-prune", *arguments])


def files(folder="."):
    """Every file that is no Python; a lock is empty of meaning."""
    return sorted(
        str(path)
        for path in pathlib.Path(folder).rglob("*")
        if path.is_file()
        and path.suffix not in (".py", ".pyc")
        and path.name != ".lock"
    )


def one_line(capsys):
    """What was printed, without line ends."""
    return " ".join(capsys.readouterr().out.split())
