"""What a model gives, and how far another's outputs are from it."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np

from tf_channel_prune.errors import NoInputsError
from tf_channel_prune.errors import PruningError
from tf_channel_prune.graph.inputs import on_random_inputs
from tf_channel_prune.graph.undisturbed import undisturbed

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

    Attributes:
        telling: Whether any output is another one for another sample. All
            zeros, or a saturated softmax, would hide that a layer is wrong.
    """

    def __init__(self, model, inputs):
        self.inputs = inputs
        self.tolerance = _tolerance(model)
        self.outputs = _outputs(model, inputs)
        self.telling = any(_varies(a, self.tolerance) for a in self.outputs)

    def difference(self, model, call=None) -> Difference:
        """Runs another model on the same inputs.

        Args:
            model: The model.
            call: How to run it on them. Defaults to calling it.
        """
        largest = relative = 0.0
        batch = len(self.outputs[0])
        for a, b in zip(self.outputs, _outputs(model, self.inputs, call)):
            if a.shape != b.shape:
                return Difference(np.inf, np.inf, self.tolerance, batch)
            gap, scale = _gap(a, b)
            largest = max(largest, gap)
            if gap:
                relative = max(relative, gap / scale if scale else np.inf)
        return Difference(largest, relative, self.tolerance, batch)


def _varies(a, tolerance) -> bool:
    """Whether an output is another one for another sample.

    Of a single sample: whether there is anything but zeros.
    """
    several = a.ndim > 0 and len(a) > 1
    gap, scale = _gap(a[1:], a[:-1]) if several else _gap(a, np.zeros_like(a))
    return np.isfinite(gap) and gap > tolerance * scale


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


def _outputs(model, inputs, call=None):
    if call is None:
        call = functools.partial(model, training=False)
    with undisturbed(model):
        result = call(inputs)
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
