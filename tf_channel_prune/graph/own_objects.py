"""Functions and objects of the user's own, which a config only names.

By its name Keras finds what is registered, or its own function of the same
name, or nothing. A copy in this process is given the very object that the
layer holds. So it is with Keras' functions, too: `keras.ops.gelu` is named
like `keras.activations.gelu`, and is another one.
"""

from __future__ import annotations

import inspect


def with_own_objects(internals, layer, config: dict) -> dict:
    """A layer's config with the user's own objects in place of their names.

    Args:
        internals: Of the layer's Keras.
        layer: The layer, optimizer or metric; its constructor's arguments are
            its attributes, as everywhere in Keras.
        config: What its `get_config` gave, or what is left of it.
    """
    return {
        key: _own(internals, _held(layer, key), value)
        for key, value in config.items()
    }


def made_by(from_config, internals, layer, config: dict):
    """A layer like another, from its config and the user's own objects.

    A `from_config` of the user's may want names after all, and gets them.

    Args:
        from_config: Function of a config.
        internals, layer, config: See `with_own_objects`.
    """
    try:
        return from_config(with_own_objects(internals, layer, config))
    except Exception:  # any user code may run here
        return from_config(config)


def altered(thing, **attributes):
    """A twin of a layer or an optimizer with other attributes.

    They share all else, their variables too. Keras itself would copy by
    saving.
    """
    made = object.__new__(type(thing))
    vars(made).update(vars(thing), **attributes)
    return made


def _own(internals, held, value):
    """What a config should hold for `held`, of which it says `value`."""
    if isinstance(value, (list, tuple)) and isinstance(held, (list, tuple)):
        if len(value) != len(held):
            return value
        return type(value)(
            _own(internals, one, other) for one, other in zip(held, value)
        )
    if not isinstance(value, (str, dict)):
        return value
    if internals.is_layer(held):  # inside a wrapper
        inner = value.get("config") if isinstance(value, dict) else None
        if not isinstance(inner, dict):
            return value
        inner = with_own_objects(internals, held, inner)
        return {**value, "config": inner}
    return held if callable(held) and not _is_known(internals, held) else value


def _is_known(internals, held) -> bool:
    if inspect.isfunction(held):
        return False
    return internals.is_variable(held) or internals.is_from_keras(held)


def _held(layer, name):
    """The attribute behind a constructor's argument."""
    found = None
    # `optimizer.learning_rate` is a number where the argument was a schedule.
    for attribute in (name, f"_{name}"):
        try:
            value = getattr(layer, attribute, None)
        except Exception:  # any user code may run here
            continue
        if callable(value):
            return value
        found = value if found is None else found
    return found
