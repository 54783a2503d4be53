"""Makes sure that a copy of a model does what the model does.

A copy is made from what was read of the model, layer by layer from their
configs. A `get_config` that leaves an argument out, or a branch of `call` that
was read wrongly, would give another model in silence.
"""

from __future__ import annotations

import logging

from tf_channel_prune import graph as graphs
from tf_channel_prune.errors import NoInputsError
from tf_channel_prune.errors import VerificationError
from tf_channel_prune.graph import flavours
from tf_channel_prune.graph import twins
from tf_channel_prune.graph.amplifying import amplifies
from tf_channel_prune.graph.inputs import on_random_inputs
from tf_channel_prune.graph.outputs import Reference

log = logging.getLogger("tf_channel_prune")


def check_copy(graph, copy, keep_whole) -> None:
    """Compares a copy with the model that it is a copy of.

    Layers are compared one by one where the outputs differ, to find the one to
    blame, and where they do not depend on the inputs (see `Reference`), as a
    layer that is wrong would not be seen there.

    Args:
        graph: What was read of the model.
        copy: A model made from it, with nothing changed.
        keep_whole: See `graph.read`.

    Raises:
        VerificationError: If the outputs differ by more than float error.
    """
    model = graph.root.model
    try:
        reference = on_random_inputs(copy, lambda x: Reference(copy, x), graph)
    except NoInputsError as error:
        log.info("The copy of %r is not compared: %s", model.name, error)
        return
    found = _difference(reference, model)
    if found is None or (found.equal and reference.telling):
        return
    name, failure = twins.blamed(
        lambda: _first(graph, copy, keep_whole, reference)
    )
    if name is not None:
        where = (
            f"given the same inputs, the first layer to differ is {name!r}. If "
            "its class is your own, its get_config() must return all that its "
            "constructor was given"
        )
    elif found.equal:
        return
    elif failure is not None:
        where = f"the layer to blame is not known ({failure})"
    else:
        where = _opened(graph)
    if where is None and not amplifies(copy, reference.inputs, found):
        where = (
            "each of its layers gives what it should by itself, so that how "
            "they are connected was read wrongly"
        )
    if where is None:
        log.warning(
            "The outputs of the copy of %r differ: %s. Each of its layers "
            "gives what it should by itself: the model amplifies rounding.",
            model.name,
            found,
        )
        return
    raise VerificationError(
        f"A copy of model {model.name!r} does not give what the model gives: "
        f"{found}; {where}. If no class of yours is in it, report the model."
    )


def _difference(reference, model):
    """How far the model's outputs are; None if it cannot be called so."""
    given = reference.inputs
    calls = [lambda x: model(x, training=False), model]
    if isinstance(given, dict):  # the arguments of a subclassed model
        calls += [lambda x: model(**x, training=False), lambda x: model(**x)]
    for call in calls:
        try:
            return reference.difference(model, call)
        except Exception as error:  # any user code may run here
            log.debug("%r is not called in this way: %s", model.name, error)
    log.warning(
        "The copy of %r is not compared with it: it is not known how to call "
        "it.",
        model.name,
    )
    return None


def _first(graph, copy, keep_whole, reference):
    """The first layer of the copy that differs, or None."""
    read = graphs.read(copy, keep_whole)
    return twins.first_difference(
        read, graph, reference.inputs, reference.tolerance
    )


def _opened(graph) -> str | None:
    """What was read by calling it on symbolic tensors, for people."""
    model = graph.root.model
    names = list(
        dict.fromkeys(n.opened_path[0] for n in graph.nodes if n.opened_path)
    )
    if flavours.internals(graph).functional(model) is None:
        names = [model.name]
    if not names:
        return None
    return (
        "what was read of the call of one of these by symbolic tensors is not "
        f"what it does with arrays: {', '.join(map(repr, names[:9]))}. If the "
        "class is your own, its call() must do the same with both"
    )
