"""Tables, made with rich."""

from __future__ import annotations

import io

from rich.console import Console
from rich.table import Table


def to_text(table: Table, width: int = 100) -> str:
    """A table as plain text."""
    out = io.StringIO()
    Console(file=out, width=width).print(table)
    return out.getvalue().rstrip("\n")


def amount(value: float, unit: str = "") -> str:
    """`1.23 G`: three digits and a decimal prefix."""
    for factor, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= factor:
            return f"{value / factor:.3g} {prefix}{unit}"
    return f"{value:.3g} {unit}".rstrip()


def cost_table(cost) -> Table:
    """One line a layer that costs anything, and the total."""
    table = Table(title="Cost for one sample (a multiply-add is 2 FLOPs)")
    table.add_column("layer", overflow="fold")
    table.add_column("kind")
    for name in ("FLOPs", "parameters", "activations"):
        table.add_column(name, justify="right")
    for row in cost.layers:
        if row.flops or row.params:
            table.add_row(row.name, row.kind, *_amounts(row))
    table.add_section()
    table.add_row("total", "", *_amounts(cost))
    if cost.assumed or cost.unresolved:
        table.caption = _open_sizes(cost)
    return table


def _open_sizes(cost) -> str:
    """What was taken for sizes that the model leaves open."""
    parts = [
        f"{name} taken as {'x'.join(map(str, shape))}"
        for name, shape in cost.assumed.items()
    ]
    if cost.unresolved:
        parts.append(f"sizes unknown after {', '.join(cost.unresolved)}")
    return "; ".join(parts)


def _amounts(row):
    return (
        amount(row.flops),
        amount(row.params),
        amount(row.activation_bytes, "B"),
    )
