"""What tasks print: lines of the log, with the task's name."""

from __future__ import annotations

import io
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from dask_flow import run_context

__all__ = ["TaskOutput", "lines_of_tasks"]


class TaskOutput(io.TextIOBase):
    """Stands for stdout: what a task prints is logged line by line, all else goes where it went.

    Without `all_tasks` only those that say `log_stdout`.
    """

    def __init__(self, before: TextIO, *, all_tasks: bool) -> None:
        self.before = before
        self._all = all_tasks
        self._rest = threading.local()

    def write(self, text: str) -> int:
        """Log the lines that the text completes."""
        name = self._task()
        if name is None:
            return self.before.write(text)
        *lines, self._rest.text = (getattr(self._rest, "text", "") + text).split("\n")
        for line in lines:
            run_context.task_logger(name).info("%s", line)
        return len(text)

    def _task(self) -> str | None:
        name = run_context.context.get("task_name")
        return name if name is not None and (self._all or run_context.scope.get().get("log_stdout")) else None

    def flush(self) -> None:
        """Flush what goes where it went."""
        self.before.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.before, name)


@contextmanager
def lines_of_tasks(*, all_tasks: bool) -> Iterator[None]:
    """Log what tasks print in this process."""
    before = sys.stdout
    sys.stdout = TaskOutput(before, all_tasks=all_tasks)
    try:
        yield
    finally:
        sys.stdout = before
