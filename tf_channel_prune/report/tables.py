"""Tables, made with rich."""

from __future__ import annotations

import io
import math

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

WIDEST = 10_000


def to_text(table: Table, width: int = 80) -> str:
    """A table as plain text of `width` columns, more where it needs more."""
    out = io.StringIO()
    console = Console(file=out, width=WIDEST)
    needed = Measurement.get(console, console.options, table).minimum
    console.width = max(width, needed)
    console.print(table)
    return out.getvalue().rstrip("\n")


def amount(value: float, unit: str = "") -> str:
    """`1.23 G`: three digits and a decimal prefix."""
    for factor, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= factor:
            return f"{value / factor:.3g} {prefix}{unit}"
    return f"{value:.3g} {unit}".rstrip()


def cost_table(cost) -> Table:
    """One line a layer that costs anything, known or not, and the total."""
    table = Table(title="Cost for one sample (a multiply-add is 2 FLOPs)")
    table.add_column("layer", overflow="fold")
    table.add_column("kind")
    for name in ("FLOPs", "parameters", "activations"):
        table.add_column(name, justify="right")
    for row in cost.layers:
        flops, *others = _amounts(row)
        if row.name in cost.uncounted:
            flops = "not known"
        elif not (row.flops or row.params):
            continue
        table.add_row(row.name, row.kind, flops, *others)
    table.add_section()
    table.add_row("total", "", *_amounts(cost))
    table.caption = "; ".join(_open_points(cost)) or None
    return table


def not_counted(names) -> str:
    """What a sum of FLOPs leaves out, for people; empty if nothing.

    Args:
        names: Layers whose FLOPs are not known.
    """
    if not names:
        return ""
    return f"the FLOPs of {', '.join(names)} are not known and not counted"


def _open_points(cost) -> list[str]:
    """What was taken for open sizes, and what could not be counted."""
    parts = [
        f"{name} taken as {'x'.join(map(str, shape))}"
        for name, shape in cost.assumed.items()
    ]
    if cost.unresolved:
        parts.append(f"sizes unknown after {', '.join(cost.unresolved)}")
    if cost.uncounted:
        parts.append(not_counted(cost.uncounted))
    return parts


def _amounts(row):
    return (
        amount(row.flops),
        amount(row.params),
        amount(row.activation_bytes, "B"),
    )


def sensitivity_table(sensitivity) -> Table:
    """One line a group: its score at each ratio.

    All scores have as many decimals, by the largest, so that the columns of
    nine ratios fit into 80 characters, but for scores far below one.
    """
    whole = f"{sensitivity.baseline:.4g}"
    table = Table(
        title=f"Score with one group pruned (baseline {whole})",
        box=box.SIMPLE_HEAD,
        padding=0,
    )
    table.add_column("group", overflow="fold")
    table.add_column("size", justify="right")
    curves = sensitivity.curves
    ratios = sorted({r for curve in curves.values() for r in curve})
    for ratio in ratios:
        table.add_column(f"{ratio:.3g}", justify="right", no_wrap=True)
    all_scores = [s for curve in curves.values() for s in curve.values()]
    decimals = _decimals(all_scores)
    for name, curve in curves.items():
        scores = [
            f"{curve[ratio]:.{decimals}f}" if ratio in curve else ""
            for ratio in ratios
        ]
        table.add_row(name, str(sensitivity.sizes[name]), *scores)
    return table


def _decimals(scores) -> int:
    """For four digits of the largest score, three where there is a sign."""
    largest = max(map(abs, scores), default=0.0)
    digits = 3 if min(scores, default=0.0) < 0 else 4
    if not largest or not math.isfinite(largest):
        return digits
    return max(0, digits - 1 - math.floor(math.log10(largest)))


def group_table(groups) -> Table:
    """One line a group, and why it is left whole where it is."""
    table = Table(title="Groups of channels")
    table.add_column("group", overflow="fold")
    table.add_column("channels", justify="right")
    table.add_column("layers", overflow="fold")
    table.add_column("left whole because", overflow="fold")
    for group in groups:
        names = ", ".join(group.layers[:4])
        if len(group.layers) > 4:
            names += f" and {len(group.layers) - 4} more"
        table.add_row(group.name, str(group.size), names, group.reason)
    return table


def candidates_table(candidates) -> Table:
    """One line a plan of a search, the best first."""
    table = Table(title="Candidates")
    table.add_column("candidate", justify="right")
    table.add_column("shared out")
    table.add_column("score", justify="right")
    metrics = list(candidates.rows[0].removed) if candidates.rows else []
    for metric in metrics:
        table.add_column(f"{metric} removed", justify="right")
    for row in sorted(candidates.rows, key=lambda r: (-r.score, r.number)):
        removed = [f"{row.removed[metric]:.1%}" for metric in metrics]
        table.add_row(str(row.number), row.how, f"{row.score:.4f}", *removed)
    return table


def rounds_table(run) -> Table:
    """One line a round of a run."""
    table = Table(title="Rounds")
    if run.baseline is not None:
        table.title += f" (baseline score {run.baseline:.4f})"
    for name in ("round", "asked", "removed", "score", "drop", "seconds"):
        table.add_column(name, justify="right")
    table.add_column("recipe")
    table.add_column("kept")
    for entry in run.rounds:
        none = entry.score is None
        table.add_row(
            str(entry.number),
            f"{entry.asked:.1%}",
            f"{entry.achieved:.1%}",
            "" if none else f"{entry.score:.4f}",
            "" if none else f"{entry.drop:+.4f}",
            f"{entry.seconds:.0f}",
            entry.recipe,
            "yes" if entry.accepted else f"no: {entry.note}",
        )
    if run.reached is None:
        table.caption = "The run is not finished."
    elif not run.reached:
        table.caption = _short_of_target(run.rounds)
    return table


def _short_of_target(rounds) -> str:
    """What became of a run that ended before its target."""
    kept = [entry.number for entry in rounds if entry.accepted]
    what = (
        f"The target was not reached: the model is that of round {kept[-1]}."
        if kept
        else "No round was kept: the model is the unpruned one."
    )
    return f"{what} More epochs, other recipes or a larger tolerance may help."


def plans_table(plans: dict, changed=()) -> Table:
    """One line a plan: how many channels it keeps, and what it removes.

    Args:
        plans: Plans by name.
        changed: Names of plans whose shares are those of an earlier state of
            their file, and are left out.
    """
    table = Table(title="Plans, and the shares that they remove")
    table.add_column("plan", overflow="fold")
    table.add_column("kept", justify="right")
    metrics = list(dict.fromkeys(m for p in plans.values() for m in p.achieved))
    for metric in metrics:
        table.add_column(metric.replace("_", " "), justify="right")
    for name, plan in plans.items():
        kept = sum(map(len, plan.kept.values()))
        shares = [
            ("?" if name in changed else f"{plan.achieved[m]:.1%}")
            if m in plan.achieved
            else ""
            for m in metrics
        ]
        count = f"{kept} of {sum(plan.sizes.values())}"
        table.add_row(name, count, *shares)
    if any(plans[name].achieved for name in changed):
        table.caption = (
            "? The file was edited or renamed since it was made: pruning by "
            "it says what it removes."
        )
    return table


def files_table(sizes: dict[str, int]) -> Table:
    """One line a file.

    Args:
        sizes: Bytes by name.
    """
    table = Table(title="Models")
    table.add_column("file", overflow="fold")
    table.add_column("size", justify="right")
    for name, size in sizes.items():
        table.add_row(name, amount(size, "B"))
    return table


def comparison(models: dict, scores: dict | None = None) -> Table:
    """One column a model: what it costs, and its score if there is one.

    Args:
        models: The `Cost` of each model, by a name for it.
        scores: Scores by the same names.
    """
    table = Table()
    table.add_column("")
    for name in models:
        table.add_column(name, justify="right")
    if scores:
        table.add_row("score", *(f"{scores[name]:.4g}" for name in models))
    rows = zip(
        ("FLOPs", "parameters", "activations"),
        zip(*map(_amounts, models.values())),
    )
    for title, amounts in rows:
        table.add_row(title, *amounts)
    return table
