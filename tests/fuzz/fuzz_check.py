"""Runs random models through pruning, and reports what goes wrong."""

from __future__ import annotations

import contextlib
import dataclasses
import traceback

import keras
import numpy as np
from fuzz_programs import Line
from fuzz_programs import build
from fuzz_programs import printed
from fuzz_programs import shrunk
from fuzz_programs import write
from model_checks import check_alive
from model_checks import check_same
from model_checks import outputs_of
from model_checks import random_alive
from model_checks import randomise
from model_checks import spread

from tf_channel_prune.api import channels_of
from tf_channel_prune.graph.inputs import random_inputs
from tf_channel_prune.masking import make_sparse

# In float64, models that differ in the order of sums alone agree to this.
TOLERANCE = 1e-7


@dataclasses.dataclass
class Outcome:
    """What became of one random model.

    Attributes:
        status: `"passed"`, `"frozen"` (nothing can be cut), `"unfit"` (the
            model itself makes NaN, or ignores its inputs, which an older Keras
            does not make again) or `"failed"`.
        detail: The error, for a failure.
        groups: How many groups could be cut.
        moved: Whether masks changed the outputs.
    """

    status: str
    detail: str = ""
    groups: int = 0
    moved: bool = False


@contextlib.contextmanager
def double_precision():
    before = keras.config.floatx()
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    try:
        yield
    finally:
        keras.config.set_floatx(before)
        keras.config.set_dtype_policy(before)


def try_program(lines: list[Line], seed: int, gradients=True) -> Outcome:
    """Prunes a program's model at random, and checks all that must hold."""
    try:
        model = build(lines)
        randomise(model, seed)
        inputs = random_inputs(model, batch=3, seed=seed)
        dense = outputs_of(model, inputs)
    except Exception:  # shortened programs need not run
        return Outcome("unfit")
    if not all(y.size for y in dense):
        return Outcome("unfit")
    size = max((np.abs(y).max() for y in dense), default=0)
    if not np.isfinite(size) or size > 1e6 or spread(dense) < 1e-4:
        return Outcome("unfit")
    rng = np.random.default_rng(seed)
    moved = False
    try:
        channels = channels_of(model)
        if not channels.prunable:
            return Outcome("frozen")
        check_same(model, make_sparse(channels), inputs, TOLERANCE)
        for _ in range(2):
            alive = random_alive(channels, rng)
            moved |= check_alive(
                channels,
                alive,
                inputs,
                dense,
                TOLERANCE,
                grads=gradients,
                power=False,
            )
    except Exception as error:  # whatever it is, it is what we look for
        if "Keras makes no such model" in str(error):
            return Outcome("unfit")
        kind = f"{type(error).__name__}: {str(error)[:300]}"
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{last.filename.rsplit('/', 1)[-1]}:{last.name}"
        return Outcome("failed", f"{where}: {kind}")
    return Outcome("passed", "", len(channels.prunable), moved)


def try_seed(seed: int) -> Outcome:
    """One random model; a failure comes with a short program."""
    lines = write(seed)
    outcome = try_program(lines, seed)
    if outcome.status != "failed":
        return outcome
    place = outcome.detail.split(" ", 1)[0]

    def fails(shorter):
        found = try_program(shorter, seed)
        return found.status == "failed" and found.detail.startswith(place)

    lines = shrunk(lines, fails)
    outcome = try_program(lines, seed)
    detail = f"seed {seed}: {outcome.detail}\n\n{printed(lines)}"
    return Outcome("failed", detail)
