"""A run's workers: when each came and went, and why."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from dask_flow.history import End, History, PodNote, Seen
from dask_flow.report.tasks import shown

__all__ = ["Worker", "workers_of"]

LEFT = "left the cluster"


@dataclasses.dataclass(frozen=True)
class Worker:
    """A worker; times are in seconds since the epoch. `end` is empty if it was there when the flow ended."""

    name: str
    address: str = ""
    pod: str = ""
    threads: int = 1
    memory_limit: int = 0
    requested: float | None = None
    began: float | None = None
    joined: float | None = None
    left: float | None = None
    end: str = ""
    tasks: int = 0
    busy_seconds: float = 0.0


def workers_of(history: History) -> list[Worker]:
    """Return the workers of a run in the order of their names, with those whose pods never became one."""
    from dask.utils import natural_sort_key

    seen = history.seen
    records: defaultdict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for record in shown(seen.stream):
        records[record["worker"]].append(record)
    joined, left = (_times(seen, action) for action in ("add-worker", "remove-worker"))
    # A cluster that stays has seen others go before this run.
    since = history.steps[0].start if history.steps else history.began
    gone = {address for address, time in left.items() if time >= since}
    workers = [
        _worker(address, history, records[address], joined.get(address), left.get(address))
        for address in dict.fromkeys([*seen.workers, *gone, *records])
    ]
    known = {each.pod for each in workers}
    workers += [
        Worker(name, pod=name, requested=note.first_seen, left=_ended(note.ends), end=_texts(note.ends))
        for name, note in list(history.pods.items())
        if name not in known
    ]
    return sorted(workers, key=lambda each: natural_sort_key(each.name))


def _worker(
    address: str, history: History, records: list[Mapping[str, Any]], joined: float | None, left: float | None
) -> Worker:
    seen = history.seen
    name, info = seen.names.get(address, address), seen.workers.get(address, {})
    pod = _pod_of(name, history.pods)
    note = history.pods.get(pod)
    left = None if address in seen.workers else left
    return Worker(
        name=name,
        address=address,
        pod=pod,
        threads=info.get("nthreads") or len({each.get("thread") for each in records}) or 1,
        memory_limit=info.get("memory_limit") or 0,
        requested=note.first_seen if note else None,
        began=seen.processes.get(address),
        joined=joined,
        left=left,
        end=(_texts(note.ends) if note else "") or (LEFT if left else ""),
        tasks=len(records),
        busy_seconds=sum(part["stop"] - part["start"] for each in records for part in each["startstops"]),
    )


def _pod_of(worker: str, notes: Mapping[str, PodNote]) -> str:
    """Return the name of a worker's pod: its own, unless there are several to a pod, or the Dask operator named it."""
    pods = {note.worker or pod: pod for pod, note in list(notes.items())}  # a thread may add to them
    return pods.get(worker) or pods.get(worker.rpartition("-")[0], "")


def _times(seen: Seen, action: str) -> dict[str, float]:
    return {event["worker"]: time for time, event in seen.events if event.get("action") == action}


def _ended(ends: Iterable[End]) -> float | None:
    return next((each.time for each in ends), None)


def _texts(ends: Iterable[End]) -> str:
    return "\n".join(each.text for each in ends)
