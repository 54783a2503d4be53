"""From a trained float model to a small int8 file, measured at each stage.

Channel pruning, fine-tuning, then int8 in two ways: after training (LiteRT
measures ranges on some inputs) and by quantization-aware training
(tensorflow-model-optimization). Every accuracy is what the LiteRT interpreter
says of the file on the test images, which nothing was chosen on.

    python examples/prune_then_quantize.py
    python examples/prune_then_quantize.py --cifar cifar10.npz --model R.keras

Without `--cifar`: the handwritten digits of scikit-learn and the model of
`digits.py`, a few minutes. With it: an .npz file with uint8 images (N, 32, 32,
3) x_train, x_val, x_test and labels y_train, y_val, y_test, and a trained Keras
model that takes pixels 0 to 255 and gives logits.
"""

import argparse
import pathlib
import time

import digits
import keras
import numpy as np
import tf_keras
from rich.console import Console
from rich.table import Table

import tf_channel_prune as tcp

console = Console(width=80)


def load_cifar(path, limit=None):
    """Images as float32 pixels 0 to 255, at most `limit` of each part."""
    with np.load(path) as file:
        return {
            part: (
                file[f"x_{part}"][:limit].astype("float32"),
                file[f"y_{part}"][:limit].astype("int64"),
            )
            for part in ("train", "val", "test")
        }


def shifted(x, rng):
    """Images moved by up to four pixels, half of them mirrored."""
    padded = np.pad(x, ((0, 0), (4, 4), (4, 4), (0, 0)))
    made = np.empty_like(x)
    side = x.shape[1]
    for i, (down, right) in enumerate(rng.integers(0, 9, (len(x), 2))):
        made[i] = padded[i, down : down + side, right : right + side]
    mirrored = rng.random(len(x)) < 0.5
    made[mirrored] = made[mirrored, :, ::-1]
    return made


def train(model, data, epochs, rate, augment=None, batch_size=32):
    """Trains, and keeps the weights of the best epoch on validation data."""
    kind = keras if isinstance(model, keras.Model) else tf_keras
    x, y = data["train"]
    steps = epochs * -(-len(x) // batch_size)
    model.compile(
        kind.optimizers.Adam(
            kind.optimizers.schedules.CosineDecay(rate, steps)
        ),
        kind.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    rng = np.random.default_rng(0)
    least, best = np.inf, None
    for _ in range(epochs):
        images = x if augment is None else augment(x, rng)
        model.fit(images, y, batch_size=batch_size, verbose=0)
        loss = model.evaluate(*data["val"], batch_size=500, verbose=0)
        if loss < least:
            least, best = loss, model.get_weights()
    model.set_weights(best)


class Stages:
    """Writes a file at each stage, and measures it.

    Attributes:
        rows: By stage: accuracy, bytes and FLOPs.
    """

    def __init__(self, folder, test):
        self.folder = folder
        self.test = test
        self.rows = {}
        self.started = time.monotonic()

    def add(self, title, model, flops, **how):
        """Writes `title.tflite`; `how` goes to `tcp.export.litert`."""
        x, y = self.test
        file = self.folder / f"{title.replace(' ', '_')}.tflite"
        tcp.export.litert(model, file, **how)
        logits = tcp.export.predict_litert(file, x)
        self.rows[title] = {
            "accuracy": float((logits.argmax(-1) == y).mean()),
            "bytes": file.stat().st_size,
            "flops": flops,
        }
        seconds = time.monotonic() - self.started
        console.print(f"{seconds:5.0f} s  {title}", highlight=False)


def pipeline(
    base, data, folder, ratio, tuning, aware_tuning, augment=None, batch=32
):
    """The way from a trained model to int8 files.

    Args:
        base: The trained model.
        data: Images and labels by part: train, val and test.
        folder: For the files.
        ratio: The share of the FLOPs to remove.
        tuning: Epochs of fine-tuning the sparse model.
        aware_tuning: Epochs of quantization-aware training.
        augment: Function of images and a generator that gives images.
        batch: Images a training step.

    Returns:
        The measured stages, in order.
    """
    stages = Stages(folder, data["test"])
    some = data["train"][0][:200]  # activation ranges are measured on these
    dense_flops = tcp.cost(base).flops
    stages.add("baseline float", base, dense_flops)
    stages.add("baseline int8", base, dense_flops, quantize="int8", data=some)

    sparse = tcp.prune(base, ratio)
    flops = tcp.cost(tcp.transform(sparse)).flops
    stages.add("pruned float", tcp.transform(sparse), flops)
    train(sparse, data, tuning, 1e-3, augment, batch)
    slim = tcp.transform(sparse, samples=some)
    stages.add("tuned float", slim, flops)
    stages.add("tuned int8", slim, flops, quantize="int8", data=some)

    aware = tcp.export.quantize(slim)
    train(aware, data, aware_tuning, 3e-4, augment, batch)
    stages.add("tuned int8 aware", aware, flops)
    return stages.rows


def print_table(rows, title):
    table = Table(title=title)
    table.add_column("stage")
    for name in ("MFLOPs", "file, kB", "of baseline", "test accuracy"):
        table.add_column(name, justify="right")
    full = next(iter(rows.values()))["bytes"]
    for stage, row in rows.items():
        table.add_row(
            stage,
            f"{row['flops'] / 1e6:.2f}",
            f"{row['bytes'] / 1e3:.1f}",
            f"{row['bytes'] / full:.0%}",
            f"{row['accuracy']:.1%}",
        )
    console.print(table)


def on_digits(folder, ratio=0.5, epochs=20, tuning=15, aware_tuning=5):
    data = digits.load_data()
    keras.utils.set_random_seed(0)
    base = digits.build_model()
    train(base, data, epochs, 2e-3)
    return pipeline(base, data, folder, ratio, tuning, aware_tuning)


def on_cifar(folder, data, model, ratio=0.5, tuning=4, aware_tuning=2):
    keras.utils.set_random_seed(0)
    base = keras.models.load_model(model)
    return pipeline(
        base, data, folder, ratio, tuning, aware_tuning, shifted, 128
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=pathlib.Path, default="runs/quantized")
    parser.add_argument("--cifar", help="images, an .npz file")
    parser.add_argument("--model", help="a trained model for them")
    parser.add_argument("--ratio", type=float, default=0.5)
    parser.add_argument("--limit", type=int, help="images of each part")
    flags = parser.parse_args()
    if bool(flags.cifar) != bool(flags.model):
        parser.error("--cifar and --model go together")
    flags.out.mkdir(parents=True, exist_ok=True)
    if flags.cifar:
        data = load_cifar(flags.cifar, flags.limit)
        rows = on_cifar(flags.out, data, flags.model, flags.ratio)
        title = f"CIFAR-10, {len(data['test'][1])} test images"
    else:
        rows = on_digits(flags.out, flags.ratio)
        title = "Handwritten digits, 500 test images"
    print_table(rows, title)


if __name__ == "__main__":
    main()
