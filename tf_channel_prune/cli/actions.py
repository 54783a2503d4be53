"""What each `--action` does: thin, each over one or two calls."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Callable

from tf_channel_prune import api
from tf_channel_prune.analysis import score_of
from tf_channel_prune.cli.functions import load_function
from tf_channel_prune.errors import PruningError
from tf_channel_prune.graph.digests import text_digest
from tf_channel_prune.graph.files import check_model_path
from tf_channel_prune.graph.files import write_model
from tf_channel_prune.graph.loading import load_model
from tf_channel_prune.masking import Masks
from tf_channel_prune.planning import exactly_one
from tf_channel_prune.planning.budget import check_target
from tf_channel_prune.pruner import Pruner
from tf_channel_prune.report import tables
from tf_channel_prune.workspace import Workspace


def _flops(values) -> None:
    print(api.cost(_model(values)))


def _groups(values) -> None:
    groups = api.channel_groups(_model(values), values.exclude)
    print(tables.to_text(tables.group_table(groups)))


def _ana(values) -> None:
    evaluate = _function(values, "evaluate")
    pruner = _pruner(values)
    print(pruner.ana(evaluate, criterion=values.criterion))


def _prune(values) -> None:
    exactly_one(
        ratio=values.ratio, threshold=values.threshold, plan=values.plan
    )
    output = _output(values)
    pruner = _pruner(values)
    start = _load(values, values.sparse) if values.sparse else None
    sparse = pruner.prune(
        values.ratio,
        threshold=values.threshold,
        plan=values.plan,
        model=start,
        **_how(values),
    )
    print(f"Plan: {pruner.plan_path}")
    for of, share in pruner.plan.achieved.items():
        print(f"{share:8.2%} of {of} removed")
    _save(sparse, output or _named(values, pruner.plan_path.stem))


def _finetune(values) -> None:
    train = _function(values, "train")
    output = _output(values) or _named(values, _stem(values) + "-tuned")
    sparse = _model(values)
    _train(train, sparse)
    _save(sparse, output)


def _transform(values) -> None:
    output = _output(values) or _named(values, _stem(values) + "-slim")
    _save(api.transform(_model(values)), output)


def _run(values) -> None:
    """ana, then iterations of prune and finetune, then transform."""
    ratios = _ratios(values)
    train = _function(values, "train")
    evaluate = _function(values, "evaluate") if values.evaluate else None
    output = _output(values)
    pruner = _pruner(values)
    with pruner.workspace.lock():
        if evaluate is not None:
            print(pruner.ana(evaluate, criterion=values.criterion))
        sparse = None
        key = _run_key(values, pruner)
        for number, ratio in enumerate(ratios, start=1):
            path = _named(values, f"run-{key}-{number}")
            if path.exists():
                print(f"Iteration {number} was finished before: {path}")
                sparse = _load(values, path)
                continue
            print(f"Iteration {number} of {len(ratios)}: ratio {ratio:.4f}")
            sparse = pruner.prune(ratio, model=sparse, **_how(values))
            _train(train, sparse)
            _save(sparse, path)
        slim = api.transform(sparse)
        _save(slim, output or _named(values, path.stem + "-slim"))
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


def _ratios(values) -> list[float]:
    """The ratio of each iteration."""
    check_target(values.ratio, values.of)
    if values.iterations < 1:
        raise PruningError(
            f"--iterations must be at least 1, got {values.iterations}."
        )
    parts = [
        number / values.iterations for number in range(1, values.iterations + 1)
    ]
    if values.steps == "linear":
        return [values.ratio * part for part in parts]
    return [1 - (1 - values.ratio) ** part for part in parts]


def _run_key(values, pruner) -> str:
    """Short, and another one for another model or request."""
    asked = {
        **_how(values),
        "model": pruner.digest,
        "ratio": values.ratio,
        "steps": [values.steps, values.iterations],
        "functions": [values.evaluate, values.train],
    }
    return text_digest(json.dumps(asked, sort_keys=True))[:8]


def _train(train, sparse) -> None:
    """Calls the user's function and makes sure that the masks held."""
    masks = Masks(sparse)
    before = masks.alive()
    try:
        train(sparse)
    except PruningError:
        raise
    except Exception as error:  # the user's function may raise anything
        raise PruningError(
            f"train raised {type(error).__name__}: {error}"
        ) from error
    if (masks.alive() != before).any():
        raise PruningError("train changed the masks of the model.")
    masks.check()


def _how(values) -> dict:
    divisor = values.divisor
    return {
        "of": values.of,
        "criterion": values.criterion,
        "min_channels": values.min_channels,
        "max_ratio": values.max_ratio,
        # Limits says what is wrong with a divisor that is no number.
        "divisor": int(divisor) if divisor.isdigit() else divisor,
    }


def _needed(values, name: str) -> str:
    value = values[name].value
    if not value:
        raise PruningError(f"--action={values.action} needs --{name}.")
    return value


def _pruner(values):
    workspace = _needed(values, "workspace")
    return Pruner(_model(values), workspace, values.exclude)


def _model(values):
    return _load(values, _needed(values, "model"))


def _load(values, path):
    try:
        return load_model(path, safe_mode=not values.unsafe_load)
    except PruningError as error:
        # The flag is what a user of the command line can change.
        text = str(error).replace("safe_mode=False", "--unsafe_load")
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
    "finetune": _finetune,
    "transform": _transform,
    "run": _run,
    "flops": _flops,
    "groups": _groups,
}
