"""The names by which rules know operations.

A Keras layer is its class name (`Conv2D`), an operation of `keras.ops` is
`ops.` and its class name (`ops.Reshape`), every other class is its full Python
path. A subclass that computes nothing anew is also what its base is.
"""

import functools

# What a subclass may have of its own and still compute what its base does.
_HARMLESS = frozenset(
    "__init__ __repr__ __str__ get_config from_config get_build_config "
    "build_from_config compute_output_shape compute_mask".split()
)


@functools.cache
def kinds_of(cls: type) -> tuple[str, ...]:
    """All the names that fit a class, most specific first."""
    kinds = []
    for base in cls.__mro__:
        kinds.append(_name(base))
        # Beyond a class that computes, bases compute another thing: even
        # without a `call` of its own, a Conv2D with another `convolution_op`
        # is no Conv2D.
        if any(
            callable(getattr(value, "__func__", value))
            or isinstance(value, property)
            for name, value in vars(base).items()
            if name not in _HARMLESS and not isinstance(value, type)
        ):
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
