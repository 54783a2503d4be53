"""Image models of keras_cv_attention_models, pruned to 60 % of their FLOPs.

    pip install keras-cv-attention-models
    python benchmarks/kecam_coverage.py            # all; goes on where it was
    python benchmarks/kecam_coverage.py --models yolov8.YOLOV8_N@96
    python benchmarks/kecam_coverage.py --write docs/coverage_kecam.md

A model a family, the smallest, with random weights: `module.Name@side` of its
images. One process a model, as in `coverage.py`. They are models of `tf_keras`
(TF_USE_LEGACY_KERAS=1, which this script sets).
"""

import os

import coverage
import hub_coverage

FLAVOUR = "tf_keras"
HEAD = "<!-- tables: benchmarks/kecam_coverage.py -->"
MODELS = """
    botnet.BotNet26T@128 coat.CoaTLiteTiny@224 cotnet.CotNet50@96
    edgenext.EdgeNeXt_XX_Small@128 efficientdet.EfficientDetD0@128
    efficientformer.EfficientFormerL1@224
    efficientformer.EfficientFormerV2S0@224 efficientvit.EfficientViT_B0@96
    fasternet.FasterNetT0@96 fastvit.FastViT_T8@128 gcvit.GCViT_XXTiny@224
    ghostnet.GhostNet_050@96 ghostnet.GhostNetV2_100@96 hiera.HieraTiny@224
    inceptionnext.InceptionNeXtTiny@96 levit.LeViT128S@224
    mlp_family.ResMLP12@224 mobilenetv3_family.LCNet050@96
    mobilenetv3_family.TinyNetE@106 mobilevit.MobileViT_XXS@128
    moganet.MogaNetXtiny@96 nat.DiNAT_Mini@128 pvt.PVT_V2B0@96
    repvit.RepViT_M09@96 resnest.ResNest50@96
    swin_transformer_v2.SwinTransformerV2Tiny_ns@224 tinyvit.TinyViT_5M@224
    vanillanet.VanillaNet5@96 yolov8.YOLOV8_N@96 yolox.YOLOXNano@96
""".split()


def check(name) -> dict:
    import keras_cv_attention_models as kecam
    import tf_keras

    tf_keras.utils.set_random_seed(0)
    path, _, side = name.partition("@")
    room, _, made = path.partition(".")
    model = getattr(getattr(kecam, room), made)(
        pretrained=None, input_shape=(int(side), int(side), 3)
    )
    row = {"flavour": FLAVOUR, "model": name}
    coverage.randomised(model, FLAVOUR)
    return {**row, **coverage.measured(model, hub_coverage.RATIO)}


def main():
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    hub_coverage.command(
        __doc__,
        check,
        FLAVOUR,
        MODELS,
        "runs/coverage_kecam.jsonl",
        HEAD,
        __file__,
    )


if __name__ == "__main__":
    main()
