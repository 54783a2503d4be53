"""The public functions: thin, each over one room."""

from __future__ import annotations

import weakref

from tf_channel_prune import graph as graphs
from tf_channel_prune.channels import ChannelGroup
from tf_channel_prune.channels import Channels
from tf_channel_prune.channels import understood
from tf_channel_prune.cost import CostTable
from tf_channel_prune.cost.latency_table import as_table

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
        `.activation_bytes`, and the same per layer in `.layers`;
        `.uncounted` names the layers whose FLOPs are not known, which count
        as 0. It prints as a table.

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
    criterion=None,
    exclude=(),
    min_channels=1,
    max_ratio=1.0,
    divisor="auto",
    plan=None,
    allocation=None,
    data=None,
    loss=None,
    latency=None,
    metric=None,
    candidates=16,
    progress=True,
    keep_optimizer=False,
):
    """A sparse copy of a model with at least `ratio` of its cost masked.

    Example:

        sparse = tcp.prune(model, ratio=0.5)
        sparse.compile(...); sparse.fit(...)
        slim = tcp.transform(sparse)

    Args:
        model: A built Keras model. It is not changed. What is masked in a
            sparse model stays masked, and counts as removed.
        ratio: Share of the cost to remove, between 0 and 1; or a dictionary
            of targets by cost, all of which are met, each a share to remove
            or, from 1 up, the most that may be left (FLOPs, parameters,
            bytes, microseconds).
        of: `flops`, `params`, `activation_memory` or `latency`. Defaults to
            `flops`.
        criterion: How channels are ranked: a name of `criteria.names()`, a
            `Criterion`, or a function of the channels that gives one score a
            unit. Defaults to `criteria.DEFAULT_WITH_DATA`
            where `data` decides how much of each group goes, else to
            `criteria.DEFAULT`.
        exclude: Names of layers, or patterns of them, that keep their
            channels.
        min_channels: The least that every group keeps, or a dictionary of
            pattern of group or layer names to that. Defaults to 1.
        max_ratio: The largest share of a group that may go; or by pattern.
            Defaults to 1.
        divisor: What kept counts are multiples of; or by pattern. Defaults to
            `"auto"`, which suits the hardware.
        plan: A plan, or a plan file, to replay instead of a ratio.
        allocation: How the target is shared out among the groups: `uniform`
            (the same share of each), `global` (by score), `isomorphic` (by
            score among groups of the same structure), `sensitivity` (by loss
            curves, measured on `data`), or a dictionary of shares to remove
            by pattern of group or layer names, with a ratio for the rest or
            without. Defaults to `sensitivity` with data, else to
            `planning.DEFAULT_ALLOCATION`.
        data: Samples with targets, `(x, y)` or batches of them, held-out ones
            or training samples augmented as in training: for criteria
            that look at data, for loss curves, and for trials of the plans
            near the one by the curves (with the running statistics of
            normalisation layers measured anew for every plan).
        loss: The loss on them; defaults to the compiled model's.
        latency: Where latency is a target: what `measure_latency` gave, or
            its file.
        metric: With `data`, what plans are compared by: `accuracy`, `loss`, or
            a function of `(y, y_pred)` that gives one number a sample, larger
            for better. Defaults to `accuracy` for a categorical
            cross-entropy, else to `loss`.
        candidates: With `data`, how many plans of the same cost are tried. One
            is taken instead of that by the curves where it is better by more
            than the standard error; 1 tries none. Defaults to 16.
        progress: Whether to show progress bars. Defaults to True.
        keep_optimizer: Whether the new model's optimizer has the state of
            the given one's, with nothing left where weights are masked; for
            pruning in the middle of a training. Defaults to False.

    Raises:
        TargetError: If no allowed plan removes that much.
        StaleFileError: If the plan was made from another graph.
    """
    from tf_channel_prune import planning
    from tf_channel_prune.masking import living_units
    from tf_channel_prune.masking import make_sparse

    channels = channels_of(model, exclude)
    living = living_units(model, channels)
    if plan is None:
        limits = planning.Limits(min_channels, max_ratio, divisor)
        planning.check_candidates(candidates)
        asked = planning.Request(
            ratio, of=of, limits=limits, allocation=allocation
        )
        wanted = as_table(latency) if "latency" in asked.metrics else None
        table = CostTable(channels, latency=wanted)
        for reach in asked.reach(channels, table):
            print(reach)
        trials = {"metric": metric, "count": candidates, "progress": progress}
        alive = _choose(
            asked, channels, living, table, criterion, data, loss, trials
        )
    else:
        from tf_channel_prune.graph.digests import graph_digest

        planning.exactly_one(ratio=ratio, plan=plan)
        if not isinstance(plan, planning.Plan):
            plan = planning.Plan.read(plan)
        plan.check_graph(graph_digest(channels.graph))
        alive = plan.alive(channels) & living
    return make_sparse(channels, alive, keep_optimizer)


def _choose(asked, channels, living, table, criterion, data, loss, trials):
    """What stays, after an analysis on the data where one is needed."""
    from tf_channel_prune import criteria
    from tf_channel_prune.masking.choosing import choose_by_trials

    if data is not None and asked.allocation in (None, "sensitivity"):
        criterion = criterion or criteria.DEFAULT_WITH_DATA
        return choose_by_trials(
            channels, asked, criterion, data, living, table, loss, **trials
        )
    scores = criteria.scores(channels, criterion, data, loss)
    return asked.choose(channels, scores, living, None, table).alive


def measure_latency(
    model,
    path,
    target="litert",
    threads=None,
    device=None,
    exclude=(),
    progress=True,
):
    """Measures how long the parts of a model take, at several widths.

    Example:

        tcp.measure_latency(model, "phone.json")
        sparse = tcp.prune(model, 0.5, of="latency", latency="phone.json")
        print(tcp.compare_latency(sparse, "phone.json"))

    The model is measured in segments (an operation that works, and what the
    runtime fuses with it), each for one sample, at a few shares of its
    channels, and as a whole. Every result is in the file before the next is
    begun; called again, only what is missing is measured.

    Args:
        model: A built Keras model.
        path: The table's JSON file. It may hold other models' segments, of
            the same device and target.
        target: `litert` (with XNNPACK), `tensorflow`, both on this machine;
            or a function that is given the path of a LiteRT file, runs it
            wherever it likes and returns the microseconds of one sample.
            Defaults to `litert`.
        threads: How many threads the target uses. Defaults to what it does
            by itself: one with LiteRT, all with TensorFlow.
        device: A name for the machine. Defaults to its processor's.
        exclude: As it will be for `prune`.
        progress: Whether to show a progress bar. Defaults to True.

    Returns:
        The `LatencyTable`.

    Raises:
        StaleFileError: If the file was measured elsewhere.
    """
    from tf_channel_prune import latency

    channels = channels_of(model, exclude)
    place = latency.target_for(target, threads)
    return latency.fill(channels, path, place, device, progress)


def compare_latency(sparse, latency, seconds=4.0):
    """The latency that a table predicts for a sparse model, and measures it.

    Args:
        sparse: A sparse model.
        latency: A `LatencyTable` that was measured on this machine, or its
            file.
        seconds: How long to measure: the dense and the slim model in turns.
            Defaults to 4.

    Returns:
        An `Agreement`: `.predicted_share` and `.measured_share` of the dense
        model's latency, and more. It prints as a sentence.

    Raises:
        PruningError: If another machine's function measured the table.
    """
    from tf_channel_prune import latency as room

    table = as_table(latency)
    place = room.target_for(table.target, table.threads)
    return room.agreement(sparse, table, place, seconds)


def recalibrate(model, data, samples=2048, batch_size=256):
    """A copy of a model with its running statistics measured anew.

    A pruned model's BatchNormalization layers hold the statistics of the dense
    one. Measured on a few batches of training data they give back much of the
    accuracy, without training (EagleEye: Li et al., ECCV 2020, section 3.3).

    Args:
        model: A dense, sparse or slim Keras model. It is not changed.
        data: Inputs as the model is trained on, augmented if it was: arrays,
            or batches; targets are not looked at.
        samples: The most samples to use. Defaults to 2,048.
        batch_size: Of data given as arrays; not small. Defaults to 256.

    Returns:
        The copy; the model itself, where it has no such layers, copied too.
    """
    from tf_channel_prune.graph.recalibration import Recalibration
    from tf_channel_prune.masking import copied

    copy = copied(model, channels_of(model))
    graph = graphs.read(copy, understood)
    Recalibration(graph)(data, samples, batch_size)
    return copy


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
