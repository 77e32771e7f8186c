"""Say in a run's log how far it is, and read that again: its tasks by name, its workers and their memory.

The log is the one thing that whoever may see a run has of it, whatever kind of cluster it uses, so that is how
`dask-flow submit --watch` knows.
"""

from __future__ import annotations

import dataclasses
import logging
import re
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from dask_flow.flows import HIDDEN
from dask_flow.log import described

if TYPE_CHECKING:
    from distributed import Client, Scheduler

__all__ = ["Progress", "TaskCounts", "logged_progress", "parse"]

log = logging.getLogger(__name__)

START = "progress: "
# A line each second at first; a run of hours need not fill its log with them.
MOST_SECONDS = 30
PART_OF_ELAPSED = 0.02
MOST_NAMES = 20
LAST_WORD_SECONDS = 2
COUNTS = re.compile(
    r"(?P<name>.+): (?P<done>\d+) of (?P<total>\d+) done(, (?P<running>\d+) running)?(, (?P<failed>\d+) failed)?"
)
WORKERS = re.compile(r"(?P<workers>\d+) workers?, (?P<memory>.+)")


@dataclasses.dataclass(frozen=True)
class TaskCounts:
    """How many tasks of a name there are, and what has become of them; the rest wait."""

    name: str
    done: int
    total: int
    running: int = 0
    failed: int = 0

    def text(self) -> str:
        """Return the counts as a part of a line."""
        running = f", {self.running} running" if self.running else ""
        failed = f", {self.failed} failed" if self.failed else ""
        return f"{self.name.replace(';', ',')}: {self.done} of {self.total} done{running}{failed}"


@dataclasses.dataclass(frozen=True)
class Progress:
    """How far a run is. `memory` is a text, such as `1.20 GiB of 4.00 GiB`."""

    workers: int
    memory: str
    tasks: tuple[TaskCounts, ...]

    def line(self) -> str:
        """Return a line for the log: of many names those that are not done, then others; the rest are one."""
        unfinished = [each for each in self.tasks if each.done < each.total]
        others = [each for each in self.tasks if each.done >= each.total]
        chosen = {each.name for each in (unfinished + others)[:MOST_NAMES]}
        rest = [each for each in self.tasks if each.name not in chosen]
        parts = [each.text() for each in self.tasks if each.name in chosen]
        if rest:
            counts = (sum(getattr(each, key) for each in rest) for key in ("done", "total", "running", "failed"))
            parts.append(TaskCounts(f"{len(rest):,} more names", *counts).text())
        return START + "; ".join([f"{self.workers} worker{'s' * (self.workers != 1)}, {self.memory}", *parts])


def parse(line: str) -> Progress | None:
    """Return the progress that a line of the log tells of, as text or as JSON; None of any other line."""
    _, start, rest = line.partition(START)
    head, *parts = rest.rstrip().rstrip('"}').split("; ")
    found = WORKERS.fullmatch(head) if start else None
    counts = [match for match in map(COUNTS.fullmatch, parts) if match]
    if not found or len(counts) < len(parts):
        return None
    tasks = tuple(
        TaskCounts(each["name"], *(int(each[key] or 0) for key in ("done", "total", "running", "failed")))
        for each in counts
    )
    return Progress(int(found["workers"]), found["memory"], tasks)


@contextmanager
def logged_progress(client: Client, seconds: float | None) -> Iterator[None]:
    """While the flow runs, log how far it is each so many seconds, where that has changed; None for never."""
    if seconds is None:
        yield
        return
    from dask_flow.by_value import send_by_value

    send_by_value([sys.modules[__name__]])  # the scheduler's image need not have this package
    observer = _Observer(client)
    stop = threading.Event()
    with suppress(Exception):  # whoever asks next says so
        observer.begin()
    thread = threading.Thread(target=_log_until, args=(observer, seconds, stop), name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(LAST_WORD_SECONDS)


def _log_until(observer: _Observer, seconds: float, stop: threading.Event) -> None:
    started, over, level = time.monotonic(), False, logging.WARNING
    said: tuple[Any, ...] = ()
    while not over:
        over = stop.wait(max(seconds, min((time.monotonic() - started) * PART_OF_ELAPSED, MOST_SECONDS)))
        try:
            now = observer.progress()
        except Exception as error:
            if not over:
                log.log(level, "the scheduler does not tell the progress; it is asked again: %s", described(error))
                level = logging.DEBUG  # once is enough
            continue
        if (now.workers, now.tasks) != said:
            log.info("%s", now.line())
            said = (now.workers, now.tasks)


class _Observer:
    """Asks the scheduler. What a cluster that stays has computed before does not count."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._before: Mapping[str, Mapping[str, int]] | None = None
        self._most: dict[str, tuple[int, int]] = {}

    def begin(self) -> None:
        """Take what there is for what was before."""
        self._before = self._seen()["tasks"]

    def progress(self) -> Progress:
        """Return how far it is now."""
        from dask.utils import format_bytes

        if self._before is None:
            self.begin()
        seen = self._seen()
        memory = f"{format_bytes(seen['memory'])} of {format_bytes(seen['limit'])}"
        tasks = (self._counts(name, counts) for name, counts in seen["tasks"].items())
        return Progress(seen["workers"], memory, tuple(each for each in tasks if each.total))

    def _counts(self, name: str, counts: Mapping[str, int]) -> TaskCounts:
        before = (self._before or {}).get(name, {})
        done, failed = (max(counts[key] - before.get(key, 0), 0) for key in ("done", "failed"))
        return TaskCounts(name, done, done + failed + counts["running"] + counts["waiting"], counts["running"], failed)

    def _seen(self) -> dict[str, Any]:
        try:
            seen: dict[str, Any] = self._client.run_on_scheduler(observed)
        except ValueError as error:  # a static cluster may block this, by distributed.scheduler.blocked-handlers
            log.debug("the scheduler is asked otherwise: %s", described(error))
            seen = self._told()
        seen["tasks"] = {name: each for name, each in seen["tasks"].items() if not name.startswith(HIDDEN)}
        return seen

    def _told(self) -> dict[str, Any]:
        """Return what any scheduler tells: of tasks only those that it holds now, and none of those in its queue."""
        workers = self._client.sync(self._client.scheduler.identity, n_workers=-1)["workers"].values()
        states = self._client.sync(self._client.scheduler.get_task_prefix_states)
        for name, each in states.items():
            total, failed = self._most.get(name, (0, 0))
            self._most[name] = max(sum(each.values()), total), max(each["erred"], failed)
        return {
            "workers": len(workers),
            "memory": sum(each["metrics"].get("memory", 0) for each in workers),
            "limit": sum(each["memory_limit"] for each in workers),
            "tasks": {name: self._remembered(name, states.get(name, {})) for name in self._most},
        }

    def _remembered(self, name: str, now: Mapping[str, int]) -> dict[str, int]:
        """Return the counts of a name; those that it had, and that are not held any more, are done."""
        total, failed = self._most[name]
        running, waiting = now.get("processing", 0), now.get("waiting", 0)
        done = total - failed - running - waiting
        return {"done": done, "failed": failed, "running": running, "waiting": waiting}


def observed(dask_scheduler: Scheduler) -> dict[str, Any]:
    """Return what the scheduler knows of its workers and tasks; runs there."""
    tasks = {}
    for name, prefix in dask_scheduler.task_prefixes.items():
        now, ever = prefix.states, prefix.state_counts
        tasks[name] = {
            "done": ever.get("memory", 0),
            "failed": ever.get("erred", 0),
            "running": now.get("processing", 0),
            "waiting": sum(now.get(state, 0) for state in ("waiting", "queued", "no-worker")),
        }
    workers = dask_scheduler.workers.values()
    return {
        "workers": len(workers),
        "memory": sum(each.metrics.get("memory", 0) for each in workers),
        "limit": sum(each.memory_limit for each in workers),
        "tasks": tasks,
    }
