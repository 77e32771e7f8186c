"""What tasks print: lines of the log, with the task's name."""

from __future__ import annotations

import io
import logging
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from dask_flow import run_context
from dask_flow.text import LONGEST, LONGEST_NAME, one_line, printable

__all__ = ["TaskOutput", "end_line", "kept_lines", "line_of", "lines_of_tasks", "show"]


class TaskOutput(io.TextIOBase):
    """Stands for stdout: what a task prints is logged line by line, all else goes where it went.

    Without `all_tasks` only those that say `log_stdout`. What is after the last line's end waits for the task's end, at
    which `end_line` is called, or for a task that Dask calls itself, `rest_of`.
    """

    def __init__(self, before: TextIO, *, all_tasks: bool) -> None:
        self.before = before
        self._all = all_tasks
        self.rests: dict[Any, str] = {}
        """By the task's key if Dask calls it itself, else by thread."""

    def write(self, text: str) -> int:
        """Log the lines that the text completes."""
        name = self._task()
        if name is None:
            return self.before.write(text)
        owner = run_context.plain_key() or threading.get_ident()
        *lines, rest = (self.rests.pop(owner, "") + text).split("\n")
        if rest:
            self.rests[owner] = printable(rest) if len(rest) > 2 * LONGEST else rest
        for line in lines:
            run_context.task_logger(name).info("%s", line)
        return len(text)

    def end_line(self) -> None:
        """Log what the task in this thread has begun to print."""
        if threading.get_ident() in self.rests:
            self.write("\n")

    def rest_of(self, key: Any) -> str:
        """Return what a task that Dask called itself had begun to print."""
        return self.rests.pop(key, "")

    def _task(self) -> str | None:
        name = run_context.context.get("task_name")
        return name if name is not None and (self._all or run_context.scope.get().get("log_stdout")) else None

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """That of where it went."""
        return self.before.encoding

    def fileno(self) -> int:
        """Return that of where it went: what another process writes there is no task's."""
        return self.before.fileno()

    def flush(self) -> None:
        """Flush what goes where it went."""
        self.before.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.before, name)


def end_line() -> None:
    """Log what the task in this thread has begun to print, as it ends."""
    if isinstance(sys.stdout, TaskOutput) and sys.stdout.rests:
        sys.stdout.end_line()


def line_of(record: logging.LogRecord) -> tuple[str, int, str]:
    """Return what the task that runs here logs: its name, the level and the text."""
    name = run_context.current_task() or record.name.removeprefix("dask_flow.task.")
    return one_line(name, LONGEST_NAME), record.levelno, printable(record, form=logging.Formatter().format)


class _Keeping(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[tuple[str, int, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(line_of(record))


@contextmanager
def kept_lines() -> Iterator[list[tuple[str, int, str]]]:
    """Keep what tasks log in this process, and print if they say `log_stdout`, for another one to show."""
    handler = _Keeping()
    logging.getLogger().addHandler(handler)
    logging.getLogger("dask_flow.task").setLevel(logging.INFO)
    try:
        with lines_of_tasks(all_tasks=False):
            yield handler.lines
    finally:
        logging.getLogger().removeHandler(handler)


def show(lines: Iterable[tuple[str, int, str]]) -> None:
    """Log here what tasks logged elsewhere."""
    for name, level, text in lines:
        logging.getLogger("dask_flow.task").log(level, "task %s: %s", name, text)


@contextmanager
def lines_of_tasks(*, all_tasks: bool) -> Iterator[None]:
    """Log what tasks print in this process."""
    before = sys.stdout
    sys.stdout = TaskOutput(before, all_tasks=all_tasks)
    try:
        yield
    finally:
        sys.stdout = before
