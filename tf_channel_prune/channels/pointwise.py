"""Functions of single numbers: what they make of a masked channel.

A masked channel holds the same number everywhere in a tensor, if that number
is known at all. A function of single numbers is evaluated at it. Where its
value or slope there is not finite, a masked channel would put NaN into the
outputs or into the gradients of the sparse model, so the channel must stay.
"""

from __future__ import annotations

import math

import numpy as np

# NumPy has no erf, and scipy would make the package's import slower.
_erf = np.vectorize(math.erf, otypes=[float])
_erfc = np.vectorize(math.erfc, otypes=[float])


def everywhere(*_) -> bool:
    return True


def positive(x) -> bool:
    return x > 0


def nonzero(x) -> bool:
    return x != 0


def above_minus_one(x) -> bool:
    return x > -1


def above_one(x) -> bool:
    return x > 1


def inside_one(x) -> bool:
    return abs(x) < 1


def second_nonzero(_, y) -> bool:
    return y != 0


def power_is_smooth(base, exponent) -> bool:
    """Whether `base ** exponent` and its slope are finite."""
    if base > 0:
        return True
    whole = float(exponent).is_integer()
    if base == 0:
        return exponent == 0 or exponent >= 1
    return whole


# By class name in keras.ops: the function, and where it and its slope are
# finite.
UNARY = {
    "Abs": (np.abs, everywhere),
    "Absolute": (np.abs, everywhere),
    "Fabs": (np.abs, everywhere),
    "Negative": (np.negative, everywhere),
    "Sign": (np.sign, everywhere),
    "Square": (np.square, everywhere),
    "Floor": (np.floor, everywhere),
    "Ceil": (np.ceil, everywhere),
    "Trunc": (np.trunc, everywhere),
    "Exp": (np.exp, everywhere),
    "Exp2": (np.exp2, everywhere),
    "Expm1": (np.expm1, everywhere),
    "Sin": (np.sin, everywhere),
    "Cos": (np.cos, everywhere),
    "Sinh": (np.sinh, everywhere),
    "Cosh": (np.cosh, everywhere),
    "Arctan": (np.arctan, everywhere),
    "Arcsinh": (np.arcsinh, everywhere),
    "Erf": (_erf, everywhere),
    "Erfc": (_erfc, everywhere),
    "Deg2rad": (np.deg2rad, everywhere),
    "Rad2deg": (np.rad2deg, everywhere),
    "LogicalNot": (np.logical_not, everywhere),
    "Isnan": (np.isnan, everywhere),
    "Isinf": (np.isinf, everywhere),
    "Isfinite": (np.isfinite, everywhere),
    "Sqrt": (np.sqrt, positive),
    "Rsqrt": (lambda x: 1 / np.sqrt(x), positive),
    "Log": (np.log, positive),
    "Log2": (np.log2, positive),
    "Log10": (np.log10, positive),
    "Log1p": (np.log1p, above_minus_one),
    "Reciprocal": (lambda x: 1 / x, nonzero),
    "Cbrt": (np.cbrt, nonzero),
    "Arccosh": (np.arccosh, above_one),
    "Arcsin": (np.arcsin, inside_one),
    "Arccos": (np.arccos, inside_one),
    "Arctanh": (np.arctanh, inside_one),
}

BINARY = {
    "Add": (np.add, everywhere),
    "Subtract": (np.subtract, everywhere),
    "Multiply": (np.multiply, everywhere),
    "Maximum": (np.maximum, everywhere),
    "Minimum": (np.minimum, everywhere),
    "Fmax": (np.fmax, everywhere),
    "Fmin": (np.fmin, everywhere),
    "Logaddexp": (np.logaddexp, everywhere),
    "Equal": (np.equal, everywhere),
    "NotEqual": (np.not_equal, everywhere),
    "Greater": (np.greater, everywhere),
    "GreaterEqual": (np.greater_equal, everywhere),
    "Less": (np.less, everywhere),
    "LessEqual": (np.less_equal, everywhere),
    "LogicalAnd": (np.logical_and, everywhere),
    "LogicalOr": (np.logical_or, everywhere),
    "LogicalXor": (np.logical_xor, everywhere),
    "Divide": (np.divide, second_nonzero),
    "TrueDivide": (np.divide, second_nonzero),
    "FloorDivide": (np.floor_divide, second_nonzero),
    "Mod": (np.mod, second_nonzero),
    "Fmod": (np.fmod, second_nonzero),
    "DivideNoNan": (lambda x, y: x / y if y else 0.0, everywhere),
    "Power": (np.power, power_is_smooth),
}


class NotFiniteError(Exception):
    """A masked channel may make a function or its slope infinite."""


def evaluate(function, domain, values):
    """A function at what masked channels hold.

    Args:
        function, domain: From the tables above.
        values: Per operand a number, or None where it is not known.

    Returns:
        The number, or None where it is not known.

    Raises:
        NotFiniteError: If it may not be finite, or its slope may not be.
    """
    if any(value is None for value in values):
        if domain is not everywhere and not _safe(domain, values):
            raise NotFiniteError
        return None
    if not domain(*values):
        raise NotFiniteError
    with np.errstate(all="ignore"):
        result = float(function(*(float(value) for value in values)))
    if not np.isfinite(result):
        raise NotFiniteError
    return result


def _safe(domain, values) -> bool:
    """Whether the known operands alone keep a function finite."""
    known = values[-1]
    if domain is second_nonzero:
        return known is not None and known != 0
    if domain is power_is_smooth:
        return known is not None and known >= 1 and float(known).is_integer()
    return False
