"""Small KerasHub backbones with random weights, by name.

`benchmarks/hub_coverage.py` prunes them; `pip install keras-hub`. The sizes
are small, the topologies are the ones that the presets have.
"""

SIDE = 64
IMAGE = (SIDE, SIDE, 3)
TEXT = {
    "vocabulary_size": 64,
    "num_layers": 2,
    "num_heads": 4,
    "hidden_dim": 32,
    "intermediate_dim": 96,
}


def _resnet(block, pre=False, **extra):
    return {
        "input_conv_filters": [64],
        "input_conv_kernel_sizes": [7],
        "stackwise_num_filters": [64, 96, 128],
        "stackwise_num_blocks": [2, 2, 2],
        "stackwise_num_strides": [1, 2, 2],
        "block_type": block,
        "use_pre_activation": pre,
        "image_shape": IMAGE,
        **extra,
    }


def _vd(block):
    return _resnet(
        block,
        input_conv_filters=[32, 32, 64],
        input_conv_kernel_sizes=[3, 3, 3],
    )


def _csp(block, **extra):
    return {
        "stem_filters": 16,
        "stem_kernel_size": 3,
        "stem_strides": 1,
        "stackwise_depth": [1, 2, 2],
        "stackwise_strides": [2, 2, 2],
        "stackwise_num_filters": [32, 64, 128],
        "block_type": block,
        "image_shape": IMAGE,
        "stem_padding": "same",
        "bottle_ratio": [1.0],
        "block_ratio": [0.5],
        "expand_ratio": [1.0],
        **extra,
    }


def _mobilenet_v3():
    return {
        "stackwise_expansion": [[16], [72, 88], [96, 240, 240]],
        "stackwise_num_blocks": [1, 2, 3],
        "stackwise_num_filters": [[16], [24, 24], [40, 40, 40]],
        "stackwise_kernel_size": [[3], [3, 3], [5, 5, 5]],
        "stackwise_num_strides": [[2], [2, 1], [2, 1, 1]],
        "stackwise_se_ratio": [[0.25], [None, None], [0.25, 0.25, 0.25]],
        "stackwise_activation": [
            ["relu"],
            ["relu", "relu"],
            ["hard_swish"] * 3,
        ],
        "stackwise_padding": [[1], [1, 1], [2, 2, 2]],
        "output_num_filters": 64,
        "depthwise_filters": 8,
        "depthwise_stride": 2,
        "depthwise_residual": False,
        "last_layer_filter": 96,
        "squeeze_and_excite": 0.5,
        "input_activation": "hard_swish",
        "output_activation": "hard_swish",
        "input_num_filters": 16,
        "image_shape": IMAGE,
    }


def _mobilenet_v4():
    return {
        "stackwise_expansion": [[32], [48, 96], [128, 128]],
        "stackwise_num_blocks": [1, 2, 2],
        "stackwise_num_filters": [[24], [32, 32], [48, 48]],
        "stackwise_kernel_size": [[3], [5, 3], [3, 3]],
        "stackwise_num_strides": [[2], [2, 1], [2, 1]],
        "stackwise_se_ratio": [[None], [None, None], [None, None]],
        "stackwise_activation": [["relu"], ["relu"] * 2, ["relu"] * 2],
        "stackwise_padding": [[1], [2, 1], [1, 1]],
        "output_num_filters": 96,
        "depthwise_filters": 8,
        "depthwise_stride": 2,
        "depthwise_residual": False,
        "last_layer_filter": 96,
        "squeeze_and_excite": None,
        "input_activation": "relu",
        "output_activation": "relu",
        "input_num_filters": 16,
        "image_shape": IMAGE,
    }


def _efficientnet(kind):
    return {
        "stackwise_kernel_sizes": [3, 3, 5],
        "stackwise_num_repeats": [1, 2, 2],
        "stackwise_input_filters": [16, 16, 24],
        "stackwise_output_filters": [16, 24, 40],
        "stackwise_expansion_ratios": [1, 6, 6],
        "stackwise_squeeze_and_excite_ratios": [0.25, 0.25, 0.25],
        "stackwise_strides": [1, 2, 2],
        "stackwise_block_types": kind,
        "stackwise_width_coefficients": [1.0] * 3,
        "stackwise_depth_coefficients": [1.0] * 3,
        "stackwise_force_input_filters": [0] * 3,
        "stackwise_nores_option": [False] * 3,
        "num_features": 64,
        "input_shape": IMAGE,
    }


def _hgnet():
    return {
        "depths": [1, 1, 2, 1],
        "embedding_size": 16,
        "hidden_sizes": [32, 48, 64, 96],
        "stem_channels": [3, 16, 16],
        "hidden_act": "relu",
        "use_learnable_affine_block": True,
        "stackwise_stage_filters": [
            [16, 16, 32, 1, 2, 3],
            [32, 16, 48, 1, 2, 3],
            [48, 24, 64, 2, 2, 5],
            [64, 32, 96, 1, 2, 5],
        ],
        "apply_downsample": [False, True, True, True],
        "use_lightweight_conv_block": [False, False, True, True],
        "image_shape": IMAGE,
    }


def _mit():
    return {
        "layerwise_depths": [1, 1, 1, 1],
        "num_layers": 4,
        "layerwise_num_heads": [1, 2, 2, 4],
        "layerwise_sr_ratios": [8, 4, 2, 1],
        "max_drop_path_rate": 0.1,
        "layerwise_patch_sizes": [7, 3, 3, 3],
        "layerwise_strides": [4, 2, 2, 2],
        "image_shape": IMAGE,
        "hidden_dims": [16, 32, 48, 64],
    }


def _swin():
    return {
        "image_shape": IMAGE,
        "embed_dim": 24,
        "depths": [2, 2],
        "num_heads": [2, 4],
        "window_size": 4,
    }


def _vit():
    return {
        "image_shape": IMAGE,
        "patch_size": (16, 16),
        "num_layers": 2,
        "num_heads": 4,
        "hidden_dim": 32,
        "mlp_dim": 96,
    }


def _llama():
    return {
        "vocabulary_size": 64,
        "num_layers": 2,
        "num_query_heads": 4,
        "num_key_value_heads": 2,
        "hidden_dim": 32,
        "intermediate_dim": 96,
    }


def _whisper():
    return {
        **TEXT,
        "max_encoder_sequence_length": 64,
        "max_decoder_sequence_length": 16,
    }


# By name: the class, and its arguments (a function, where they need a model).
MODELS = {
    "ResNet_basic": ("ResNetBackbone", lambda: _resnet("basic_block")),
    "ResNet_bottleneck": (
        "ResNetBackbone",
        lambda: _resnet("bottleneck_block"),
    ),
    "ResNetV2_bottleneck": (
        "ResNetBackbone",
        lambda: _resnet("bottleneck_block", True),
    ),
    "ResNet_vd_basic": ("ResNetBackbone", lambda: _vd("basic_block_vd")),
    "ResNet_vd_bottleneck": (
        "ResNetBackbone",
        lambda: _vd("bottleneck_block_vd"),
    ),
    "DenseNet": (
        "DenseNetBackbone",
        lambda: {
            "stackwise_num_repeats": [2, 3, 2],
            "growth_rate": 16,
            "image_shape": IMAGE,
        },
    ),
    "CSPNet_csp": (
        "CSPNetBackbone",
        lambda: _csp(
            "dark_block",
            stage_type="csp",
            bottle_ratio=[0.5, 1.0],
            block_ratio=[1.0, 0.5],
            expand_ratio=[2.0, 1.0],
            down_growth=True,
        ),
    ),
    "CSPNet_cs3": (
        "CSPNetBackbone",
        lambda: _csp("bottleneck_block", stage_type="cs3"),
    ),
    "CSPNet_dark": (
        "CSPNetBackbone",
        lambda: _csp(
            "dark_block",
            stage_type="dark",
            bottle_ratio=[0.5],
            block_ratio=[1.0],
        ),
    ),
    "EfficientNetV1": (
        "EfficientNetBackbone",
        lambda: _efficientnet(["v1", "v1", "v1"]),
    ),
    "EfficientNetV2": (
        "EfficientNetBackbone",
        lambda: _efficientnet(["fused", "fused", "unfused"]),
    ),
    "MobileNetV3": ("MobileNetBackbone", _mobilenet_v3),
    "MobileNetV4": ("MobileNetBackbone", _mobilenet_v4),
    "VGG": (
        "VGGBackbone",
        lambda: {
            "stackwise_num_repeats": [1, 2, 2],
            "stackwise_num_filters": [16, 32, 64],
            "image_shape": IMAGE,
        },
    ),
    "Xception": (
        "XceptionBackbone",
        lambda: {
            "stackwise_conv_filters": [[8, 16], [32, 32], [48, 48], [64, 64]],
            "stackwise_pooling": [False, True, True, False],
            "image_shape": IMAGE,
        },
    ),
    "DeepLabV3": (
        "DeepLabV3Backbone",
        lambda: {
            "image_encoder": _made("ResNet_basic"),
            "spatial_pyramid_pooling_key": "P4",
            "upsampling_size": 4,
            "dilation_rates": [2, 4, 6],
            "low_level_feature_key": "P2",
            "projection_filters": 16,
            "image_shape": IMAGE,
        },
    ),
    "RetinaNet": (
        "RetinaNetBackbone",
        lambda: {
            "image_encoder": _made(
                "ResNet_bottleneck",
                stackwise_num_filters=[64, 64, 96, 128],
                stackwise_num_blocks=[1, 1, 1, 1],
                stackwise_num_strides=[1, 2, 2, 2],
            ),
            "min_level": 3,
            "max_level": 6,
            "use_p5": False,
            "image_shape": IMAGE,
        },
    ),
    "HGNetV2": ("HGNetV2Backbone", _hgnet),
    "MiT": ("MiTBackbone", _mit),
    "SegFormer": (
        "SegFormerBackbone",
        lambda: {"image_encoder": _made("MiT"), "projection_filters": 48},
    ),
    "ViT": ("ViTBackbone", _vit),
    "Swin": ("SwinTransformerBackbone", _swin),
    "BERT": ("BertBackbone", lambda: TEXT),
    "RoBERTa": ("RobertaBackbone", lambda: TEXT),
    "DistilBERT": ("DistilBertBackbone", lambda: TEXT),
    "GPT2": ("GPT2Backbone", lambda: TEXT),
    "Llama": ("LlamaBackbone", _llama),
    "Whisper": ("WhisperBackbone", _whisper),
    "T5": ("T5Backbone", lambda: TEXT),
}


def _made(name, **changes):
    return build(name, **changes)


def build(name, **changes):
    """The backbone of that name."""
    import keras_hub

    kind, arguments = MODELS[name]
    return getattr(keras_hub.models, kind)(**{**arguments(), **changes})
