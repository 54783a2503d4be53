"""How long reading and grouping take, and how they grow with a model.

    python benchmarks/read_time.py

Models of `keras.applications`, and families of made-up models of growing
depth: what is in proportion to the number of nodes keeps its time per node.
Every figure is the best of `--repeats` runs in one process, in wall-clock
seconds.
"""

import argparse
import time

MODELS = ("DenseNet201", "EfficientNetB7", "ConvNeXtXLarge")
DEPTHS = (50, 100, 200, 400)


def chain(depth):
    """Convolutions in a row."""
    from keras import layers

    return lambda x: _repeated(
        x, depth, lambda x: layers.ReLU()(layers.Conv2D(8, 1)(x))
    )


def residual(depth):
    """One stream that every block adds to: one group of channels."""
    from keras import layers

    def block(x):
        return x + layers.Conv2D(8, 1)(layers.ReLU()(layers.Conv2D(6, 1)(x)))

    return lambda x: _repeated(layers.Conv2D(8, 1)(x), depth, block)


def dense(depth):
    """Every block adds channels to those before it; widths grow too."""
    from keras import layers

    def block(x):
        return layers.Concatenate()([x, layers.Conv2D(2, 1)(x)])

    return lambda x: _repeated(x, depth, block)


def nested(depth):
    """Models inside a model."""
    import keras
    from keras import layers

    def block(x):
        inputs = keras.Input(x.shape[1:])
        return keras.Model(inputs, layers.Conv2D(8, 1)(inputs))(x)

    return lambda x: _repeated(x, depth, block)


def opened(depth):
    """Composite layers, opened one by one."""
    from keras import layers

    class Block(layers.Layer):
        def __init__(self, width):
            super().__init__()
            self.inner = layers.Dense(width)

        def build(self, shape):
            self.inner.build(shape)

        def call(self, x):
            return x + self.inner(x)

    return lambda x: _repeated(x, depth, lambda x: Block(x.shape[-1])(x))


FAMILIES = {f.__name__: f for f in (chain, residual, dense, nested, opened)}


def _repeated(x, depth, block):
    for _ in range(depth):
        x = block(x)
    return x


def build(body):
    import keras
    from keras import layers

    inputs = keras.Input((4, 4, 3))
    x = layers.GlobalAveragePooling2D()(body(inputs))
    return keras.Model(inputs, layers.Dense(2)(x))


def timed(model, repeats):
    """Seconds to read and group a model, and its number of nodes."""
    from tf_channel_prune.api import channels_of

    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        channels = channels_of(model)
        best = min(best, time.perf_counter() - start)
    return best, len(channels.graph.nodes)


def say(name, model, repeats):
    seconds, nodes = timed(model, repeats)
    each = 1000 * seconds / nodes
    print(f"{name:20} {nodes:6} {seconds:8.3f} {each:8.2f}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="*", default=MODELS)
    parser.add_argument("--families", nargs="*", default=list(FAMILIES))
    parser.add_argument("--depths", nargs="*", type=int, default=DEPTHS)
    parser.add_argument("--repeats", type=int, default=3)
    flags = parser.parse_args()
    import keras

    print(f"{'model':20} {'nodes':>6} {'s':>8} {'ms/node':>8}")
    for name in flags.models:
        model = getattr(keras.applications, name)(weights=None)
        say(name, model, flags.repeats)
    for name in flags.families:
        for depth in flags.depths:
            model = build(FAMILIES[name](depth))
            say(f"{name} {depth}", model, flags.repeats)


if __name__ == "__main__":
    main()
