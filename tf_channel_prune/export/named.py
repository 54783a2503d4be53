"""Arrays for the inputs of a file, by name, and what comes out of it."""

from __future__ import annotations

import numpy as np

from tf_channel_prune.errors import PruningError
from tf_channel_prune.graph.structure import shapes_fit


def check_shape(name, found, wanted) -> None:
    """Raises unless arrays have the shape of an input, but for the batch.

    Args:
        name: The input's.
        found: Shape of the arrays, with the batch axis.
        wanted: Shape of the input, with the batch axis; None is open.
    """
    found, wanted = tuple(found[1:]), tuple(wanted[1:])
    if not shapes_fit(found, wanted):
        raise PruningError(
            f"Samples for the input {name!r} have the shape {found}, but it "
            f"takes {wanted} (without the batch axis, None is open)."
        )


def named_arrays(x, shapes) -> dict[str, np.ndarray]:
    """What a file takes, by the names of its inputs.

    Args:
        x: An array, or a dictionary of arrays by name; of one array the name
            does not matter.
        shapes: The shapes of the file's inputs by name.

    Raises:
        PruningError: If the file takes other inputs.
    """
    if not isinstance(x, dict):
        if len(shapes) != 1:
            raise PruningError(
                "The file has several inputs: give a dictionary with "
                + ", ".join(sorted(shapes))
                + "."
            )
        x = dict.fromkeys(shapes, x)
    elif len(shapes) == 1:
        x = dict(zip(shapes, x.values()))
    arrays = {name: np.asarray(value) for name, value in x.items()}
    if shapes.keys() != arrays.keys():
        raise PruningError(
            f"The file takes {', '.join(sorted(shapes))}; "
            f"{', '.join(sorted(arrays))} are given."
        )
    for name, value in arrays.items():
        check_shape(name, value.shape, shapes[name])
    return arrays


def in_batches(run, arrays, size):
    """The outputs of a file for any number of samples.

    Args:
        run: Function of arrays by name; returns outputs by name.
        arrays: By the names of the file's inputs.
        size: Samples at a time; None for all at once.

    Returns:
        An array, or a list or dictionary of arrays where there are several.
    """
    count = len(next(iter(arrays.values())))
    parts: dict[str, list] = {}
    for start in range(0, count, size or count):
        batch = {
            name: value[start : start + (size or count)]
            for name, value in arrays.items()
        }
        for name, value in run(batch).items():
            parts.setdefault(name, []).append(value)
    return _structured(
        {name: np.concatenate(part) for name, part in parts.items()}
    )


def _structured(outputs):
    """One output as an array, Keras' numbered ones as a list."""
    if len(outputs) == 1:
        return next(iter(outputs.values()))
    if all(name.startswith("output_") for name in outputs):
        by_number = sorted(outputs, key=lambda name: int(name[7:]))
        return [outputs[name] for name in by_number]
    return outputs
