"""Costs of well-known models against the figures that were published.

Convention. We count a multiply-add as two FLOPs; papers count one, so half of
our figure is compared. We count every weight; papers leave the statistics of
BatchNormalization out, so trainable weights are compared. Inputs are
224 x 224 x 3, with 1,000 classes.

Sources. "torchvision" is the metadata of its pretrained weights (`_ops`,
`num_params`), where the network is the same as Keras'. Its ResNet50 is not:
it moves the stride from the first 1x1 convolution to the 3x3 one, which costs
6 % more.
"""

import keras
import numpy as np
import pytest

import tf_channel_prune as tcp

PUBLISHED = {
    # Hu et al., CVPR 2018, section 4: ResNet-50 takes 3.86 GFLOPs. Parameters:
    # torchvision; Keras has 26,560 more, biases before BatchNormalization.
    "ResNet50": (3.86e9, 25_557_032),
    # Sandler et al., CVPR 2018, table 4: 300 M. Parameters: torchvision.
    "MobileNetV2": (300e6, 3_504_872),
    "VGG16": (15.47e9, 138_357_544),  # torchvision
    "EfficientNetB0": (0.386e9, 5_288_548),  # torchvision
    "DenseNet121": (2.834e9, 7_978_856),  # torchvision
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_cost_is_within_one_percent(name):
    multiply_adds, parameters = PUBLISHED[name]
    model = getattr(keras.applications, name)(weights=None)
    cost = tcp.cost(model)
    assert cost.flops / 2 == pytest.approx(multiply_adds, rel=0.01)
    statistics = sum(np.prod(w.shape) for w in model.non_trainable_weights)
    assert cost.params - statistics == pytest.approx(parameters, rel=0.01)
    assert cost.params == model.count_params()
