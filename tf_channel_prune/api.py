"""The public functions: thin, each over one room."""

from __future__ import annotations

import weakref

from tf_channel_prune import graph as graphs
from tf_channel_prune.channels import ChannelGroup
from tf_channel_prune.channels import Channels
from tf_channel_prune.channels import understood

_told: weakref.WeakSet = weakref.WeakSet()


def channels_of(model, exclude=()) -> Channels:
    """Reads a model and labels its channels.

    What the results will not have of the model is printed, once a model.
    """
    graph = graphs.read(model, understood)
    if model not in _told:
        _told.add(model)
        for note in graph.notes:
            print(note)
    return Channels(graph, exclude)


def cost(model, input_shape=None):
    """What a model costs for one sample.

    Args:
        model: A built Keras model.
        input_shape: Sizes for axes that the model leaves open, as the inputs'
            shapes without the batch axis: one shape, a list of them, or a
            dictionary by input name. Defaults to 224 for the sides of images
            and 128 for other open axes; `.assumed` then says so.

    Returns:
        A `Cost`: `.flops` (a multiply-add is two), `.params`,
        `.activation_bytes`, and the same per layer in `.layers`. It prints as
        a table.

    Raises:
        PruningError: If the model does not take `input_shape`.
    """
    from tf_channel_prune.cost import measure

    return measure(channels_of(model), input_shape)


def channel_groups(model, exclude=()) -> list[ChannelGroup]:
    """The groups of channels of a model, in graph order.

    Args:
        model: A built Keras model.
        exclude: Names of layers, or patterns of them, that keep their
            channels.
    """
    return channels_of(model, exclude).groups


def prune(
    model,
    ratio=None,
    of="flops",
    criterion="l2",
    exclude=(),
    min_channels=1,
    max_ratio=1.0,
    divisor="auto",
    plan=None,
):
    """A sparse copy of a model with at least `ratio` of its cost masked.

    Example:

        sparse = tcp.prune(model, ratio=0.5)
        sparse.compile(...); sparse.fit(...)
        slim = tcp.transform(sparse)

    Args:
        model: A built Keras model. It is not changed. What is masked in a
            sparse model stays masked, and counts as removed.
        ratio: Share of the cost to remove, between 0 and 1.
        of: `flops`, `params` or `activation_memory`. Defaults to `flops`.
        criterion: How channels are ranked. Defaults to `l2`.
        exclude: Names of layers, or patterns of them, that keep their
            channels.
        min_channels: The least that every group keeps. Defaults to 1.
        max_ratio: The largest share of a group that may go. Defaults to 1.
        divisor: What kept counts are multiples of. Defaults to `"auto"`.
        plan: A plan, or a plan file, to replay instead of a ratio.

    Raises:
        TargetError: If no allowed plan removes that much.
        StaleFileError: If the plan was made from another graph.
    """
    from tf_channel_prune import criteria
    from tf_channel_prune import planning
    from tf_channel_prune.masking import living_units
    from tf_channel_prune.masking import make_sparse

    planning.exactly_one(ratio=ratio, plan=plan)
    channels = channels_of(model, exclude)
    living = living_units(model, channels)
    if plan is None:
        limits = planning.Limits(min_channels, max_ratio, divisor)
        asked = planning.Request(ratio, of=of, limits=limits)
        scores = criteria.scores(channels, criterion)
        alive = asked.plan(channels, scores, living)
    else:
        from tf_channel_prune.graph.digests import graph_digest

        if not isinstance(plan, planning.Plan):
            plan = planning.Plan.read(plan)
        plan.check_graph(graph_digest(channels.graph))
        alive = plan.alive(channels) & living
    return make_sparse(channels, alive)


def make_sparse(model, exclude=(), keep_optimizer=False):
    """A sparse copy of a model with nothing masked yet.

    For callbacks that set masks while the model trains.

    Args:
        model: A built Keras model. It is not changed.
        exclude: Names of layers, or patterns of them, that keep their
            channels.
        keep_optimizer: Whether the new model's optimizer has the state of
            the given one's, so that training goes on as if it had never
            stopped; see `transform.transform`. Defaults to False.
    """
    from tf_channel_prune.masking import make_sparse as make

    return make(channels_of(model, exclude), None, keep_optimizer)


def transform(sparse, samples=None, keep_optimizer=False):
    """The slim model of a sparse one, verified; see `transform.transform`.

    Args:
        sparse: A sparse model.
        samples: A batch of inputs to compare the two models on, beside the
            random ones that they are always compared on.
        keep_optimizer: Whether the new model's optimizer has the state of
            the given one's, so that training goes on as if it had never
            stopped; see `transform.transform`. Defaults to False.

    Returns:
        An ordinary Keras model that needs nothing of this package.
    """
    from tf_channel_prune.transform import transform as run

    return run(sparse, samples, keep_optimizer)


def sparsity(model, of="params") -> float:
    """The share of a sparse model's cost that `transform` will remove.

    Args:
        model: A sparse model.
        of: `flops`, `params` or `activation_memory`. Defaults to `params`.

    Returns:
        A share between 0 and 1.

    Raises:
        PruningError: If the model holds no masks.
    """
    from tf_channel_prune.masking import sparsity as measured

    return measured(model, of)
