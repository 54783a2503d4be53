"""What masks cost a training step: masked against unmasked, both Kerases.

    python benchmarks/mask_step_time.py
    python benchmarks/mask_step_time.py --pairs 3 --steps 2 --batch 8

A CIFAR ResNet-20 (He et al., CVPR 2016, section 4.2, with 1x1 convolutions for
shortcuts), random images, SGD with momentum. Three models with the same weights
are timed in turns, a few steps each, in an order that is drawn anew each time:
unmasked; masked, at 50 % of the FLOPs; unmasked again, which says how much of a
difference is noise. Every ratio is of times next to each other; the table has
medians and the middle half of them.

Needs a machine that does nothing else.
"""

import argparse
import contextlib
import importlib
import io
import time

import numpy as np

FLAVOURS = ("keras", "tf_keras")
KINDS = ("unmasked", "masked", "unmasked again")


def build(kind):
    """ResNet-20 of one Keras."""
    layers = kind.layers

    def convolution(x, width, stride=1, size=3):
        x = layers.Conv2D(
            width, size, strides=stride, padding="same", use_bias=False
        )(x)
        return layers.BatchNormalization()(x)

    image = layers.Input((32, 32, 3))
    x = layers.ReLU()(convolution(image, 16))
    for stage, width in enumerate((16, 32, 64)):
        for block in range(3):
            stride = 2 if stage and not block else 1
            y = layers.ReLU()(convolution(x, width, stride))
            y = convolution(y, width)
            if stride > 1:
                x = convolution(x, width, stride, 1)
            x = layers.ReLU()(layers.Add()([x, y]))
    x = layers.GlobalAveragePooling2D()(x)
    return kind.Model(image, layers.Dense(10)(x))


def models(kind, ratio) -> dict:
    """The compared models, compiled alike, by name."""
    import tf_channel_prune as tcp

    kind.utils.set_random_seed(0)
    dense = build(kind)
    made = {
        "unmasked": dense,
        "masked": tcp.prune(dense, ratio),
        "unmasked again": kind.models.clone_model(dense),
    }
    made["unmasked again"].set_weights(dense.get_weights())
    for model in made.values():
        model.compile(
            kind.optimizers.SGD(0.01, momentum=0.9),
            kind.losses.SparseCategoricalCrossentropy(from_logits=True),
        )
    return made


def times(compared, batch, pairs, steps):
    """Seconds a step, shape (pairs, models), in the order of `compared`."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(batch, 32, 32, 3)).astype("float32")
    y = rng.integers(0, 10, batch)
    for model in compared:
        for _ in range(3):  # the first steps trace and allocate
            model.train_on_batch(x, y)
    found = np.empty((pairs, len(compared)))
    for row in found:
        for i in rng.permutation(len(compared)):
            start = time.perf_counter()
            for _ in range(steps):
                compared[i].train_on_batch(x, y)
            row[i] = (time.perf_counter() - start) / steps
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--flavours", nargs="+", default=FLAVOURS)
    parser.add_argument("--ratio", type=float, default=0.5)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--pairs", type=int, default=40)
    parser.add_argument("--steps", type=int, default=5, help="per turn")
    flags = parser.parse_args()
    print(
        f"Batch {flags.batch}, {flags.pairs} turns of {flags.steps} steps, "
        f"{flags.ratio:.0%} of the FLOPs masked.\n"
    )
    print("| Keras | model | ms a step | of unmasked | middle half |")
    print("|---|---|---|---|---|")
    for name in flags.flavours:
        with contextlib.redirect_stdout(io.StringIO()):
            made = models(importlib.import_module(name), flags.ratio)
        compared = [made[kind] for kind in KINDS]
        found = times(compared, flags.batch, flags.pairs, flags.steps)
        for kind, column in zip(KINDS, found.T):
            ratios = column / found[:, 0]
            low, middle, high = np.quantile(ratios, (0.25, 0.5, 0.75))
            print(
                f"| {name} | {kind} | {1e3 * np.median(column):.1f} "
                f"| {middle:.3f} | {low:.3f} to {high:.3f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
