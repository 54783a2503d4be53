"""`--action=report`: tables of what is in a workspace."""

from __future__ import annotations

from collections.abc import Iterator

from tf_channel_prune.errors import PruningError
from tf_channel_prune.finetune import read_run
from tf_channel_prune.planning import Plan
from tf_channel_prune.pruner.analysing import curves
from tf_channel_prune.report import tables
from tf_channel_prune.workspace import Workspace


def report(path) -> str:
    """What a workspace holds, as text of at most 80 columns.

    Args:
        path: The workspace.

    Raises:
        PruningError: If there is no such folder, or it holds nothing.
        StaleFileError: If a file of it cannot be read.
    """
    workspace = Workspace(path)
    if not workspace.path.is_dir():
        raise PruningError(f"There is no workspace {workspace.path}.")
    parts = [
        *_analyses(workspace),
        *_plans(workspace),
        *_runs(workspace),
        *_models(workspace),
    ]
    if not parts:
        raise PruningError(
            f"The workspace {workspace.path} is empty: nothing was analysed, "
            "pruned or trained there."
        )
    return "\n\n".join(parts)


def _analyses(workspace) -> Iterator[str]:
    for results in workspace.analyses():
        where = results.path.relative_to(workspace.path)
        by = results.origin.get("criterion"), results.origin.get("scoring")
        yield f"{where}: channels by {by[0]}, scored by {by[1]}\n" + (
            f"not finished: {len(results.known)} scores are known"
            if results.ratios is None
            else str(curves(results))
        )


def _plans(workspace) -> Iterator[str]:
    paths = workspace.files("plans/*.json")
    plans = {path.stem: Plan.read(path) for path in paths}
    changed = [p.stem for p in paths if not workspace.is_as_saved(p)]
    if plans:
        yield tables.to_text(tables.plans_table(plans, changed))


def _runs(workspace) -> Iterator[str]:
    for path in workspace.files("runs/*/rounds.json"):
        where = path.relative_to(workspace.path)
        run = read_run(path.parent)
        yield f"{where}\n" + tables.to_text(tables.rounds_table(run))


def _models(workspace) -> Iterator[str]:
    sizes = {
        str(path.relative_to(workspace.path)): path.stat().st_size
        for pattern in ("models/*", "runs/*/*.keras")
        for path in workspace.files(pattern)
        if not path.name.startswith(".")
    }
    if sizes:
        yield tables.to_text(tables.files_table(sizes))
