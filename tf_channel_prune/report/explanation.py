"""The table of a plan's reasons."""

from __future__ import annotations

from rich.table import Table

from tf_channel_prune.report.tables import not_counted


def explanation_table(explanation) -> Table:
    """One line a group: what it keeps, what that saves, and why."""
    table = Table(title=f"Plan by {explanation.allocation} allocation")
    table.add_column("group", overflow="fold")
    table.add_column("kept", justify="right")
    metrics = list(explanation.rows[0].saved) if explanation.rows else []
    for metric in metrics:
        table.add_column(f"{metric} saved alone", justify="right")
    table.add_column("why", overflow="fold")
    for row in explanation.rows:
        saved = [f"{row.saved[metric]:.1%}" for metric in metrics]
        table.add_row(row.group, f"{row.kept}/{row.size}", *saved, row.why)
    if explanation.frozen:
        table.add_section()
    for group in explanation.frozen:
        dashes = ["" for _ in metrics]
        table.add_row(
            group.name,
            f"{group.size}/{group.size}",
            *dashes,
            f"cannot be pruned: {group.reason}",
        )
    table.caption = "; ".join(_notes(explanation)) or None
    return table


def _notes(explanation) -> list[str]:
    """What the whole plan costs, and what its savings leave out."""
    notes = []
    if explanation.loss is not None:
        notes.append(f"sum of the groups' losses {explanation.loss:.4g}")
        if explanation.bound is not None:
            notes.append(f"no plan has less than {explanation.bound:.4g}")
    if explanation.uncounted:
        notes.append(not_counted(explanation.uncounted))
    return notes


def plan_table(plan) -> Table:
    """One line a group of a plan file: what it keeps, and why."""
    table = Table(title="Plan")
    table.add_column("group", overflow="fold")
    table.add_column("kept", justify="right")
    table.add_column("why", overflow="fold")
    for name, kept in plan.kept.items():
        count = f"{len(kept)}/{plan.sizes.get(name, '?')}"
        table.add_row(name, count, plan.why.get(name, "not recorded"))
    return table
