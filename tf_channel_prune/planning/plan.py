"""The plan file: which channels stay, for people and for replay."""

from __future__ import annotations

import dataclasses
import json
import pathlib
from typing import Any

import numpy as np

from tf_channel_prune.channels import Channels
from tf_channel_prune.errors import PruningError
from tf_channel_prune.errors import StaleFileError
from tf_channel_prune.numbers import is_whole

FORMAT = 1


@dataclasses.dataclass(frozen=True)
class Plan:
    """Which channels stay, and why.

    Attributes:
        kept: Per group, the indices of the units that stay, ascending.
        sizes: Per group, how many units it has.
        request: What was asked for.
        achieved: What the plan removes, as shares of the dense cost.
        digests: Of the graph and of the weights that it was made from.
        why: Per group, why it keeps what it keeps.
    """

    kept: dict[str, list[int]]
    sizes: dict[str, int]
    request: dict[str, Any] = dataclasses.field(default_factory=dict)
    achieved: dict[str, float] = dataclasses.field(default_factory=dict)
    digests: dict[str, str] = dataclasses.field(default_factory=dict)
    why: dict[str, str] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(cls, channels: Channels, alive: np.ndarray, **rest) -> Plan:
        """The plan that keeps the units in `alive`."""
        kept = {
            group.name: np.flatnonzero(alive[group.units]).tolist()
            for group in channels.prunable
        }
        return cls(kept, {g.name: g.size for g in channels.prunable}, **rest)

    def alive(self, channels: Channels) -> np.ndarray:
        """Boolean per unit of a model's labels.

        Raises:
            PruningError: If the plan does not fit the model.
        """
        alive = np.ones(channels.unit_count, bool)
        groups = {group.name: group for group in channels.prunable}
        for name, kept in self.kept.items():
            group = groups.get(name)
            if group is None:
                raise PruningError(
                    f"The plan has a group {name!r}, which the model has not. "
                    "Was the plan made from another model or other excludes?"
                )
            if self.sizes.get(name, group.size) != group.size:
                raise PruningError(
                    f"The plan's group {name!r} has {self.sizes[name]} "
                    f"channels, the model's has {group.size}: the plan was "
                    "made from another model."
                )
            _check_kept(name, kept, group.size)
            alive[group.units] = False
            alive[group.units[np.asarray(kept)]] = True
        return alive

    def check_graph(self, digest: str) -> None:
        """Raises unless the plan was made from this graph, or by hand.

        Args:
            digest: Of the graph that is to be pruned.

        Raises:
            StaleFileError: If it was made from another graph.
        """
        if self.digests.get("graph", digest) != digest:
            raise StaleFileError(
                "The plan was made from another model: its layers, their "
                "settings or their connections differ. Plan again, or take "
                '"digests" out of the file if you know that it fits.'
            )

    def to_json(self) -> str:
        """One group a line, so that a diff is readable."""
        head = {
            "format": FORMAT,
            "request": self.request,
            "achieved": self.achieved,
            "digests": self.digests,
        }
        text = json.dumps(head, indent=2)[:-2]
        rows = [
            f"    {json.dumps(name)}: " + json.dumps(self._row(name, kept))
            for name, kept in self.kept.items()
        ]
        return text + ',\n  "groups": {\n' + ",\n".join(rows) + "\n  }\n}\n"

    def _row(self, name, kept):
        row = {"size": self.sizes[name], "kept": kept}
        if name in self.why:
            row["why"] = self.why[name]
        return row

    def explain(self) -> str:
        """A table of what each group keeps, and why."""
        from tf_channel_prune.report.explanation import plan_table
        from tf_channel_prune.report.tables import to_text

        return to_text(plan_table(self))

    def __str__(self) -> str:
        return self.explain()

    @classmethod
    def read(cls, path) -> Plan:
        """Reads a plan file.

        Raises:
            PruningError: If there is none, or it is not a plan.
        """
        try:
            text = pathlib.Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError, TypeError) as error:
            raise PruningError(
                f"The plan {path} cannot be read: {error}."
            ) from error
        try:
            return cls.from_json(text)
        except PruningError as error:
            raise PruningError(f"{path}: {error}") from error

    @classmethod
    def from_json(cls, text: str) -> Plan:
        """Reads `to_json`'s text.

        Raises:
            PruningError: If it is not a plan.
        """
        try:
            data = json.loads(text)
            groups = data["groups"]
            return cls(
                {name: list(g["kept"]) for name, g in groups.items()},
                {name: int(g["size"]) for name, g in groups.items()},
                dict(data.get("request", {})),
                {
                    metric: float(share)
                    for metric, share in data.get("achieved", {}).items()
                },
                dict(data.get("digests", {})),
                {
                    name: str(g["why"])
                    for name, g in groups.items()
                    if "why" in g
                },
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise PruningError(f"Not a plan file: {error}.") from error


def _check_kept(name: str, kept, size: int) -> None:
    """Raises unless these are numbers of some of a group's channels."""
    if not all(is_whole(i) and 0 <= i < size for i in kept):
        raise PruningError(
            f"The plan's group {name!r} keeps channels outside 0..{size - 1}."
        )
    if len(set(kept)) != len(kept) or not kept:
        raise PruningError(
            f"The plan's group {name!r} must keep at least one channel, each "
            "listed once."
        )
