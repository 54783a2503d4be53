"""Variables of any backend as NumPy arrays."""

from __future__ import annotations

import numpy as np


def to_numpy(variable) -> np.ndarray:
    """The variable's value, without a copy where the backend allows it.

    Read it, never write to it: it may be the variable's own memory.
    """
    value = getattr(variable, "_value", variable)  # Keras 3: no autocast
    if hasattr(value, "detach"):  # PyTorch
        value = value.detach().cpu()
        if str(value.dtype) == "torch.bfloat16":
            value = value.float()
        return value.numpy()
    if hasattr(value, "read_value"):  # TensorFlow variables
        value = value.read_value()
    if hasattr(value, "numpy"):
        try:
            return np.asarray(memoryview(value))
        except (TypeError, ValueError, BufferError):
            return value.numpy()
    return np.asarray(value)
