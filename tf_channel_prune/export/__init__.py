"""From a slim model to what is deployed: SavedModel, LiteRT, ONNX, int8.

Every function takes models of both Kerases and leaves them as they are. Those
that stand before tensorflow-model-optimization (tfmot) give a `tf_keras`
model, since tfmot works with no other; a Keras 3 model is converted first,
with the same weights, verified equal. docs/quantization.md tells which to take
when.
"""

from tf_channel_prune.export.conversion import to_tf_keras
from tf_channel_prune.export.interchange import onnx
from tf_channel_prune.export.interchange import predict_onnx
from tf_channel_prune.export.lite import litert
from tf_channel_prune.export.lite import predict_litert
from tf_channel_prune.export.optimization import cluster
from tf_channel_prune.export.optimization import prune_low_magnitude
from tf_channel_prune.export.optimization import quantize
from tf_channel_prune.export.optimization import strip
from tf_channel_prune.export.serving import saved_model

__all__ = [
    "cluster",
    "litert",
    "onnx",
    "predict_litert",
    "predict_onnx",
    "prune_low_magnitude",
    "quantize",
    "saved_model",
    "strip",
    "to_tf_keras",
]
