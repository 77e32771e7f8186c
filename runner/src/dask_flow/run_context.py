"""What a flow's code may ask for while it is built and while it runs: `dask_flow.context`, as in Prefect 1.x."""

from __future__ import annotations

import datetime as dt
import logging
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

__all__ = [
    "MORE_NAMES",
    "Context",
    "context",
    "current_task",
    "describe_run",
    "full_name",
    "inherited",
    "name_of",
    "on_failure_handlers",
    "plain_key",
    "runs",
    "scope",
    "summaries",
    "task_logger",
    "with_task",
]

log = logging.getLogger(__name__)

scope: ContextVar[dict[str, Any]] = ContextVar("dask_flow_scope", default={})  # noqa: B039 - never changed, replaced
"""What holds here: while a flow is built its `flow`, `case` and `tags`; in a task that of its run and its own."""

runs: dict[str, Mapping[str, Any]] = {}
"""On a worker: what holds for each run, by the last word of its tasks' keys; a plugin fills it."""


MORE_NAMES = "more-names-0-"
"""How keys begin whose tasks' names are too many for Dask to keep something by each of them."""

_KEY = re.compile(rf"({MORE_NAMES})?(?P<name>.*)-\d+(r\d+)?-(?P<item>\d+|s)-(?P<count>\d+)-(?P<run>\w+)", re.DOTALL)
"""The key of a Dask task that `engine.submission` made."""

summaries: dict[str, Callable[[Any], None]] = {}
"""On a worker: takes the summary of each group of a run's items, by run; a plugin fills it."""


class Context:
    """Reads like a mapping and like an object; `with context(name=value):` adds to it."""

    def __getattr__(self, name: str) -> Any:
        try:
            return _values()[name]
        except KeyError:
            raise AttributeError(
                f"the context has no {name!r} here; it has {', '.join(_values()) or 'nothing'}"
            ) from None

    def __getitem__(self, name: str) -> Any:
        return _values()[name]

    def __contains__(self, name: object) -> bool:
        return name in _values()

    def __iter__(self) -> Iterator[str]:
        return iter(_values())

    def __setattr__(self, name: str, value: Any) -> None:
        self.update(**{name: value})

    __setitem__ = __setattr__

    def get(self, name: str, default: Any = None) -> Any:
        """Return a value, or the default."""
        return _values().get(name, default)

    def to_dict(self) -> dict[str, Any]:
        """Return all that holds here."""
        return dict(_values())

    def update(self, **values: Any) -> None:
        """Add values, until the task ends."""
        scope.set({**scope.get(), **values})

    @contextmanager
    def __call__(self, values: Mapping[str, Any] | None = None, **more: Any) -> Iterator[Context]:
        """Add values for the body."""
        token = scope.set({**scope.get(), **(values or {}), **more})
        try:
            yield self
        finally:
            scope.reset(token)

    def __reduce__(self) -> str:
        return "context"


context = Context()


_OF_BUILDING = frozenset({"flow", "case", "tags", "loading_flow"})


def inherited() -> dict[str, Any]:
    """Return what a run takes over from where it is started: what was added to the context there, outside of tasks."""
    here = scope.get()
    return {} if "task_name" in here else {name: value for name, value in here.items() if name not in _OF_BUILDING}


def describe_run(
    flow_name: str, parameters: Mapping[str, Any], given: Mapping[str, Any], flow_run_id: str
) -> dict[str, Any]:
    """Return what holds for a run that begins now; `given` wins, and the days are those around a `date` in it.

    Times are aware, in UTC; days are in ISO 8601.
    """
    now = dt.datetime.now(dt.UTC)
    date = _moment(given["date"]) if "date" in given else now
    days = {"yesterday": -1, "today": 0, "tomorrow": 1}
    dates = {name: ((date or now) + dt.timedelta(days=number)).date().isoformat() for name, number in days.items()}
    return {
        "flow_name": flow_name,
        "flow_id": flow_name,
        "flow_run_id": flow_run_id,
        "flow_run_name": flow_run_id,
        "scheduled_start_time": now,
        **dates,
        **{f"{name}_nodash": text.replace("-", "") for name, text in dates.items()},
        **given,
        "date": date or given["date"],
        "parameters": {**parameters, **given.get("parameters", {})},
    }


def _moment(given: Any) -> dt.datetime | None:
    """Return a time that may be a text; None, with a warning, for what is none."""
    try:
        time = dt.datetime.fromisoformat(given) if isinstance(given, str) else given
    except ValueError:
        time = None
    if not isinstance(time, dt.datetime):
        log.warning("the context's date=%r is no time in ISO 8601; today and its like are those of now", given)
        return None
    return time if time.tzinfo else time.replace(tzinfo=dt.UTC)


def with_task(
    run: Mapping[str, Any], name: str, tags: frozenset[str], map_index: int | None, run_count: int
) -> dict[str, Any]:
    """Return what holds in a task."""
    return {
        **run,
        "task_name": name,
        "task_tags": set(tags),
        "map_index": map_index,
        "task_run_count": run_count,
        "logger": task_logger(name),
    }


def task_logger(name: str) -> logging.Logger:
    """Return the logger of a task."""
    return logging.getLogger(f"dask_flow.task.{name}")


def current_task() -> str | None:
    """Return the full name of the task that runs here, if one does."""
    full: str | None = _values().get("task_full_name")
    return full


def full_name(name: str, map_index: int | None) -> str:
    """Return the name of a task, or of an item of a mapped one."""
    return name if map_index is None else f"{name}[{map_index}]"


def plain_key() -> Any:
    """Return the key of the task that runs here, if Dask calls its function itself."""
    worker = sys.modules.get("distributed.worker")  # Dask has it where it calls a task
    if not runs or worker is None or "task_name" in scope.get():
        return None
    try:
        return worker.get_worker().get_current_task()
    except (ValueError, AttributeError, KeyError):
        return None


def name_of(key: Any) -> str:
    """Return the full name of the task, or the item, that has this key."""
    found = _KEY.fullmatch(str(key))
    return full_name(found["name"], int(found["item"]) if found["item"].isdecimal() else None) if found else str(key)


def _values() -> Mapping[str, Any]:
    here: Mapping[str, Any] = scope.get()
    if runs and "task_name" not in here:
        here = {**_of_plain_task(), **here}
    if "task_name" in here:
        here = {**here, "task_full_name": full_name(here["task_name"], here["map_index"])}
    return here


def _of_plain_task() -> Mapping[str, Any]:
    """Return what holds in a task that Dask calls directly: its key, `name-number-item-attempt-run`, tells which."""
    key = plain_key()
    found = _KEY.fullmatch(str(key))
    run = runs.get(found["run"]) if found else None
    if found is None or run is None:
        return {}
    name, item, count = found["name"], found["item"], found["count"]
    return with_task(run, name, frozenset(), int(item) if item.isdecimal() else None, int(count))


def on_failure_handlers(on_failure: Callable[[Any, Any], Any] | None) -> list[Callable[[Any, Any, Any], Any]]:
    """Return the state handler that calls `on_failure(task, state)` when a state is a failure, if there is one."""
    return [] if on_failure is None else [OnFailure(on_failure)]


class OnFailure:
    """A class rather than a closure, so that plain pickle can send it to workers."""

    def __init__(self, function: Callable[[Any, Any], Any]) -> None:
        self.function = function

    def __call__(self, owner: Any, old: Any, new: Any) -> None:
        """Call the function with what failed and its state."""
        if new.is_failed():
            self.function(owner, new)
