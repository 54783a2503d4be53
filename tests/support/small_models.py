"""Models that are built in no time, and what to score them with."""

import keras
import numpy as np


def residual(seed=1, names=("one", "two", "three")):
    """Two convolutions that are added, one of 12 channels, and a head."""
    keras.utils.set_random_seed(seed)
    layers = keras.layers
    image = keras.Input((6, 6, 2), name="image")
    x = layers.Conv2D(8, 3, padding="same", name=names[0])(image)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.ReLU(name="relu")(x)
    y = layers.Conv2D(8, 3, padding="same", name=names[1])(x)
    x = layers.Add(name="add")([x, y])
    x = layers.Conv2D(12, 3, activation="relu", name=names[2])(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    model = keras.Model(image, layers.Dense(3, name="head")(x))
    rng = np.random.default_rng(seed)
    norm = model.get_layer("norm")
    norm.gamma.assign(rng.uniform(0.5, 1.5, 8))
    norm.beta.assign(rng.normal(size=8))
    return model


def images(count=16):
    rng = np.random.default_rng(0)
    return rng.normal(size=(count, 6, 6, 2)).astype("float32")


def closeness(model):
    """A score: how close the outputs are to those of the model as it is."""
    x = images()
    wanted = np.asarray(model(x))

    def evaluate(other):
        return -float(np.square(np.asarray(other(x)) - wanted).mean())

    return evaluate


def kept(pruner):
    """The units that a pruner's last plan keeps, a set by group."""
    return {name: set(k) for name, k in pruner.plan.kept.items()}
