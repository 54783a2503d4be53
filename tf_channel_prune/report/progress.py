"""A progress bar with the time that is left."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator


class Advance:
    """Moves a bar on by one step at every call, with what the step was."""

    def __init__(self, bar, task):
        self._bar = bar
        self._task = task

    def __call__(self, step: str) -> None:
        self._bar.update(self._task, advance=1, step=step)

    def expect(self, step: str, more: int) -> None:
        """Says what begins, and how many steps there are still to come."""
        done = self._bar.tasks[self._task].completed
        self._bar.update(self._task, total=done + more, step=step)


@contextlib.contextmanager
def progress_bar(
    title: str, total: int, shown: bool = True
) -> Iterator[Advance]:
    """A bar on standard error for the time of a `with` block.

    Args:
        title: What is going on.
        total: How many steps there are.
        shown: Whether there is a bar at all. Defaults to True.

    Yields:
        What to call after every step.
    """
    from rich import progress
    from rich.console import Console

    bar = progress.Progress(
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TimeElapsedColumn(),
        progress.TimeRemainingColumn(),
        progress.TextColumn("{task.fields[step]}"),
        console=Console(stderr=True),
        disable=not shown,
    )
    with bar:
        task = bar.add_task(title, total=total, step="")
        yield Advance(bar, task)
