"""Model files of tf_keras, and classes in them. Checked on tf_keras 2.21."""

from __future__ import annotations

import tf_keras
from tf_keras.src.saving.legacy.saved_model.load import RevivedLayer
from tf_keras.src.saving.serialization_lib import SafeModeScope


def load(path, custom_objects, compiled, safe_mode):
    """`tf_keras.models.load_model`, equally safe for every format."""
    with SafeModeScope(safe_mode):
        return tf_keras.models.load_model(
            path, custom_objects, compile=compiled, safe_mode=safe_mode
        )


def unregistered(config, custom_objects=None):
    """Yields classes in the config of a `.keras` file that are not known.

    What is tf_keras' own has no registered name, or a module of its own.
    """
    if isinstance(config, list):
        for value in config:
            yield from unregistered(value, custom_objects)
    if not isinstance(config, dict):
        return
    name = config.get("registered_name")
    room = str(config.get("module")).split(".")[0]
    if name and room not in ("keras", "tf_keras", "builtins"):
        with tf_keras.saving.custom_object_scope(custom_objects or {}):
            known = tf_keras.saving.get_registered_object(name)
        if known is None:
            yield config["class_name"]
    for value in config.values():
        yield from unregistered(value, custom_objects)


def revived(model):
    """Yields the classes that a SavedModel's loader stood in for."""
    for layer in model._flatten_layers():
        if isinstance(layer, RevivedLayer):
            yield type(layer).__name__
