"""Records a call of a layer in the way that says the most.

First without sizes, then with numbers in place of those that are not known;
with and without symbolic tensors in place of the layer's own weights.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable

from keras import tree

from tf_channel_prune.errors import what_it_says
from tf_channel_prune.graph import comparing
from tf_channel_prune.graph import keras_internals
from tf_channel_prune.graph import open_sizes
from tf_channel_prune.graph import randomness
from tf_channel_prune.graph import sizes
from tf_channel_prune.graph import tracing


@dataclasses.dataclass
class Opened:
    """The calls inside a layer, or the reason why they cannot be had.

    Attributes:
        inputs: The symbolic tensors that stood for the call's tensors.
        outputs: What it gave, flat.
        nodes: The calls inside, in order; None if it stays whole.
        reason: Why it stays whole.
        stand_ins: By the id of a symbolic tensor, the variable or array that
            it stands for.
        paths: By the id of a call, the names of sub-layers around it that
            were opened along with the layer.
        sizes: By the id of a symbolic tensor its shape, with a `Size` where
            it is known to depend on others.
        input_structure, output_structure: As `call` takes and gives them.
        losses: Why the calls alone would lose a loss, if so.
        alive: Keeps the objects behind ids.
    """

    inputs: list = dataclasses.field(default_factory=list)
    outputs: list = dataclasses.field(default_factory=list)
    nodes: list | None = None
    reason: str | None = None
    stand_ins: dict = dataclasses.field(default_factory=dict)
    paths: dict = dataclasses.field(default_factory=dict)
    sizes: dict = dataclasses.field(default_factory=dict)
    input_structure: object = None
    output_structure: object = None
    losses: str | None = None
    alive: list = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Call:
    """How a layer is called.

    Attributes:
        shapes: Of each of its tensors, with `None` or a `Size` for a size
            that is not known.
        arguments: Function of such a list, numbers in their place or not,
            that gives the arguments with fresh tensors.
        problem: Function of a `Trace` that says why it may not be used.
    """

    shapes: list
    arguments: Callable
    problem: Callable = lambda found: None


def best(layer, call) -> Opened:
    """Records a call in the way that says the most.

    Args:
        layer: A built layer.
        call: How it is called.
    """
    # What the layer draws differs from record to record, and is forgotten.
    with randomness.repeated(0):
        return _best(layer, call)


def _best(layer, call) -> Opened:
    failures, problems = [], []
    for record in (_record, _record_with_sizes):
        for stand_in in (True, False):
            try:
                found = record(layer, call, stand_in)
            except sizes.NotExactError as error:
                problems.append(str(error))
                continue
            except Exception as error:  # any user code may run here
                failures.append(
                    "its call does not run symbolically "
                    f"({what_it_says(error)})"
                )
                continue
            if found.nodes is not None:
                return found
            problems.append(found.reason)
    return Opened(reason=(problems + failures)[0])


def _record(layer, call, stand_in) -> Opened:
    """Records a call that needs no sizes."""
    shapes = [_honest(shape) for shape in call.shapes]
    run = _Run(layer, call, stand_in)
    found = run(shapes)
    reason = run.problem(found, shapes) or call.problem(found)
    if reason is None and any(_wants_sizes(node) for node in found.nodes):
        reason = "it computes with a size that is not known"
    if reason is None and not run.agrees(found):
        reason = "its calls depend on a size that is not known"
    if reason is not None:
        return Opened(reason=reason)
    return _opened(found)


def _record_with_sizes(layer, call, stand_in) -> Opened:
    """Records a call with numbers for its sizes, and opens them again."""
    run = _Run(layer, call, stand_in)
    shapes, found = sizes.first_that_runs(
        sizes.numbered(call.shapes), lambda shapes: run(shapes, sizes.FIRST)
    )
    reason = run.problem(found, shapes, sizes.FIRST)
    if reason is not None:
        return Opened(reason=reason)
    other = run(shapes, sizes.SECOND)
    if not run.holds(found, other, shapes):
        return Opened(reason="its calls depend on a size that is not known")
    args, kwargs = call.arguments([_honest(shape) for shape in shapes])
    found, known = open_sizes.opened(layer, found, other, shapes, args, kwargs)
    reason = call.problem(found)
    if reason is not None:
        return Opened(reason=reason)
    return _opened(found, known)


class _Run:
    """Runs a call and records it."""

    def __init__(self, layer, call, stand_in):
        self.layer = layer
        self.call = call
        self.stand_in = stand_in

    def __call__(self, shapes, primes=(), **extra):
        """The record with numbers in place of unknown sizes."""
        args, kwargs = self.call.arguments(sizes.numbers(shapes, primes))
        return tracing.trace(
            self.layer,
            args,
            {**kwargs, **extra},
            self.stand_in,
            primes,
        )

    def problem(self, found, shapes, primes=()) -> str | None:
        """Why a record is not all that the layer does."""
        if found.problem is not None:
            return found.problem
        if not comparing.same(found, self(shapes, primes)):
            return "its call differs from run to run"
        if "training" in inspect.signature(self.layer.call).parameters:
            for mode in (False, True):
                again = self(shapes, primes, training=mode)
                if not comparing.same(found, again):
                    return "its call takes another path while training"
        return None

    def agrees(self, found) -> bool:
        """Whether a record without sizes is made with any sizes as well.

        Code may ask whether a size is known, or equal to another.
        """
        shapes = sizes.numbered(self.call.shapes)
        for primes in (sizes.FIRST, *sizes.TESTS):
            try:
                again = self(shapes, primes)
            except Exception:  # sizes that do not fit
                continue
            if not comparing.same(found, again):
                return False
        return True

    def holds(self, found, other, shapes) -> bool:
        """Whether two records foretell a third, of equal and even sizes.

        Code may do something else where sizes are equal, or small, or where
        a window fits.
        """
        for test in sizes.TESTS:
            try:
                third = self(shapes, test)
            except Exception:  # such sizes may be too small or too large
                continue
            return comparing.foretell(found, other, third, test)
        return False


def _honest(shape) -> tuple:
    """A shape as Keras shows it."""
    return tuple(None if isinstance(n, sizes.Size) else n for n in shape)


def _opened(found, known=None) -> Opened:
    return Opened(
        found.inputs,
        tree.flatten(found.result),
        found.nodes,
        None,
        found.stand_ins,
        found.paths,
        known or {},
        found.given,
        found.result,
        found.alive,
    )


def _wants_sizes(keras_node) -> bool:
    """Whether an operation's arguments hold a size that is not known."""
    operation = keras_node.operation
    if keras_internals.is_layer(operation):
        return False
    if type(operation).__name__ == "GetItem":
        return False  # None adds an axis there
    given = [*keras_node.arguments.args, *keras_node.arguments.kwargs.values()]
    return any(
        isinstance(value, (list, tuple)) and any(v is None for v in value)
        for value in (*keras_internals.config(operation).values(), *given)
    )
