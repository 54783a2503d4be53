"""The CIFAR ResNets (He et al., CVPR 2016, section 4.2), option A shortcuts."""

from __future__ import annotations

import keras
from keras import layers
from keras import ops


def resnet(depth: int):
    """ResNet-20, 32, 44, 56 or 110; pixels 0..255 in, ten logits out.

    Stride-2 convolutions pad by one on both sides, and shortcuts that widen
    take every second pixel and add zero channels on both sides, as the
    PyTorch ports of these nets do.
    """
    blocks, rest = divmod(depth - 2, 6)
    if rest or blocks < 1:
        raise ValueError(f"CIFAR ResNets have 6n + 2 layers, not {depth}.")
    pixels = keras.Input((32, 32, 3), name="pixels")
    x = layers.Rescaling(1 / 255, name="rescale")(pixels)
    x = layers.Normalization(
        mean=[0.4914, 0.4822, 0.4465],
        variance=[0.2470**2, 0.2435**2, 0.2616**2],
        name="normalize",
    )(x)
    x = _convolution(x, 16, 1, "stem")
    x = layers.ReLU(name="stem_relu")(x)
    for stage, width in enumerate((16, 32, 64), start=1):
        for block in range(1, blocks + 1):
            stride = 2 if stage > 1 and block == 1 else 1
            x = _block(x, width, stride, f"stage{stage}_block{block}")
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = layers.Dense(10, name="logits")(x)
    return keras.Model(pixels, x, name=f"resnet{depth}_cifar10")


def _block(x, width, stride, name):
    shortcut = x
    x = _convolution(x, width, stride, f"{name}_1")
    x = layers.ReLU(name=f"{name}_relu1")(x)
    x = _convolution(x, width, 1, f"{name}_2")
    if stride > 1:
        more = (width - shortcut.shape[-1]) // 2
        shortcut = shortcut[:, ::2, ::2, :]
        pads = [[0, 0], [0, 0], [0, 0], [more, more]]
        shortcut = ops.pad(shortcut, pads)
    x = layers.Add(name=f"{name}_add")([x, shortcut])
    return layers.ReLU(name=f"{name}_out")(x)


def _convolution(x, width, stride, name):
    if stride > 1:
        x = layers.ZeroPadding2D(1, name=f"{name}_pad")(x)
    x = layers.Conv2D(
        width,
        3,
        stride,
        padding="valid" if stride > 1 else "same",
        use_bias=False,
        kernel_initializer="he_normal",
        name=f"{name}_conv",
    )(x)
    return layers.BatchNormalization(
        momentum=0.9, epsilon=1e-5, name=f"{name}_bn"
    )(x)
