"""Compares two models' outputs on the same inputs."""

from __future__ import annotations

import dataclasses
import logging

import numpy as np

from tf_channel_prune.errors import NoInputsError
from tf_channel_prune.errors import PruningError
from tf_channel_prune.errors import VerificationError

log = logging.getLogger("tf_channel_prune")

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


class Reference:
    """What a model gives for some inputs, for others to be compared with.

    Args:
        model: A Keras model; it is run in inference mode.
        inputs: In the structure that the model takes.
    """

    def __init__(self, model, inputs):
        self.inputs = inputs
        self.tolerance = _tolerance(model)
        self.outputs = _outputs(model, inputs)

    def difference(self, model) -> Difference:
        """Runs another model on the same inputs."""
        largest = relative = 0.0
        batch = len(self.outputs[0])
        for a, b in zip(self.outputs, _outputs(model, self.inputs)):
            if a.shape != b.shape:
                return Difference(np.inf, np.inf, self.tolerance, batch)
            gap, scale = _gap(a, b)
            largest = max(largest, gap)
            if gap:
                relative = max(relative, gap / scale if scale else np.inf)
        return Difference(largest, relative, self.tolerance, batch)


def _gap(a, b) -> tuple[float, float]:
    """The largest difference of two arrays, and the scale of the first."""
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    gap = float(np.max(np.where(same, 0.0, np.abs(a - b)), initial=0.0))
    finite = np.abs(a[np.isfinite(a)])
    scale = float(np.max(finite, initial=0.0))
    return (gap if np.isfinite(gap) else np.inf), scale


def compare(first, second, inputs) -> Difference:
    """Runs both models, in inference mode, on the same inputs."""
    return Reference(first, inputs).difference(second)


def references(sparse, graph, samples=None) -> list[Reference]:
    """What a sparse model gives for random inputs, and for `samples` if any.

    `graph` is the sparse model's.

    Made before the slim model is: then the memory of the two models' tensors
    is not needed at once.
    """
    from tf_channel_prune.graph.inputs import on_random_inputs

    found = []
    try:
        found.append(
            on_random_inputs(sparse, lambda x: Reference(sparse, x), graph)
        )
    except NoInputsError:
        if samples is None:
            raise
    if samples is not None:
        try:
            found.append(Reference(sparse, samples))
        except (ValueError, TypeError) as error:
            raise PruningError(
                f"Model {sparse.name!r} does not take samples, a batch of its "
                f"inputs: {error}"
            ) from error
    return found


def check_equal(expected: list[Reference], slim, channels, alive) -> Difference:
    """Compares a slim model with what is expected of it.

    Args:
        expected: What the sparse model gives.
        slim: The slim model.
        channels: The labels of the sparse model, whose masks are set.
        alive: Boolean per unit: what stays.

    Raises:
        VerificationError: If the outputs differ by more than float error.
    """
    found = [reference.difference(slim) for reference in expected]
    worst = max(found, key=lambda difference: difference.relative)
    if not worst.equal:
        reference = expected[found.index(worst)]
        _check_layers(reference, worst, slim, channels, alive)
    return worst


def _check_layers(reference, worst, slim, channels, alive):
    """Tells rounding that a deep model amplifies from a layer that is wrong."""
    from tf_channel_prune.transform import locate

    try:
        name = locate.first_difference(
            channels, alive, slim, reference.inputs, reference.tolerance
        )
    except Exception as error:  # any layer may fail when it runs by itself
        text = str(error).strip().splitlines() or [type(error).__name__]
        where = f"the layer to blame is not known ({text[0]})"
    else:
        if name is None:
            log.warning(
                "The slim model's outputs differ: %s. Each of its layers gives "
                "what it should by itself: the model amplifies rounding.",
                worst,
            )
            return
        where = f"given the same inputs, the first layer to differ is {name!r}"
    raise VerificationError(
        f"The slim model's outputs differ from the sparse model's: {worst}; "
        f"{where}. Nothing was returned. Please report the model; until it is "
        "mended, exclude that layer."
    )


def _outputs(model, inputs):
    from tf_channel_prune.graph.randomness import same_numbers

    with same_numbers(model):
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
            flat.append(_array(value).astype("float64"))

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
