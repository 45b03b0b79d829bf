"""A progress bar on standard error, so that standard output stays clean for scripts. Knows nothing of pictures."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn


@dataclass
class Bar:
    """One line that shows how far a picture is; silent where there is no terminal."""

    _progress: Progress
    _task: TaskID

    def status(self, text: str) -> None:
        """Say what is being done, before anything can be counted."""
        self._progress.update(self._task, description=text, total=None, completed=0)

    def step(self, done: int, total: int) -> None:
        """Show that `done` of `total` steps are behind us."""
        self._progress.update(self._task, description="painting", completed=done, total=total)

    def print(self, line: str) -> None:
        """Print a line on standard output, above the bar."""
        self._progress.stop()
        click.echo(line)
        if not self._progress.console.is_terminal:
            return
        self._progress.start()


@contextmanager
def progress_bar() -> Iterator[Bar]:
    """Show a bar while the block runs; it is gone afterwards."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        yield Bar(progress, progress.add_task("", total=None))
