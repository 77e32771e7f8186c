"""Dask's record of each task, summed up by the tasks' names."""

from __future__ import annotations

import dataclasses
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping
from operator import attrgetter
from typing import Any

from dask_flow.flows import HIDDEN, Counts
from dask_flow.run_context import MORE_NAMES

__all__ = ["TaskGroup", "compute_seconds", "group_tasks", "name_of", "seconds_of", "shown"]

COMPUTE = "compute"
MOST_NAMES = 100


@dataclasses.dataclass(frozen=True)
class TaskGroup:
    """The tasks of one name: how many ran, for how many seconds in all, on which workers.

    `items` is how many items of mapped tasks they computed, if several at a time; `failed` and `retries` then count
    items. Without a Flow's word, a retry is any run of the same task but the first, as after the loss of a worker.
    `others` are seconds of what is not computing: transfer, deserialize, disk-read, disk-write. `bytes` is the size of
    the results, as Dask knows it.
    """

    name: str
    count: int
    seconds: float
    workers: tuple[str, ...]
    items: int | None = None
    failed: int = 0
    retries: int = 0
    shortest: float = 0.0
    median: float = 0.0
    longest: float = 0.0
    bytes: int = 0
    others: Mapping[str, float] = dataclasses.field(default_factory=dict)


def shown(stream: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Leave out the runner's own tasks."""
    return [each for each in stream if not str(each["key"]).startswith(HIDDEN)]


def group_tasks(
    stream: Iterable[Mapping[str, Any]], names: Mapping[str, str], counts: Mapping[str, Counts]
) -> tuple[TaskGroup, ...]:
    """Sum up Dask's task stream by task name; `names` are the workers' by address, `counts` a Flow's."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for record in stream:
        groups.setdefault(name_of(record["key"]), []).append(record)
    return _with_rest([_group(name, records, names, counts.get(name)) for name, records in groups.items()])


def name_of(key: Any) -> str:
    """Return the name by which tasks are summed up: as Dask has it, whatever the number of names."""
    from dask.utils import key_split

    return str(key_split(key.removeprefix(MORE_NAMES) if isinstance(key, str) else key))


def _with_rest(groups: list[TaskGroup]) -> tuple[TaskGroup, ...]:
    """Return the groups of those names that have the most tasks and took the longest, and the others as one."""
    if len(groups) <= MOST_NAMES:
        return tuple(groups)
    by_count, by_time = (sorted(groups, key=key, reverse=True) for key in (_count, _seconds))
    chosen = {each.name for each in by_count[: MOST_NAMES // 2]}
    for group in by_time:
        chosen |= {group.name} if len(chosen) < MOST_NAMES else set()
    rest = [each for each in groups if each.name not in chosen]
    others: Counter[str] = Counter()
    for group in rest:
        others.update(group.others)
    return (
        *(each for each in groups if each.name in chosen),
        TaskGroup(
            name=f"{len(rest):,} more names",
            count=sum(map(_count, rest)),
            seconds=sum(map(_seconds, rest)),
            workers=tuple(sorted({worker for each in rest for worker in each.workers})),
            items=sum(each.items or 0 for each in rest) or None,
            failed=sum(each.failed for each in rest),
            retries=sum(each.retries for each in rest),
            shortest=min(each.shortest for each in rest),
            median=statistics.median(each.median for each in rest),
            longest=max(each.longest for each in rest),
            bytes=sum(each.bytes for each in rest),
            others=dict(others),
        ),
    )


_count, _seconds = attrgetter("count"), attrgetter("seconds")


def _group(name: str, records: list[Mapping[str, Any]], names: Mapping[str, str], counts: Counts | None) -> TaskGroup:
    last = {record["key"]: record for record in records}
    durations = sorted(compute_seconds(record) for record in records)
    failed = sum(record["status"] != "OK" for record in last.values())
    return TaskGroup(
        name=name,
        count=len(records),
        seconds=sum(durations),
        workers=tuple(sorted({names.get(record["worker"], record["worker"]) for record in records})),
        items=(counts.items or None) if counts else None,
        failed=counts.failed if counts else failed,
        retries=counts.retries if counts else len(records) - len(last),
        shortest=durations[0],
        median=(durations[len(durations) // 2] + durations[~(len(durations) // 2)]) / 2,
        longest=durations[-1],
        bytes=sum(record.get("nbytes") or 0 for record in records),
        others=_others(records),
    )


def compute_seconds(record: Mapping[str, Any]) -> float:
    """Return how long a task computed."""
    return seconds_of(record, COMPUTE)


def seconds_of(record: Mapping[str, Any], action: str) -> float:
    """Return how long a task took for one of Dask's actions: compute, transfer, deserialize, disk-read, disk-write."""
    return float(sum(part["stop"] - part["start"] for part in record["startstops"] if part["action"] == action))


def _others(records: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    seconds: Counter[str] = Counter()
    for record in records:
        for part in record["startstops"]:
            if part["action"] != COMPUTE:
                seconds[part["action"]] += part["stop"] - part["start"]
    return dict(seconds)
