"""The run's log: one line a step on stderr."""

from __future__ import annotations

import io
import json
import logging
import os
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from dask_flow import run_context
from dask_flow.text import LONGEST, LONGEST_REASON, LONGEST_TRACEBACK, one_line, printable

__all__ = ["configure", "described", "file_handler", "listed", "logged", "timed", "user_traceback"]

log = logging.getLogger(__name__)

LONGEST_RECORD = 2 * LONGEST
"""In characters: what a task logged elsewhere was cut before, and has the task's name now."""


def configure(log_format: str) -> None:
    """Log to stderr as text or as one JSON object a line; Dask's own log from warnings on."""
    os.environ.setdefault("DASK_LOGGING__DISTRIBUTED", "warning")  # read when distributed is imported
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonFormatter() if log_format == "json" else _TextFormatter())
    handler.addFilter(_is_no_cancellation)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("dask_flow").setLevel(logging.INFO)
    logging.captureWarnings(True)
    if isinstance(sys.stdout, io.TextIOWrapper):  # a flow's own print must not fail where a log does not
        sys.stdout.reconfigure(errors="backslashreplace")


def file_handler(path: Path) -> logging.Handler:
    """Return what writes the log to a file, as text."""
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(_TextFormatter())
    handler.addFilter(_is_no_cancellation)
    return handler


def _is_no_cancellation(record: logging.LogRecord) -> bool:
    """Leave out that Dask gave up what it was doing, such as to connect again as a client closes: that is no error."""
    kind = record.exc_info[0] if record.exc_info else None
    return not (kind and kind.__name__ == "CancelledError" and record.name.startswith("distributed."))


@contextmanager
def timed(done: str) -> Iterator[None]:
    """Log what the body achieved, and how long it took, when it has."""
    began = time.monotonic()
    yield
    log.info("%s (%.2f s)", done, time.monotonic() - began)


@contextmanager
def logged(what: str) -> Iterator[None]:
    """Log an exception of the body, and go on: a watch must not end by it."""
    try:
        yield
    except Exception:
        log.exception("%s could not be handled", what)


def listed(names: Sequence[str], most: int = 4) -> str:
    """Return the names separated by commas, the first few if there are many."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def described(error: BaseException) -> str:
    """Return the error as one line."""
    return f"{type(error).__name__}: {' '.join(printable(error, LONGEST_REASON, str).split())}".removesuffix(": ")


def user_traceback(error: BaseException) -> str:
    """Return the error's traceback as text, from the first frame on that is neither ours nor Dask's."""
    ours = (str(Path(__file__).parent), "/distributed/", "/dask/")
    trace = error.__traceback__
    while trace is not None and any(part in trace.tb_frame.f_code.co_filename for part in ours):
        trace = trace.tb_next

    def form(error: BaseException) -> str:
        return "".join(traceback.format_exception(type(error), error, trace)).rstrip()

    return printable(error, LONGEST_TRACEBACK, form)


def _task() -> str:
    """Return how a line begins that a task in this process logs; those of workers come with their names."""
    name = run_context.current_task()
    return f"task {name}: " if name else ""


class _TextFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        level = "" if record.levelno == logging.INFO else f"{record.levelname.lower()}: "
        text = printable(record, LONGEST_RECORD, super().format)
        return f"{self.formatTime(record, '%H:%M:%S')} {level}{one_line(_task())}{text}"


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created)),
            "level": record.levelname.lower(),
            "message": f"{one_line(_task())}{printable(record, LONGEST_RECORD, logging.LogRecord.getMessage)}",
        }
        if record.exc_info:
            entry["traceback"] = printable(record.exc_info, LONGEST_TRACEBACK, self.formatException)
        return json.dumps(entry)
