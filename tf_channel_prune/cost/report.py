"""The cost of a model as it is, layer by layer."""

from __future__ import annotations

import dataclasses

from tf_channel_prune.channels import Channels
from tf_channel_prune.cost.table import CostTable


@dataclasses.dataclass(frozen=True)
class LayerCost:
    """Cost of one layer, all its calls together."""

    name: str
    kind: str
    flops: int
    params: int
    activation_bytes: int


@dataclasses.dataclass(frozen=True)
class Cost:
    """Cost of a model for one sample; a multiply-add is two FLOPs.

    Attributes:
        flops: Of convolutions, dense layers and other contractions.
        params: All weights.
        activation_bytes: Outputs of all operations.
        layers: The same per layer, in graph order.
        assumed: Where the model leaves sizes open and none were given: the
            shapes that its inputs were taken to have, by name.
        unresolved: Layers whose output sizes stay unknown; each unknown size
            counts as 1.
        uncounted: Layers and operations that may multiply and add, but of
            whose FLOPs nothing is known; they count as 0. These are layers
            without a rule that have weights of two axes or more, and
            operations without one that are contractions by their names.
    """

    flops: int
    params: int
    activation_bytes: int
    layers: tuple[LayerCost, ...] = dataclasses.field(repr=False)
    assumed: dict[str, tuple[int, ...]] = dataclasses.field(
        default_factory=dict
    )
    unresolved: tuple[str, ...] = ()
    uncounted: tuple[str, ...] = ()

    def __str__(self) -> str:
        from tf_channel_prune.report.tables import cost_table
        from tf_channel_prune.report.tables import to_text

        return to_text(cost_table(self))


def measure(channels: Channels, input_shape=None) -> Cost:
    """The cost of the whole, unpruned graph; see `CostTable`."""
    table = CostTable(channels, input_shape)
    columns = [
        table.by_node(table.sizes, metric)
        for metric in ("flops", "params", "activation_memory")
    ]
    rows: dict[str, list] = {}
    for node in channels.graph.nodes:
        kind = node.kind.rsplit(".", 1)[-1]
        row = rows.setdefault(node.name, [kind, 0, 0, 0])
        for k, column in enumerate(columns):
            row[k + 1] += round(float(column[node.index]))
    layers = tuple(LayerCost(name, *row) for name, row in rows.items())
    return Cost(
        sum(r.flops for r in layers),
        sum(r.params for r in layers),
        sum(r.activation_bytes for r in layers),
        layers,
        table.shapes.assumed,
        table.shapes.unresolved,
        table.uncounted,
    )
