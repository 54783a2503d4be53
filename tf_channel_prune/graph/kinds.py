"""The names by which rules know operations.

A Keras layer is its class name (`Conv2D`), an operation of `keras.ops` is
`ops.` and its class name (`ops.Reshape`), every other class is its full Python
path. A subclass that leaves `call` alone is also what its base is.
"""

import functools


@functools.cache
def kinds_of(cls: type) -> tuple[str, ...]:
    """All the names that fit a class, most specific first."""
    kinds = []
    for base in cls.__mro__:
        kinds.append(_name(base))
        # Beyond the class that defines `call`, bases compute another thing.
        if "call" in vars(base) or "__call__" in vars(base):
            break
    return tuple(kinds)


def _name(cls: type) -> str:
    module = cls.__module__
    if module.startswith(
        ("keras.src.layers.", "tf_keras.src.layers.", "keras.src.models.")
    ):
        return cls.__name__
    if module.startswith("keras.src.ops."):
        return f"ops.{cls.__name__}"
    return f"{module}.{cls.__qualname__}"
