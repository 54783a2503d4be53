"""What tensorflow-model-optimization (tfmot) does best, on slim models."""

from __future__ import annotations

import logging
import re

from tf_channel_prune.errors import PruningError
from tf_channel_prune.export.conversion import to_tf_keras
from tf_channel_prune.graph.kinds import kinds_of

_log = logging.getLogger("tf_channel_prune")

# Layers after which tfmot can fold a BatchNormalization.
_FOLDING = ("Conv2D", "DepthwiseConv2D", "Conv2DTranspose", "Dense")
# Supported by transforms, which the registry does not know.
_TRANSFORMED = ("BatchNormalization", "SeparableConv1D", "SeparableConv2D")


def quantize(model, keep_float=()):
    """A quantization-aware copy: it trains for int8 (tfmot).

    Example:

        aware = tcp.export.quantize(slim)
        aware.compile(...); aware.fit(...)
        tcp.export.litert(aware, "slim_int8.tflite")

    Layers that tfmot cannot quantize stay in float; the log names them.

    Args:
        model: A slim model of either Keras; a Keras 3 model is converted.
        keep_float: Names of layers to leave in float.

    Returns:
        A `tf_keras` model without nested models, not compiled.

    Raises:
        PruningError: If a name in `keep_float` is unknown, the model has no
            tf_keras counterpart, or tfmot cannot quantize it.
    """
    import tensorflow_model_optimization as tfmot

    room = tfmot.quantization.keras
    plain = to_tf_keras(model, flat=True)
    keep = _checked(plain, keep_float)
    left = {v.name for v in plain.layers if not _supported(v)} | keep
    while True:
        try:
            aware = _quantized(room, plain, left)
            break
        except (RuntimeError, ValueError) as error:
            # tfmot names one layer at a time.
            found = re.match(r"Layer (\S+?):<class", str(error))
            if found is None or found[1] in left:
                raise PruningError(
                    f"tensorflow-model-optimization cannot quantize model "
                    f"{model.name!r}: {str(error).splitlines()[0]} Take "
                    'export.litert(model, path, "int8", data) instead.'
                ) from error
            left.add(found[1])
    names = [v.name for v in plain.layers if v.name in left and v.weights]
    if names:
        _log.warning("Layers that stay in float: %s.", ", ".join(names))
    return aware


def _quantized(room, plain, left):
    import tf_keras

    def annotate(layer):
        if layer.name in left:
            return layer
        return room.quantize_annotate_layer(layer)

    # A copy: annotations would stay with the layers of `plain`.
    copy = to_tf_keras(plain)
    annotated = tf_keras.models.clone_model(copy, clone_function=annotate)
    # tfmot makes layers by the names of their classes.
    classes = {type(layer).__name__: type(layer) for layer in copy.layers}
    with tf_keras.saving.custom_object_scope(classes):
        return room.quantize_apply(annotated)


def _supported(layer) -> bool:
    from tensorflow_model_optimization.python.core.quantization.keras import (
        default_8bit,
    )

    registry = default_8bit.default_8bit_quantize_registry
    kind = kinds_of(type(layer))[0]
    if kind == "BatchNormalization":
        before = layer.inbound_nodes[0].inbound_layers
        return kinds_of(type(before))[0] in _FOLDING
    return (
        kind in _TRANSFORMED
        or registry.Default8BitQuantizeRegistry().supports(layer)
    )


def prune_low_magnitude(model, schedule=None):
    """A copy whose single weights are pruned while it trains (tfmot).

    Fine-grained sparsity makes files compress better; it changes no shapes.
    Train with `tfmot.sparsity.keras.UpdatePruningStep()` among the callbacks,
    then call `strip`.

    Args:
        model: A slim model of either Keras; a Keras 3 model is converted.
        schedule: A `tfmot.sparsity.keras.PruningSchedule`. Defaults to half
            of the weights from the first step on.

    Returns:
        A `tf_keras` model without nested models, not compiled.
    """
    import tensorflow_model_optimization as tfmot
    from tensorflow_model_optimization.python.core.sparsity.keras import (
        prune_registry,
    )

    room = tfmot.sparsity.keras
    if schedule is None:
        schedule = room.ConstantSparsity(0.5, begin_step=0)

    def wrap(layer):
        # A model that tfmot wraps as a whole may hold nothing but its layers.
        if not layer.weights or not prune_registry.PruneRegistry.supports(
            layer
        ):
            return layer
        return room.prune_low_magnitude(layer, schedule)

    return _wrapped(model, wrap)


def cluster(model, number_of_clusters: int = 16):
    """A copy whose weights share few values, for smaller files (tfmot).

    Train it for an epoch or so, then call `strip`.

    Args:
        model: A slim model of either Keras; a Keras 3 model is converted.
        number_of_clusters: Values a weight tensor may have. Defaults to 16.

    Returns:
        A `tf_keras` model without nested models, not compiled.
    """
    import tensorflow_model_optimization as tfmot
    from tensorflow_model_optimization.python.core.clustering.keras import (
        clustering_registry,
    )

    room = tfmot.clustering.keras
    centroids = room.CentroidInitialization.KMEANS_PLUS_PLUS

    def wrap(layer):
        registry = clustering_registry.ClusteringRegistry
        if not layer.weights or not registry.supports(layer):
            return layer
        return room.cluster_weights(layer, number_of_clusters, centroids)

    return _wrapped(model, wrap)


def strip(model):
    """The trained model without the wrappers of `cluster` and the like.

    Args:
        model: A model that `prune_low_magnitude` or `cluster` gave.

    Returns:
        An ordinary `tf_keras` model with the trained weights.

    Raises:
        PruningError: If it has no such wrappers.
    """
    import tensorflow_model_optimization as tfmot

    kinds = {type(layer).__name__ for layer in model.layers}
    if "PruneLowMagnitude" in kinds:
        return tfmot.sparsity.keras.strip_pruning(model)
    if any(kind.startswith("ClusterWeights") for kind in kinds):
        return tfmot.clustering.keras.strip_clustering(model)
    if any(kind.startswith("QuantizeWrapper") for kind in kinds):
        raise PruningError(
            f"Model {model.name!r} is quantization-aware: its ranges belong "
            "to it. Write it with export.litert(model, path)."
        )
    raise PruningError(
        f"Model {model.name!r} has nothing to strip: it is not from "
        "prune_low_magnitude or cluster."
    )


def _wrapped(model, wrap):
    import tf_keras

    plain = to_tf_keras(model, flat=True)
    return tf_keras.models.clone_model(plain, clone_function=wrap)


def _checked(model, names) -> set[str]:
    names = {names} if isinstance(names, str) else set(names)
    known = {layer.name for layer in model.layers}
    if names - known:
        raise PruningError(
            f"keep_float names {sorted(names - known)[0]!r}, but the model "
            f"has no such layer; it has {', '.join(sorted(known)[:5])}, ..."
        )
    return names
