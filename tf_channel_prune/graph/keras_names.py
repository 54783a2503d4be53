"""What Keras 3 calls a layer's variables, in every process alike."""

from __future__ import annotations

import re


def variable_names(layer):
    """`(variable, name)` pairs; a name is the path inside the layer.

    The path goes by the names of sub-layers. `variable.path` goes by where the
    variable was made: a layer inside a wrapper is built by the wrapper at
    first, but by itself where the wrapper is loaded or cloned.
    """
    names: dict[int, str] = {}
    _name_variables(layer, "", names)
    return [(v, names[id(v)]) for v in layer.weights]


def _name_variables(layer, prefix, names):
    taken = set(names.values())
    own = layer._trainable_variables + layer._non_trainable_variables
    # What a layer borrows from a sub-layer goes by the name it has there.
    borrowed = {id(v) for inner in layer._layers for v in inner.weights}
    for variable in own:
        if id(variable) in names or id(variable) in borrowed:
            continue
        # Keras numbers variables without a name over the whole process.
        text = re.sub(r"^variable_\d+$", "variable", variable.name)
        text = prefix + text
        while text in taken:
            text += "_"
        taken.add(text)
        names[id(variable)] = text
    for inner, name in zip(layer._layers, _names_inside(layer)):
        _name_variables(inner, f"{prefix}{name}/", names)


def _names_inside(layer) -> list[str]:
    """The names of sub-layers, numbered from the first one.

    Keras numbers layers without a name over the whole process.
    """
    from keras.src.utils.naming import to_snake_case

    found: list[str] = []
    for inner in layer._layers:
        stem = to_snake_case(type(inner).__name__)
        automatic = re.fullmatch(rf"{re.escape(stem)}(_\d+)?", inner.name)
        start = name = stem if automatic else inner.name
        number = 0
        while name in found:
            number += 1
            name = f"{start}_{number}"
        found.append(name)
    return found
