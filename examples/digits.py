"""Prunes a small residual net on real handwritten digits, end to end.

The data are the 1,797 scans of 8x8 pixels that scikit-learn bundles (UCI,
"Optical Recognition of Handwritten Digits"). Every choice is made on the
validation part. The test part is looked at once, at the end, through the
exported models in a process that cannot import this package: see
`digits_serve.py`.

    python examples/digits.py --out runs/digits
"""

import argparse
import json
import pathlib
import shutil
import subprocess
import sys
import time

import keras
import numpy as np
from keras import layers
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import tf_channel_prune as tcp

RATIOS = (0.3, 0.5, 0.65)  # share of the baseline's FLOPs gone, by iteration
console = Console(width=80)


def load_data(seed=0):
    """Images in 0..1, shape (n, 8, 8, 1): 1,000 train, 297 val, 500 test."""
    digits = load_digits()
    x = (digits.images[..., None] / 16).astype("float32")
    x, x_test, y, y_test = train_test_split(
        x,
        digits.target,
        test_size=500,
        stratify=digits.target,
        random_state=seed,
    )
    x, x_val, y, y_val = train_test_split(
        x, y, test_size=297, stratify=y, random_state=seed
    )
    return {"train": (x, y), "val": (x_val, y_val), "test": (x_test, y_test)}


def normalized(x):
    # 32 steps an epoch are too few for Keras' momentum of 0.99.
    return layers.BatchNormalization(momentum=0.9)(x)


def convolution(x, filters, size):
    x = layers.Conv2D(filters, size, padding="same", use_bias=False)(x)
    return layers.ReLU()(normalized(x))


def residual(x, filters):
    y = convolution(x, filters, 3)
    y = layers.Conv2D(filters, 3, padding="same", use_bias=False)(y)
    return layers.ReLU()(layers.Add()([x, normalized(y)]))


def depthwise(x, filters):
    x = layers.DepthwiseConv2D(3, strides=2, padding="same", use_bias=False)(x)
    return convolution(layers.ReLU()(normalized(x)), filters, 1)


def build_model():
    image = keras.Input((8, 8, 1), name="image")
    x = convolution(image, 48, 3)
    x = residual(x, 48)
    x = depthwise(x, 96)
    x = layers.Concatenate()([convolution(x, 48, 1), convolution(x, 48, 3)])
    x = residual(x, 96)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, layers.Dense(10, name="logits")(x), name="digits")


def train(model, data, epochs, rate, title):
    """Trains, and keeps the weights of the best epoch on validation data."""
    steps = epochs * -(-len(data["train"][0]) // 32)
    rate = keras.optimizers.schedules.CosineDecay(rate, steps)
    model.compile(
        optimizer=keras.optimizers.Adam(rate),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    best = keras.callbacks.EarlyStopping(
        "val_loss", patience=epochs, restore_best_weights=True
    )
    with Progress(console=console) as progress:
        task = progress.add_task(f"{title:<24}", total=epochs)
        step = keras.callbacks.LambdaCallback(
            on_epoch_end=lambda epoch, logs: progress.advance(task)
        )
        model.fit(
            *data["train"],
            validation_data=data["val"],
            epochs=epochs,
            verbose=0,
            callbacks=[step, best],
        )


def score(model, examples):
    """Minus the loss: finer than the accuracy on a few hundred images."""
    x, y = examples
    logits = model.predict(x, batch_size=len(x), verbose=0)
    loss = keras.losses.sparse_categorical_crossentropy(y, logits, True)
    return -float(np.mean(loss))


def serve(folder, base, slim, test):
    """Exports both models and measures them in a process without tcp."""
    np.savez(folder / "test.npz", x=test[0], y=test[1])
    for name, model in (("baseline", base), ("slim", slim)):
        model.export(folder / name, verbose=False)
    script = pathlib.Path(__file__).with_name("digits_serve.py")
    subprocess.run([sys.executable, script, folder], check=True)
    report = json.loads((folder / "report.json").read_text())
    for name, model in (("baseline", base), ("slim", slim)):
        cost = tcp.cost(model)
        files = (folder / name).rglob("*")
        report[name] |= {
            "flops": cost.flops,
            "params": cost.params,
            "bytes": sum(f.stat().st_size for f in files if f.is_file()),
        }
    return report


def print_table(report):
    base, slim = report["baseline"], report["slim"]
    table = Table(title="Handwritten digits, 500 test images")
    for name in ("", "baseline", "slim", "change"):
        table.add_column(name, justify="right" if name else "left")

    def row(title, key, scale, form):
        table.add_row(
            title,
            format(base[key] * scale, form),
            format(slim[key] * scale, form),
            f"{slim[key] / base[key] - 1:+.1%}",
        )

    points = 100 * (slim["accuracy"] - base["accuracy"])
    shares = [f"{r['accuracy']:.1%}" for r in (base, slim)]
    table.add_row("test accuracy", *shares, f"{points:+.1f} points")
    row("MFLOPs (a multiply-add is 2)", "flops", 1e-6, ".2f")
    row("parameters", "params", 1, ",d")
    row("SavedModel, kB", "bytes", 1e-3, ".0f")
    row("latency, batch 1, ms", "latency_1", 1e3, ".3f")
    row("latency, batch 64, ms", "latency_64", 1e3, ".3f")
    gap = f"{report['difference']:.1e}"
    table.add_row("largest output difference", "", gap, "sparse/slim")
    console.print(table)


def main(folder, epochs=30, tuning_epochs=20):
    keras.utils.set_random_seed(0)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    data = load_data()
    base = build_model()
    train(base, data, epochs, 2e-3, "train the baseline")

    pruner = tcp.Pruner(base, workspace=folder / "workspace")
    pruner.ana(lambda model: score(model, data["val"]))
    sparse = None
    for step, ratio in enumerate(RATIOS, start=1):
        sparse = pruner.prune(ratio=ratio, model=sparse)
        title = f"iteration {step}: -{ratio:.0%} FLOPs"
        train(sparse, data, tuning_epochs, 1e-3, title)
    slim = pruner.transform(sparse, samples=data["val"][0])

    report = serve(folder, base, slim, data["test"])
    outputs = sparse.predict(data["test"][0], verbose=0)
    served = np.load(folder / "slim_outputs.npy")
    report["difference"] = float(np.abs(outputs - served).max())
    return report


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=pathlib.Path, default="runs/digits")
    started = time.monotonic()
    print_table(main(parser.parse_args().out))
    console.print(f"{time.monotonic() - started:.0f} s in all.")
