"""What a run did, round by round, on disk before it is acted upon."""

from __future__ import annotations

import dataclasses
import json
import pathlib
from typing import Any

from tf_channel_prune.errors import StaleFileError
from tf_channel_prune.finetune.checkpoints import Checkpoint
from tf_channel_prune.finetune.driver import copy_of
from tf_channel_prune.graph.files import write_text


@dataclasses.dataclass(frozen=True)
class Round:
    """One round of a run.

    Attributes:
        number: From 1.
        asked: The share of the dense cost that was to be gone.
        achieved: The share that is gone.
        score: After fine-tuning; None if nothing was pruned or evaluated.
        drop: Baseline's score less this.
        recipe: The best recipe.
        seconds: Of training, all recipes together.
        accepted: Whether the next round starts from here.
        note: Why not, if not.
    """

    number: int
    asked: float
    achieved: float
    score: float | None
    drop: float | None
    recipe: str
    seconds: float
    accepted: bool
    note: str = ""


@dataclasses.dataclass(frozen=True)
class Run:
    """What a run gave.

    Attributes:
        model: The last acceptable sparse model; None where only the file of
            the rounds was read.
        baseline: The dense model's score; None if nothing was evaluated.
        rounds: All rounds, refused ones too.
        reached: Whether the model is at the target ratio; with `max_drop`,
            whether anything was removed. None while the run is not finished.
        folder: Where its files are.
    """

    model: Any
    baseline: float | None
    rounds: tuple[Round, ...]
    reached: bool | None
    folder: pathlib.Path


class Book:
    """What is known of a run, on disk before it is acted upon.

    Args:
        folder: Where the run keeps its files.
        origin: What the run depends on, as JSON values by name.

    Attributes:
        baseline: The dense model's score; None if there is none.
        rounds: The rounds that are done.
        begun: Whether the baseline is known.

    Raises:
        StaleFileError: If the folder holds another run, or its file cannot
            be read.
    """

    def __init__(self, folder, origin):
        self.folder = pathlib.Path(folder)
        self.path = self.folder / "rounds.json"
        self.origin = json.loads(json.dumps(origin))
        self.begun = self.path.exists()
        self.baseline: float | None = None
        self.rounds: list[Round] = []
        self._reached: bool | None = None
        if self.begun:
            text = _read(self.path)
            if text["origin"] != self.origin:
                raise StaleFileError(
                    f"{self.path} is of another run. Move it away."
                )
            self.baseline = text["baseline"]
            self.rounds = list(text["rounds"])

    def open(self, baseline) -> None:
        """Writes the baseline down."""
        self.baseline = baseline
        self._save()

    def add(self, entry: Round, model) -> None:
        """Writes a round down, its model first."""
        if entry.accepted:
            self._weights(entry.number).save(model, None)
        self.rounds.append(entry)
        self._save()

    def close(self, reached: bool) -> None:
        """Writes down that the run is finished."""
        self._reached = reached
        self._save()

    def last_accepted(self, start):
        """The model that the next round starts from."""
        accepted = [entry.number for entry in self.rounds if entry.accepted]
        if not accepted:
            return start
        model = copy_of(start)
        self._weights(accepted[-1]).load(model)
        return model

    def refused(self, achieved: float) -> Round | None:
        """The refused round from the same model that removed as much."""
        for entry in reversed(self.rounds):
            if entry.accepted:
                return None
            if entry.score is not None and (
                abs(entry.achieved - achieved) < 1e-9
            ):
                return entry
        return None

    def _weights(self, number) -> Checkpoint:
        path = self.folder / f"round-{number}" / "accepted.npz"
        return Checkpoint(path, self.origin)

    def _save(self):
        text = {
            "origin": self.origin,
            "baseline": self.baseline,
            "rounds": [dataclasses.asdict(entry) for entry in self.rounds],
            "reached": self._reached,
        }
        write_text(self.path, json.dumps(text, indent=2) + "\n")


def read_run(folder) -> Run:
    """What the file of a run says, without its model.

    Raises:
        StaleFileError: If it cannot be read.
    """
    text = _read(pathlib.Path(folder) / "rounds.json")
    return Run(
        None,
        text["baseline"],
        text["rounds"],
        text.get("reached"),
        pathlib.Path(folder),
    )


def _read(path):
    try:
        text = json.loads(path.read_text(encoding="utf-8"))
        rounds = tuple(Round(**entry) for entry in text["rounds"])
        # Both are asked for here, so that a broken file is noticed.
        return {**text, "rounds": rounds, "baseline": text["baseline"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StaleFileError(
            f"{path} cannot be used: {error}. Move it away."
        ) from error
