"""What a layer's config says that its copy must not be told."""

from __future__ import annotations


def without_build_config(config):
    """A config without the stale shapes that Keras stores beside layers.

    tf_keras builds a layer of the user's own for them at once, inside
    another layer's config.
    """
    if isinstance(config, dict):
        return {
            key: without_build_config(value)
            for key, value in config.items()
            if key != "build_config"
        }
    if isinstance(config, tuple):
        return tuple(map(without_build_config, config))
    if isinstance(config, list):  # a list of TensorFlow's tracking, too
        return list(map(without_build_config, config))
    return config
