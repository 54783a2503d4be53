"""What each `--action` does: thin, each over one or two calls."""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
from collections.abc import Callable

from tf_channel_prune import api
from tf_channel_prune import finetune as tuning
from tf_channel_prune.analysis import score_of
from tf_channel_prune.cli.functions import call
from tf_channel_prune.cli.functions import load_function
from tf_channel_prune.cli.reporting import report
from tf_channel_prune.errors import PruningError
from tf_channel_prune.graph.data import are_samples_with_targets
from tf_channel_prune.graph.files import check_model_path
from tf_channel_prune.graph.files import write_model
from tf_channel_prune.graph.loading import load_model
from tf_channel_prune.masking import Masks
from tf_channel_prune.planning import exactly_one
from tf_channel_prune.pruner import Pruner
from tf_channel_prune.pruner import running
from tf_channel_prune.report import tables
from tf_channel_prune.workspace import Workspace


def _flops(values) -> None:
    print(api.cost(_model(values)))


def _groups(values) -> None:
    groups = api.channel_groups(_model(values), values.exclude)
    print(tables.to_text(tables.group_table(groups)))


def _ana(values) -> None:
    if bool(values.evaluate) == bool(values.data):
        raise PruningError(
            "--action=ana needs --evaluate or --data, and not both."
        )
    data = _data(values)
    pruner = _pruner(values, data)
    if data is None:
        evaluate = _function(values, "evaluate")
        print(pruner.ana(evaluate, criterion=values.criterion))
        return
    print(
        pruner.ana(
            criterion=values.criterion,
            data=data,
            metric=values.metric,
            loss=values.loss,
        )
    )


def _prune(values) -> None:
    exactly_one(
        ratio=values.ratio, threshold=values.threshold, plan=values.plan
    )
    output = _output(values)
    pruner = _pruner(values, _data(values))
    start = _load(values, values.sparse) if values.sparse else None
    sparse = pruner.prune(
        values.ratio,
        threshold=values.threshold,
        plan=values.plan,
        model=start,
        allocation=values.allocation,
        latency=values.latency,
        **_how(values),
    )
    print(pruner.explain())
    print(f"Plan: {pruner.plan_path}")
    for of, share in pruner.plan.achieved.items():
        print(f"{share:8.2%} of {of} removed")
    _save(sparse, output or _named(values, pruner.plan_path.stem))


def _latency(values) -> None:
    """Measures a table of latencies, in the workspace or at --latency."""
    target = values.target
    if ":" in target:
        target = load_function(target, "target")
    path, lock = values.latency, contextlib.nullcontext()
    if path is None:
        space = Workspace(_needed(values, "workspace"))
        path, lock = space.latency_path, space.lock()
    model = _model(values)
    with lock:
        table = api.measure_latency(
            model,
            path,
            target,
            values.threads,
            values.device,
            values.exclude,
        )
    for whole in table.models.values():
        print(f"{whole / 1000:10.3f} ms a sample")
    print(f"Latencies: {path}")


def _search(values) -> None:
    evaluate = _function(values, "evaluate")
    data = call(_function(values, "data"), "data")
    output = _output(values)
    pruner = _pruner(values)
    sparse = pruner.search(
        evaluate,
        data,
        values.ratio,
        candidates=values.candidates,
        seed=values.seed,
        latency=values.latency,
        **_how(values),
    )
    print(pruner.candidates)
    print(f"Plan: {pruner.plan_path}")
    _save(sparse, output or _named(values, pruner.plan_path.stem))


def _explain(values) -> None:
    print(_pruner(values).explain(_needed(values, "plan")))


def _finetune(values) -> None:
    how = _training(values)
    evaluate = _evaluate(values)
    output = _output(values) or _named(values, _stem(values) + "-tuned")
    sparse = _model(values)
    Masks(sparse)  # says so where it holds none
    if "train" in how:
        tuned = tuning.train_by(sparse, how["train"], seed=values.seed).model
    else:
        folder = Workspace(values.workspace) if values.workspace else None
        tuned = running.finetune(
            folder,
            sparse,
            evaluate=evaluate,
            keep="last",
            seed=values.seed,
            **how,
        )
    _save(tuned, output)


def _transform(values) -> None:
    output = _output(values) or _named(values, _stem(values) + "-slim")
    _save(api.transform(_model(values)), output)


def _run(values) -> None:
    """ana, then rounds of prune and finetune, then transform."""
    how = _training(values)
    evaluate = _evaluate(values)
    output = _output(values)
    data = how.get("data")
    pruner = _pruner(values, data if are_samples_with_targets(data) else None)
    limits = _how(values)
    slim = pruner.run(
        evaluate=evaluate,
        ratio=values.ratio,
        max_drop=values.max_drop,
        tolerance=values.tolerance,
        rounds=values.iterations,
        steps=values.steps,
        of=limits.pop("of"),
        criterion=limits.pop("criterion"),
        limits=limits,
        seed=values.seed,
        latency=values.latency,
        **how,
    )
    if output is None:
        print(f"Model: {pruner.history.folder / 'slim.keras'}")
    else:
        _save(slim, output)
    print(_comparison({"baseline": pruner.model, "slim": slim}, evaluate))


def _comparison(models, evaluate) -> str:
    """The models' costs, and their scores where there is a function."""
    costs = {name: api.cost(model) for name, model in models.items()}
    scores = None
    if evaluate is not None:
        scores = {
            name: score_of(lambda m=model: evaluate(m), f"the {name} model")
            for name, model in models.items()
        }
    return tables.to_text(tables.comparison(costs, scores))


def _report(values) -> None:
    print(report(_needed(values, "workspace")))


def _export(values) -> None:
    """A SavedModel folder, a LiteRT or an ONNX file."""
    from tf_channel_prune import export

    output = _needed(values, "output")
    quantize = values.quantize
    data = _function(values, "data") if values.data else None
    if values.format != "litert" and quantize is not None:
        raise PruningError("--quantize goes with --format=litert.")
    if values.format == "onnx":
        print(f"ONNX: {export.onnx(_model(values), output)}")
    elif values.format == "savedmodel":
        print(f"SavedModel: {export.saved_model(_model(values), output)}")
    else:
        model = _model(values)
        samples = None if data is None else call(data, "data")
        export.litert(model, output, quantize, samples)
        print(f"LiteRT: {output}")


def _training(values) -> dict:
    """How to train, by --train or by --data and recipes."""
    if bool(values.train) == bool(values.data):
        raise PruningError(
            f"--action={values.action} needs --train or --data, and not both."
        )
    if values.train:
        if values.teacher:
            raise PruningError("--teacher goes with --data.")
        return {"train": _function(values, "train")}
    data = _function(values, "data")
    teacher = _load(values, values.teacher) if values.teacher else None
    return {
        "data": call(data, "data"),
        "recipes": _recipes(values),
        "distill": teacher,
        "loss": values.loss,
    }


def _recipes(values) -> list[tuning.Recipe] | None:
    """A recipe for each learning rate; None for the package's own."""
    given = {
        name: values[name].value
        for name in ("epochs", "batch_size", "optimizer")
        if values[name].value is not None
    }
    rates = [_number(text) for text in values.learning_rate]
    if not given and not rates:
        return None
    if not rates:
        return [
            dataclasses.replace(recipe, **given)
            for recipe in tuning.as_recipes(None)
        ]
    return [tuning.Recipe(rate, **given) for rate in rates]


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise PruningError(
            f"--learning_rate is a list of numbers; got {text!r}."
        ) from None


def _evaluate(values) -> Callable | None:
    return _function(values, "evaluate") if values.evaluate else None


def _how(values) -> dict:
    divisor = values.divisor
    return {
        "of": values.of,
        "criterion": values.criterion,
        "min_channels": values.min_channels,
        "max_ratio": values.max_ratio,
        # Limits says what is wrong with a divisor that is no number.
        "divisor": int(divisor) if divisor.isdecimal() else divisor,
    }


def _needed(values, name: str) -> str:
    value = values[name].value
    if not value:
        raise PruningError(f"--action={values.action} needs --{name}.")
    return value


def _pruner(values, data=None):
    workspace = _needed(values, "workspace")
    return Pruner(_model(values), workspace, values.exclude, data, values.loss)


def _data(values):
    """What the function of --data returns; None without."""
    if not values.data:
        return None
    return call(_function(values, "data"), "data")


def _model(values):
    return _load(values, _needed(values, "model"))


def _load(values, path):
    try:
        return load_model(path, safe_mode=not values.unsafe_load)
    except PruningError as error:
        # Flags are what a user of the command line can change.
        text = str(error).replace("safe_mode=False", "--unsafe_load")
        text = text.replace(
            "load the model with custom_objects", "name its file with --code"
        )
        raise PruningError(text) from error


def _stem(values) -> str:
    return pathlib.Path(_needed(values, "model")).stem


def _output(values) -> pathlib.Path | None:
    """--output, checked before any work."""
    if values.output is None:
        _needed(values, "workspace")
        return None
    return check_model_path(values.output)


def _named(values, name: str) -> pathlib.Path:
    return Workspace(_needed(values, "workspace")).model_path(name)


def _save(model, path) -> None:
    write_model(path, model)
    print(f"Model: {path}")


def _function(values, flag: str) -> Callable:
    return load_function(_needed(values, flag), flag)


ACTIONS = {
    "ana": _ana,
    "prune": _prune,
    "latency": _latency,
    "search": _search,
    "explain": _explain,
    "finetune": _finetune,
    "transform": _transform,
    "run": _run,
    "flops": _flops,
    "groups": _groups,
    "report": _report,
    "export": _export,
}
