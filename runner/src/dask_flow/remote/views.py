"""Show a run that is followed: plain lines, or on a terminal the log with a live view of the progress below it."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

import click

from dask_flow.progress import Progress, TaskCounts, parse
from dask_flow.remote.follow import Attempt, Ended, Event, Line, Waiting, follow

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from dask_flow.user_kube import UserKube

__all__ = ["View", "show_run", "view"]

BAR_CELLS = 24
REFRESHES_A_SECOND = 4
LEVEL = re.compile(r"\d\d:\d\d:\d\d (error|warning): ")
STYLES = {"error": "red", "warning": "yellow"}


class View(Protocol):
    """Shows one event after another."""

    def show(self, event: Event) -> None:
        """Show it."""


def show_run(kube: UserKube, run: str) -> Ended:
    """Show a run until it ends, across attempts, and say how it ended."""
    kube.be_patient()
    with view() as shown:
        events = follow(kube, run)
        while not isinstance(event := next(events), Ended):
            shown.show(event)
    click.echo(f"run {run}, exit code {event.exit_code}: {event.reason}", err=True)
    return event


@contextmanager
def view() -> Iterator[View]:
    """Open the view that standard output can have: live on a terminal, else plain."""
    if not sys.stdout.isatty() or os.environ.get("TERM") == "dumb":
        yield PlainView()
        return
    from rich.console import Console
    from rich.live import Live

    console = Console(highlight=False, soft_wrap=True)
    live_view = LiveView(console)
    with Live(live_view, console=console, refresh_per_second=REFRESHES_A_SECOND, transient=True):
        yield live_view


class PlainView:
    """The log's lines on standard output, the rest on standard error."""

    def show(self, event: Event) -> None:
        """Show it."""
        if isinstance(event, Line):
            click.echo(event.text)
        elif isinstance(event, Waiting):
            click.echo(f"waiting: {event.reason}", err=True)
        elif isinstance(event, Attempt):
            click.echo(_attempt(event), err=True)


class LiveView:
    """The log's lines, and below them what the last progress line among them said, which are not shown themselves."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._started = time.monotonic()
        self._progress: Progress | None = None
        self._status = "waiting for the runner"

    def show(self, event: Event) -> None:
        """Show it."""
        from rich.text import Text

        if isinstance(event, Waiting):
            self._status = f"waiting: {' '.join(event.reason.split())}"
        elif isinstance(event, Attempt):
            self._status, self._progress = _attempt(event), None
        elif isinstance(event, Line):
            progress = parse(event.text)
            if progress:
                self._progress = progress
            else:
                level = LEVEL.match(event.text)
                self._console.print(Text(event.text, STYLES[level[1]] if level else ""))

    def __rich__(self) -> RenderableType:
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        seconds = int(time.monotonic() - self._started)
        status = Text(f"{seconds // 60}:{seconds % 60:02} {self._status}", overflow="ellipsis", no_wrap=True)
        if not self._progress:
            return status
        table = Table.grid(padding=(0, 2, 0, 0))
        table.add_column(overflow="ellipsis", no_wrap=True, ratio=1)
        for _ in range(3):
            table.add_column(no_wrap=True)
        room = max(self._console.height - 3, 1)
        for each in self._progress.tasks[-room:]:
            table.add_row(each.name, _bar(each), f"{each.done}/{each.total}", _notes(each))
        workers = f"{self._progress.workers} worker{'s' * (self._progress.workers != 1)}"
        return Group(
            table, Text(f"{status.plain} · {workers}, {self._progress.memory}", no_wrap=True, overflow="ellipsis")
        )


def _bar(counts: TaskCounts) -> RenderableType:
    from rich.text import Text

    full = BAR_CELLS * counts.done // max(counts.total, 1)
    broken = -(-BAR_CELLS * counts.failed // max(counts.total, 1))
    return Text.assemble(("█" * full, "green"), ("▒" * broken, "red"), ("░" * (BAR_CELLS - full - broken), "dim"))


def _notes(counts: TaskCounts) -> RenderableType:
    from rich.text import Text

    running = f"{counts.running} running " if counts.running else ""
    return Text.assemble(running, (f"{counts.failed} failed" if counts.failed else "", "red"))


def _attempt(event: Attempt) -> str:
    return f"runner {event.pod}" if event.number == 1 else f"attempt {event.number}, runner {event.pod}"
