"""Which Keras a model belongs to, by its class; the user never says."""

import sys

from tf_channel_prune.errors import UnsupportedModelError


def flavour(model) -> str:
    """`"keras"` (Keras 3) or `"tf_keras"` (Keras 2).

    Raises:
        UnsupportedModelError: If `model` is neither.
    """
    import keras

    if isinstance(model, keras.Model):
        return "keras"
    tf_keras = sys.modules.get("tf_keras")
    if tf_keras is not None and isinstance(model, tf_keras.Model):
        return "tf_keras"
    raise UnsupportedModelError(
        f"Expected a built Keras model, got {type(model).__name__}. "
        "Load it with keras.models.load_model first."
    )


def input_names(model) -> list[str]:
    """The names of a model's inputs, in the order of its flat inputs."""
    if flavour(model) == "tf_keras":
        return [tensor.name for tensor in model.inputs]
    from tf_channel_prune.graph import keras_internals

    return [keras_internals.tensor_name(tensor) for tensor in model.inputs]


def internals(graph):
    """The module of what this flavour does in its own way."""
    if graph.flavour == "tf_keras":
        from tf_channel_prune.graph import tf_keras_internals

        return tf_keras_internals
    from tf_channel_prune.graph import keras_internals

    return keras_internals


def library(model):
    """The module `keras` or `tf_keras` that a model belongs to."""
    if flavour(model) == "tf_keras":
        import tf_keras

        return tf_keras
    import keras

    return keras


def reader(model):
    """The function that reads models of this flavour."""
    if flavour(model) == "tf_keras":
        from tf_channel_prune.graph import read_tf_keras

        return read_tf_keras.read
    from tf_channel_prune.graph import read_keras

    return read_keras.read


def replayer(graph):
    """The function that rebuilds graphs of this flavour."""
    if graph.flavour == "tf_keras":
        from tf_channel_prune.graph import replay_tf_keras

        return replay_tf_keras.replay
    from tf_channel_prune.graph import replay_keras

    return replay_keras.replay


def weights_of(graph, layer):
    """The `Weight`s of a layer, in the layer's order."""
    if graph.flavour == "tf_keras":
        from tf_channel_prune.graph import read_tf_keras

        return read_tf_keras.weights_of(layer)
    from tf_channel_prune.graph import read_keras

    return read_keras.weights_of(layer)
