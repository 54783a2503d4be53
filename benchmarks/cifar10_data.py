"""CIFAR-10 for the benchmark: arrays, augmentation, comparisons."""

from __future__ import annotations

import dataclasses

import cifar10_arrays
import numpy as np


@dataclasses.dataclass(frozen=True)
class Cifar10:
    """Images are uint8 (N, 32, 32, 3), labels integers (N,).

    Attributes:
        train: Images and labels to train on.
        choosing: What is looked at to choose channels: some validation
            images and some training images, augmented.
        held_out: What nothing is chosen on: the rest of the validation
            images, then the test images.
    """

    train: tuple
    choosing: tuple
    held_out: tuple


def load(path=None, limit=None, choose=1000, seen=4000) -> Cifar10:
    """Reads `path`, or downloads the data with Keras.

    Args:
        path: See `cifar10_arrays.load`.
        limit: The most images of each part, for trials of the script.
        choose: How many validation images may be chosen on.
        seen: How many training images are looked at with them.
    """
    arrays = cifar10_arrays.load(path)
    train = arrays["x_train"][:limit], arrays["y_train"][:limit]
    rng = np.random.default_rng(0)
    seen = rng.permutation(len(train[0]))[:seen]
    # As it is trained on them: as they are, it knows them by heart.
    known = cifar10_arrays.augmented(train[0][seen].astype("float32"))
    x, y = arrays["x_val"][:limit], arrays["y_val"][:limit]
    choose = min(choose, len(x) // 2)
    held_x = np.concatenate([x[choose:], arrays["x_test"][:limit]])
    held_y = np.concatenate([y[choose:], arrays["y_test"][:limit]])
    return Cifar10(
        train,
        (
            np.concatenate([x[:choose].astype("float32"), known]),
            np.concatenate([y[:choose], train[1][seen]]),
        ),
        (held_x.astype("float32"), held_y),
    )


class Augmented:
    """Random crops of images padded by 4, half of them mirrored.

    Called with an epoch, it gives a sequence of batches of float32 pixels 0
    to 255. Everything random is a function of the seed, the epoch and the
    batch, so a resumed training sees the same images.

    Args:
        x, y: Images and labels.
        batch_size: Samples a batch; a last one that is not full is left out.
        seed: Of order, crops and mirroring.
    """

    def __init__(self, x, y, batch_size=128, seed=0):
        padded = np.pad(x, ((0, 0), (4, 4), (4, 4), (0, 0)))
        view = np.lib.stride_tricks.sliding_window_view
        self.windows = view(padded, (32, 32), axis=(1, 2))
        self.y = y
        self.batch_size = min(batch_size, len(y))
        self.seed = seed

    def __call__(self, epoch):
        rng = np.random.default_rng([self.seed, epoch])
        return _Epoch(self, epoch, rng.permutation(len(self.y)))


class _Epoch:
    def __init__(self, images, epoch, order):
        self.images = images
        self.epoch = epoch
        self.order = order

    def __len__(self):
        return len(self.order) // self.images.batch_size

    def __getitem__(self, index):
        images = self.images
        size = images.batch_size
        chosen = self.order[index * size : (index + 1) * size]
        rng = np.random.default_rng([images.seed, self.epoch, index])
        down, right = rng.integers(0, 9, (2, len(chosen)))
        x = images.windows[chosen, down, right]
        x = np.moveaxis(x, 1, -1).astype("float32")
        mirrored = rng.random(len(chosen)) < 0.5
        x[mirrored] = x[mirrored, :, ::-1]
        return x, images.y[chosen]


def correct(model, part, batch_size=500) -> np.ndarray:
    """Whether each image is classified right."""
    x, y = part
    logits = model.predict(x, batch_size=batch_size, verbose=0)
    return np.asarray(logits).argmax(-1) == y


def paired(one, other) -> tuple[float, float]:
    """Difference of two accuracies on the same images, and its standard error.

    Both in points (hundredths).
    """
    difference = one.astype("float64") - other
    error = difference.std(ddof=1) / np.sqrt(difference.size)
    return 100 * difference.mean(), 100 * error
