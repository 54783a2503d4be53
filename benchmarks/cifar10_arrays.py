"""CIFAR-10 for benchmarks: from a file, else from `keras.datasets`."""

import numpy as np


def load(path=None):
    """Arrays by name: x_train, y_train, x_val, y_val, x_test, y_test.

    Args:
        path: An .npz file with those arrays, uint8 images (N, 32, 32, 3) and
            labels (N,). Without it the data are downloaded; the last 5,000
            training images are then held out.
    """
    if path:
        with np.load(path) as file:
            return {name: file[name] for name in file.files}
    import keras

    (x, y), (x_test, y_test) = keras.datasets.cifar10.load_data()
    return {
        "x_train": x[:45000],
        "y_train": y[:45000, 0],
        "x_val": x[45000:],
        "y_val": y[45000:, 0],
        "x_test": x_test,
        "y_test": y_test[:, 0],
    }


def some(data, count, seed):
    """A random choice of training images, as they are, and their labels."""
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(len(data["x_train"]))[:count]
    return (
        data["x_train"][chosen].astype("float32"),
        data["y_train"][chosen].astype("int64"),
    )


def augmented(images, seed=0):
    """Shifted by up to four pixels and flipped, as in training; float32."""
    rng = np.random.default_rng(seed)
    padded = np.pad(images, ((0, 0), (4, 4), (4, 4), (0, 0)))
    shifts = rng.integers(0, 9, (len(images), 2))
    flips = rng.random(len(images)) < 0.5
    made = np.empty(images.shape, "float32")
    for i, (top, left) in enumerate(shifts):
        crop = padded[i, top : top + 32, left : left + 32]
        made[i] = crop[:, ::-1] if flips[i] else crop
    return made
