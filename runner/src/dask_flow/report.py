"""What a run came to: the log's last lines, the container's termination message, the exit code."""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from dask_flow.log import listed

__all__ = ["Outcome", "TaskGroup", "announce", "group_tasks", "write_termination_message"]

log = logging.getLogger(__name__)

TERMINATION_MESSAGE_LIMIT = 4096


@dataclasses.dataclass(frozen=True)
class TaskGroup:
    """The tasks of one name: how many ran, for how many seconds in all, on which workers.

    `items` is how many items of mapped tasks they computed, if several at a time.
    """

    name: str
    count: int
    seconds: float
    workers: tuple[str, ...]
    items: int | None = None


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The end of a run. `reason` is one sentence; `results` are short texts by task name."""

    exit_code: int
    reason: str
    results: Mapping[str, str] = dataclasses.field(default_factory=dict)
    tasks: tuple[TaskGroup, ...] = ()


def group_tasks(
    stream: Iterable[Mapping[str, Any]], names: Mapping[str, str], items: Mapping[str, int]
) -> tuple[TaskGroup, ...]:
    """Sum up Dask's task stream by task name; `names` are the workers' by address, `items` counts each task's."""
    from dask.utils import key_split

    groups: dict[str, list[Mapping[str, Any]]] = {}
    for record in stream:
        groups.setdefault(key_split(record["key"]), []).append(record)
    return tuple(
        TaskGroup(
            name=name,
            count=len(records),
            seconds=sum(_compute_seconds(record) for record in records),
            workers=tuple(sorted({names.get(record["worker"], record["worker"]) for record in records})),
            items=items.get(name),
        )
        for name, records in groups.items()
    )


def _compute_seconds(record: Mapping[str, Any]) -> float:
    return float(sum(part["stop"] - part["start"] for part in record["startstops"] if part["action"] == "compute"))


def announce(outcome: Outcome, durations: Mapping[str, float]) -> None:
    """Log what ran where, the results, where the time went, and the reason."""
    for group in outcome.tasks:
        count = _counted(group.count, "task")
        if group.items is not None:
            count = f"{_counted(group.items, 'item')} in {count}"
        log.info("%s: %s, %.3f s in all, on %s", group.name, count, group.seconds, listed(group.workers))
    for name, text in outcome.results.items():
        log.info("result of %s:%s%s", name, "\n" if "\n" in text else " ", text)
    if durations:
        log.info("where the time went: %s", ", ".join(f"{step} {seconds:.2f} s" for step, seconds in durations.items()))
    log.log(logging.ERROR if outcome.exit_code else logging.INFO, "%s", outcome.reason)


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def write_termination_message(reason: str) -> None:
    """Leave the reason where Kubernetes reads it: `terminationMessagePath`, if that is there."""
    path = Path(os.environ.get("DASK_FLOW_TERMINATION_LOG", "/dev/termination-log"))
    if path.exists() and os.access(path, os.W_OK):
        path.write_text(reason.encode()[:TERMINATION_MESSAGE_LIMIT].decode(errors="ignore"))
