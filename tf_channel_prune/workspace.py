"""What is on disk, and how it is written safely.

One folder holds everything of a model's pruning:

    analysis/<key>.jsonl   one result a line, written as it comes
    search/<key>.jsonl     one candidate's score a line
    latency.json           measured latencies of the model's segments
    plans/<name>.json      every plan
    models/<name>.keras    sparse and slim models of the command line
    finetune/<key>/        states of trainings, one file a recipe
    runs/<key>/            rounds.json, states of trainings, slim.keras

An analysis is kept under a digest of what it was made from (graph, weights,
groups, criterion), so another model or other weights never reuse or overwrite
it. Files are written whole or not at all; nothing is pickled.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import pathlib
import re
from collections.abc import Iterator
from typing import Any

from tf_channel_prune.errors import PruningError
from tf_channel_prune.errors import StaleFileError
from tf_channel_prune.graph.digests import text_digest
from tf_channel_prune.graph.files import make_folder
from tf_channel_prune.graph.files import write_text
from tf_channel_prune.graph.files import writing

FORMAT = 1


class Workspace:
    """A folder for plans, analyses and models.

    Args:
        path: The folder; it is made when something is first written. `~` is
            the user's, and what is current now counts: a function of the
            user may change the current folder later.

    Raises:
        PruningError: If the path is a file, or no path at all.
    """

    def __init__(self, path):
        if not isinstance(path, (str, os.PathLike)) or not os.fspath(path):
            raise PruningError(
                f"The workspace is the path of a folder; got {path!r}."
            )
        self.path = pathlib.Path(os.path.expanduser(path)).absolute()
        self._depth = 0
        if os.path.exists(self.path) and not self.path.is_dir():
            raise PruningError(
                f"The workspace {self.path} is a file; name a folder."
            )

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Keeps other processes out of the folder for a `with` block.

        The lock goes with the process, however that ends. On systems and
        file systems without file locks nothing is locked.

        Raises:
            PruningError: If another one is using the workspace.
        """
        if self._depth:
            with self._counted():
                yield
            return
        make_folder(self.path)
        with writing(self.path):
            file = open(self.path / ".lock", "a+", encoding="utf-8")  # noqa: SIM115
        with file:
            _lock(file, self.path)
            with self._counted():
                yield

    @contextlib.contextmanager
    def _counted(self):
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1

    def results(self, origin: dict[str, Any], folder="analysis") -> Results:
        """The results of the analysis of one origin, known and to come.

        Args:
            origin: What the results depend on, JSON values by name.
            folder: Where they are kept: `analysis`, or `search` for the
                scores of whole plans.
        """
        return Results(self._results_path(origin, folder), origin)

    def _results_path(self, origin, folder="analysis"):
        key = text_digest(json.dumps(origin, sort_keys=True))[:16]
        return self.path / folder / f"{key}.jsonl"

    def other_results(self, origin: dict[str, Any]) -> dict[str, list[str]]:
        """Analyses of other origins: by file, the names of what differs."""
        own = self._results_path(origin)
        found = {}
        for path in sorted(own.parent.glob("*.jsonl")):
            lines = _whole_lines(path)
            if path == own or not lines:
                continue
            try:
                other = _origin(path, lines[0])
            except StaleFileError:
                found[path.name] = ["format"]
                continue
            found[path.name] = [
                name for name in origin if other.get(name) != origin[name]
            ]
        return found

    def analyses(self) -> list[Results]:
        """Everything in `analysis/`, by file name.

        Raises:
            StaleFileError: If a file cannot be read.
        """
        found = []
        for path in self.files("analysis/*.jsonl"):
            lines = _whole_lines(path)
            if lines:
                found.append(Results(path, _origin(path, lines[0])))
        return found

    def files(self, pattern: str) -> list[pathlib.Path]:
        """The files in the workspace that fit a pattern, sorted."""
        return sorted(self.path.glob(pattern))

    def save_plan(self, text: str, name: str) -> pathlib.Path:
        """Writes a plan under a name of its own; the same plan, the same name.

        Where the user has edited the file of that name, it stays as it is,
        and the plan is in another one, numbered from 2.

        Args:
            text: The plan's JSON.
            name: What the file's name begins with.
        """
        name = f"{name}-{text_digest(text)[:8]}"
        for number in itertools.count(1):
            stem = name if number == 1 else f"{name}-{number}"
            path = self.path / "plans" / f"{stem}.json"
            if not path.exists():
                write_text(path, text)
            if _text(path) == text:
                return path

    @staticmethod
    def is_as_saved(path) -> bool:
        """Whether a plan's file holds what `save_plan` wrote under its name."""
        name = re.sub(r"-\d{1,3}$", "", pathlib.Path(path).stem)
        return name.endswith(f"-{text_digest(_text(path))[:8]}")

    @property
    def latency_path(self) -> pathlib.Path:
        """The table of latencies."""
        return self.path / "latency.json"

    def find_plan(self, path) -> pathlib.Path:
        """A plan's path, given as it is or by its name in `plans/`.

        Raises:
            PruningError: If there is no such file.
        """
        if not isinstance(path, (str, os.PathLike)):
            raise PruningError(
                f"plan is a plan, or the name of its file; got {path!r}."
            )
        given = pathlib.Path(path)
        inside = self.path / "plans" / given.name
        for candidate in (
            given,
            inside,
            inside.with_name(f"{given.name}.json"),
        ):
            if os.path.isfile(candidate):  # no error, however long a name is
                return candidate
        raise PruningError(
            f"There is no plan {given}, nor one of that name in "
            f"{inside.parent}."
        )

    def model_path(self, name: str) -> pathlib.Path:
        """Where the model of this name is kept."""
        return self.path / "models" / f"{name}.keras"


class Results:
    """Results of one analysis, one line of JSON each.

    Attributes:
        known: Scores by `(group, removed units)`.
        ratios: The ratios of the last analysis that was finished, or None.
        sizes: How many channels each group has, once it is finished.
        scores: Per group, the scores that its channels go by, where they were
            made from data.
        path: The file.

    Raises:
        StaleFileError: If the file is of another origin or not readable.
    """

    def __init__(self, path: pathlib.Path, origin: dict[str, Any]):
        self.path = path
        self.origin = origin
        self.known: dict[tuple[str, int], float] = {}
        self.ratios: tuple[float, ...] | None = None
        self.sizes: dict[str, int] = {}
        self.scores: dict[str, list[float]] = {}
        self._scores_on_disk = True
        if path.exists():
            self._read()

    def add(self, group: str, removed: int, score: float) -> None:
        """Writes one result; it is on disk when this returns."""
        self._append({"group": group, "removed": removed, "score": score})
        self.known[group, removed] = score

    def keep_scores(self, scores: dict[str, list[float]]) -> None:
        """Takes down which channels of each group go first.

        They are written with the next result: what fails before it has one
        leaves no file.
        """
        self.scores = scores
        self._scores_on_disk = False

    def finish(self, ratios, sizes: dict[str, int]) -> None:
        """Notes that all results of these ratios are there.

        Args:
            ratios: The shares of each group that were tried.
            sizes: How many channels each group has.
        """
        if self.ratios != tuple(ratios):
            self._append({"finished": list(ratios), "sizes": sizes})
            self.ratios = tuple(ratios)
            self.sizes = dict(sizes)

    def _read(self):
        try:
            lines = [json.loads(line) for line in _whole_lines(self.path)]
            if lines and lines[0] != self._head():
                raise ValueError("it is of another origin")
            for line in lines[1:]:
                if "finished" in line:
                    self.ratios = tuple(line["finished"])
                    self.sizes = dict(line["sizes"])
                elif "scores" in line:
                    self.scores = dict(line["scores"])
                else:
                    key = line["group"], line["removed"]
                    self.known[key] = float(line["score"])
        except (ValueError, KeyError, TypeError) as error:
            raise StaleFileError(
                f"{self.path} cannot be used: {error}. Move it away."
            ) from error

    def _head(self):
        return {"format": FORMAT, "origin": self.origin}

    def _append(self, line):
        make_folder(self.path.parent)
        size = _whole_size(self.path) if self.path.exists() else 0
        with writing(self.path), open(self.path, "ab") as file:
            # What a killed process left of a line goes first.
            file.truncate(size)
            if not size:
                file.write(_line(self._head()))
            if not self._scores_on_disk:
                file.write(_line({"scores": self.scores}))
            file.write(_line(line))
            file.flush()
            os.fsync(file.fileno())
        self._scores_on_disk = True


def _text(path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")


def _origin(path, line) -> dict[str, Any]:
    try:
        return dict(json.loads(line)["origin"])
    except (ValueError, KeyError, TypeError) as error:
        raise StaleFileError(
            f"{path} cannot be used: {error}. Move it away."
        ) from error


def _line(value) -> bytes:
    return json.dumps(value).encode() + b"\n"


def _whole_size(path) -> int:
    return path.read_bytes().rfind(b"\n") + 1


def _whole_lines(path) -> list[bytes]:
    """The lines of a file without what a killed process left half-written.

    Whoever reads one as JSON decodes it, so that a line of other bytes is an
    error where a line that is no JSON is one.
    """
    return path.read_bytes()[: _whole_size(path)].splitlines()


def _lock(file, folder) -> None:
    try:
        import fcntl
    except ImportError:
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        holder = file.read().strip() or "unknown"
        raise PruningError(
            f"The workspace {folder} is in use by process {holder}: wait for "
            "it, or give this one a workspace of its own."
        ) from None
    except OSError:
        return
    file.truncate(0)
    file.write(f"{os.getpid()}\n")
    file.flush()
