"""report.json: what a run was, in values that JSON has. Nothing secret is in it."""

from __future__ import annotations

import dataclasses
import datetime as dt
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from dask_flow import __version__
from dask_flow.history import History
from dask_flow.report.outcome import Outcome
from dask_flow.report.workers import Worker
from dask_flow.settings import RunSettings
from dask_flow.targets.urls import is_url, shown
from dask_flow.text import LONGEST_NAME, LONGEST_TRACEBACK, one_line, printable

__all__ = ["FORMAT", "document", "settings_shown", "summary"]

FORMAT = 1
"""Raised when a reader of the one before would not understand it."""

PACKAGES = ("dask", "distributed", "cloudpickle", "msgpack", "bokeh", "numpy", "pandas", "prefect")
SECRET = re.compile(r"passw|secret|token|credential|api_?key|private_?key|access_?key", re.IGNORECASE)
HIDDEN_VALUE = "•••"
MOST_ERRORS = 50


def document(
    outcome: Outcome,
    history: History,
    workers: list[Worker],
    spent: Mapping[str, float],
    now: float,
) -> dict[str, Any]:
    """Return what is known of a run at its end, `now`; times are ISO 8601 in UTC, or seconds since the start."""
    settings, start = history.settings, history.began

    def since(time: float | None) -> float | None:
        return None if time is None else round(time - start, 3)

    return {
        "format": FORMAT,
        "flow": one_line(settings.flow, LONGEST_NAME) if settings else "",
        "exit_code": outcome.exit_code,
        "reason": outcome.reason,
        "started": timestamp(start),
        "ended": timestamp(now),
        "seconds": since(now),
        "time": {what: round(seconds, 3) for what, seconds in spent.items()},
        "phases": [
            {"name": each.name, "start": since(each.start), "seconds": round(each.seconds, 3), "done": each.done}
            for each in sorted(history.steps, key=lambda step: step.start)
        ],
        "tasks": [_rounded(each) for each in sorted(outcome.tasks, key=lambda group: -group.seconds)],
        "workers": [_worker(each, since) for each in workers],
        "errors": [
            {"name": one_line(name, LONGEST_NAME), "traceback": printable(text, LONGEST_TRACEBACK)}
            for name, text in list(history.errors.items())[:MOST_ERRORS]
        ],
        "results": dict(outcome.results),
        "settings": settings_shown(settings) if settings else {},
        "versions": versions(),
    }


def summary(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the report of a later attempt has of an earlier one's."""
    return {key: report.get(key) for key in ("attempt", "exit_code", "reason", "started", "seconds")}


def timestamp(time: float) -> str:
    """Return a time in seconds since the epoch as ISO 8601, in UTC."""
    return dt.datetime.fromtimestamp(time, dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def settings_shown(settings: RunSettings) -> dict[str, Any]:
    """Return the settings as a reader may see them: no values of variables, nor of parameters that sound secret."""
    values = {each.name: getattr(settings, each.name) for each in dataclasses.fields(settings)}
    values["params"] = {name: HIDDEN_VALUE if SECRET.search(name) else value for name, value in settings.params.items()}
    values["env"] = sorted(settings.env)
    return {name: _plain(value) for name, value in values.items()}


def versions() -> dict[str, str]:
    """Return the versions of Python, of this package and of those that matter, in the runner."""
    import platform  # 30 ms together, at the run's end rather than before its pods are asked for
    from importlib.metadata import PackageNotFoundError, version

    found = {"python": platform.python_version(), "dask-flow": __version__}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _rounded(value: Any) -> dict[str, Any]:
    """Return a dataclass's fields, times to the microsecond."""
    return {name: _plain(each) for name, each in dataclasses.asdict(value).items()}


def _worker(worker: Worker, since: Callable[[float | None], float | None]) -> dict[str, Any]:
    return {
        **_rounded(worker),
        **{name: since(getattr(worker, name)) for name in ("requested", "began", "joined", "left")},
    }


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 6)
    if isinstance(value, Mapping):
        return {one_line(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple | set):
        return [_plain(each) for each in value]
    if isinstance(value, str):
        return printable(shown(value) if is_url(value) else value, LONGEST_TRACEBACK)
    if value is None or isinstance(value, bool | int):
        return value
    return printable(value, LONGEST_TRACEBACK, str if isinstance(value, Path) else _name)


def _name(value: Any) -> str:
    return str(getattr(value, "__qualname__", None) or repr(value))
