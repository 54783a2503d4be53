"""Compares two models' outputs on the same inputs."""

from __future__ import annotations

import dataclasses

import numpy as np

from tf_channel_prune.errors import VerificationError

# Relative to the largest output: float32 sums in another order differ by
# about 1e-6 a layer; half precision keeps 8 to 11 bits.
TOLERANCE = {"float64": 1e-6, "float32": 1e-4}
HALF_TOLERANCE = 3e-2


@dataclasses.dataclass(frozen=True)
class Difference:
    """The largest difference between two models' outputs.

    Attributes:
        largest: Absolute, over all outputs and samples.
        relative: The same, over the largest absolute output of that tensor.
        tolerance: What `relative` may be.
        batch: How many samples were compared.
    """

    largest: float
    relative: float
    tolerance: float
    batch: int

    @property
    def equal(self) -> bool:
        return self.relative <= self.tolerance

    def __str__(self) -> str:
        return (
            f"largest output difference {self.largest:.2e} "
            f"({self.relative:.2e} of the output's scale, "
            f"allowed {self.tolerance:.0e}, {self.batch} samples)"
        )


def compare(first, second, inputs) -> Difference:
    """Runs both models, in inference mode, on the same inputs."""
    one = [np.asarray(y, "float64") for y in _outputs(first, inputs)]
    two = [np.asarray(y, "float64") for y in _outputs(second, inputs)]
    largest = relative = 0.0
    for a, b in zip(one, two):
        if a.shape != b.shape:
            return Difference(np.inf, np.inf, _tolerance(first), len(a))
        same = (a == b) | (np.isnan(a) & np.isnan(b))
        delta = np.where(same, 0.0, np.abs(a - b))
        gap = float(np.max(delta, initial=0.0))
        finite = np.abs(a[np.isfinite(a)])
        scale = float(np.max(finite, initial=0.0))
        if not np.isfinite(gap):
            gap = np.inf
        largest = max(largest, gap)
        if gap:
            relative = max(relative, gap / scale if scale else np.inf)
    return Difference(largest, relative, _tolerance(first), len(one[0]))


def check_equal(sparse, slim, samples=None) -> Difference:
    """Compares on random inputs, and on `samples` where there are any.

    Raises:
        VerificationError: If the outputs differ by more than float error.
    """
    from tf_channel_prune.graph.inputs import random_inputs

    worst = compare(sparse, slim, random_inputs(sparse))
    if samples is not None:
        given = compare(sparse, slim, samples)
        worst = max(worst, given, key=lambda d: d.relative)
    if not worst.equal:
        raise VerificationError(
            f"The slim model's outputs differ from the sparse model's: {worst}."
            " Nothing was returned. Please report the model; until it is "
            "mended, exclude the layers that you suspect."
        )
    return worst


def _outputs(model, inputs):
    result = model(inputs, training=False)
    flat: list = []

    def visit(value):
        if isinstance(value, dict):
            for key in sorted(value):
                visit(value[key])
        elif isinstance(value, (list, tuple)):
            for item in value:
                visit(item)
        else:
            flat.append(_array(value))

    visit(result)
    return flat


def _array(tensor):
    if hasattr(tensor, "detach"):
        tensor = tensor.detach().float().cpu()
    return np.asarray(tensor)


def _tolerance(model) -> float:
    dtypes = {
        getattr(layer, "compute_dtype", "float32") for layer in model.layers
    }
    if dtypes & {"float16", "bfloat16"}:
        return HALF_TOLERANCE
    return TOLERANCE["float64"] if dtypes == {"float64"} else 1e-4
