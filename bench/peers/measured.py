"""What the peers' scripts share. Each runs in its peer's own environment, and prints one line of JSON at the end."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

from distributed import Client, LocalCluster

__all__ = ["increment", "measure"]

WARM_UP_TASKS = 10


def increment(number: int) -> int:
    return number + 1


def measure(mapped: Callable[[str, int], list[int]]) -> None:
    """Time a map of as many tasks as the command line says; `mapped` gets the scheduler's address, and the number.

    Neither imports nor the cluster's start count, and the first few tasks do not. A raw map is timed beside it: the
    peer's distributed may be another than ours.
    """
    tasks = int(sys.argv[1])
    options: dict[str, Any] = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    with LocalCluster(**options) as cluster, Client(cluster.scheduler_address) as client:

        def raw(address: str, number: int) -> list[int]:
            return list(client.gather(client.map(increment, range(number), pure=False)))

        figures = {}
        for name, run in (("raw", raw), ("peer", mapped)):
            seconds(run, cluster.scheduler_address, WARM_UP_TASKS)
            figures[name] = seconds(run, cluster.scheduler_address, tasks) / tasks
    versions = f"Prefect {version('prefect')} with distributed {version('distributed')}"
    print(json.dumps({**figures, "versions": versions}))


def seconds(run: Callable[[str, int], list[int]], address: str, tasks: int) -> float:
    started = time.perf_counter()
    results = run(address, tasks)
    taken = time.perf_counter() - started
    if results != list(range(1, tasks + 1)):
        raise SystemExit(f"a map of {tasks} tasks gave other results than it should: {str(results)[:200]}")
    return taken
