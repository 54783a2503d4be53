"""Compiles a copy of a model as the model is compiled."""

from __future__ import annotations

import logging

from tf_channel_prune.errors import what_it_says
from tf_channel_prune.graph.own_objects import altered
from tf_channel_prune.graph.own_objects import made_by
from tf_channel_prune.graph.remade import lost
from tf_channel_prune.graph.structure import map_arguments

log = logging.getLogger("tf_channel_prune")


def compile_like(internals, old, new) -> None:
    """Compiles `new` with the optimizer, loss and metrics of `old`.

    The optimizer is a new one with the same settings and no state; metrics
    are new ones too. Where one of them cannot be made again, `new` stays
    uncompiled, and a warning says so.

    Args:
        internals: Of the models' Keras.
        old, new: The models.
    """
    optimizer = _to_copy(old)
    if optimizer is None:
        return
    raw = old._compile_config.config

    def again(value):
        if isinstance(value, internals.kind.metrics.Metric):
            return _again(internals, value)
        return value

    try:
        given = {
            "optimizer": _optimizer(internals, optimizer),
            **{
                name: map_arguments(again, raw.get(name))
                for name in ("metrics", "weighted_metrics")
            },
        }
    except Exception as error:  # users write get_config
        log.warning(
            "The copy of model %r is not compiled (%s): compile it before "
            "training, or give the optimizer and the metrics a get_config() "
            "that returns their constructors' arguments.",
            old.name,
            what_it_says(error)[:200],
        )
        return
    new.compile(**{**raw, **given})


def _to_copy(model):
    """The optimizer that a copy should have; None where there is none."""
    # tf_keras has no public attribute for it.
    compiled = getattr(model, "compiled", getattr(model, "_is_compiled", False))
    if not compiled or model.optimizer is None:
        return None
    inner = getattr(model.optimizer, "inner_optimizer", None)
    given = model._compile_config.config["optimizer"]
    # A loss scale that Keras added by itself is added again.
    if inner is None or hasattr(given, "inner_optimizer"):
        return model.optimizer
    return inner


def _optimizer(internals, optimizer):
    """An optimizer with the same settings, and the very same schedule."""
    # Where it is in an optimizer of `tf_keras.optimizers.legacy`.
    hyper = getattr(optimizer, "_hyper", None) or {}
    schedule = getattr(optimizer, "_learning_rate", hyper.get("learning_rate"))
    schedules = internals.kind.optimizers.schedules
    if not isinstance(schedule, schedules.LearningRateSchedule):
        return _again(internals, optimizer)
    # A schedule needs no config to train with, and few have one.
    if hyper:
        twin = altered(optimizer, _hyper={**hyper, "learning_rate": 0.0})
    else:
        twin = altered(optimizer, _learning_rate=0.0)
    config = {**twin.get_config(), "learning_rate": schedule}
    make = type(optimizer).from_config
    return _checked(optimizer, made_by(make, internals, twin, config))


def _again(internals, thing):
    """An optimizer or a metric like another, without its state."""
    make = type(thing).from_config
    return _checked(thing, made_by(make, internals, thing, thing.get_config()))


def _checked(thing, new):
    """What was made of a thing's config, with a warning if it lost anything."""
    pairs = [(thing, new)]
    if hasattr(thing, "inner_optimizer"):
        pairs.append((thing.inner_optimizer, new.inner_optimizer))
    for one, other in pairs:
        names = lost(one, other)
        if names:
            log.warning(
                "The copy's %s differs from the model's in %s: its "
                "get_config() must return all that its constructor was given.",
                type(one).__name__,
                ", ".join(names),
            )
    return new
