"""A progress bar with the time that is left."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from collections.abc import Iterator


@contextlib.contextmanager
def progress_bar(
    title: str, total: int, shown: bool = True
) -> Iterator[Callable[[str], None]]:
    """A bar on standard error for the time of a `with` block.

    Args:
        title: What is going on.
        total: How many steps there are.
        shown: Whether there is a bar at all. Defaults to True.

    Yields:
        A function to call after every step, with what it was.
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
        yield lambda step: bar.update(task, advance=1, step=step)
