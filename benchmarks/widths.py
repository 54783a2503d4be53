"""What odd widths cost: the reason for `divisor="auto"`.

    python benchmarks/widths.py

For a convolution (3 x 3 on 16 x 16 pixels, 64 channels in) followed by a
BatchNormalization, at several numbers of output channels: LiteRT's latency of
one sample in one thread, and the time of one training step of 64 samples in
TensorFlow. Each is the fastest of many runs, all widths in turns; beside it is
the time a channel, relative to the largest width's.
"""

import argparse

WIDTHS = (11, 12, 16, 23, 24, 31, 32, 33, 40, 47, 48, 56, 63, 64)


def layer(width):
    import keras

    image = keras.Input((16, 16, 64))
    x = keras.layers.Conv2D(width, 3, padding="same", use_bias=False)(image)
    return keras.Model(image, keras.layers.BatchNormalization()(x))


def training_step(model, batch):
    """A function that takes one gradient step's forward and backward pass."""
    import tensorflow as tf

    x = tf.random.stateless_normal((batch, 16, 16, 64), seed=(0, 0))
    variables = [weight.value for weight in model.trainable_weights]

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(model(x, training=True)))
        return tape.gradient(loss, variables)

    return step


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--widths", type=int, nargs="+", default=WIDTHS)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=10)
    flags = parser.parse_args()
    from tf_channel_prune.latency import in_turns
    from tf_channel_prune.latency.timing import fastest

    models = [layer(width) for width in flags.widths]
    lite = in_turns(models, "litert", seconds=flags.seconds)
    train = fastest(
        [training_step(model, flags.batch) for model in models], flags.seconds
    )
    print("| width | LiteRT us | a channel | training ms | a channel |")
    print("|---|---|---|---|---|")
    last = flags.widths[-1]
    for width, one, two in zip(flags.widths, lite, train):
        print(
            f"| {width} | {one:.0f} | {one / width / (lite[-1] / last):.2f} "
            f"| {two / 1000:.2f} | {two / width / (train[-1] / last):.2f} |"
        )


if __name__ == "__main__":
    main()
