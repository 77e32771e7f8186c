"""How much memory a worker may use if its command line does not say, and how the kernel's killing it becomes known.

Runs in the workers' and nannies' processes, where it travels by value: their image need not have this package.
"""

from __future__ import annotations

import logging
import os
import sys
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import psutil
from distributed import Nanny, Worker, system
from distributed.worker_memory import parse_memory_limit
from tornado.ioloop import PeriodicCallback

__all__ = ["MEMORY_LIMIT", "OOM_KILLED", "take_whole_memory", "watch_for_oom_kills"]

log = logging.getLogger(__name__)

MEMORY_LIMIT = "dask-flow-memory-limit"
OOM_KILLED = "dask-flow-oom-killed"
LOOK_SECONDS = 0.5
# Of control groups version 2, and of version 1.
OOM_COUNTERS = ("/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control")


def take_whole_memory(server: Worker | Nanny) -> int | None:
    """Have a worker, or those that a nanny starts, use what the container has; return it, if that changed it.

    Dask's own choice is a share by threads of the node's CPUs, of a container's limit too. Any other was made by the
    user, or by dask-cuda, which divides the limit among the GPUs.
    """
    if Path(sys.argv[0]).name == "dask-cuda-worker" or sys.argv[1:2] == ["cuda"]:
        return None
    manager = server.memory_manager
    threads = server.nthreads if isinstance(server, Nanny) else server.state.nthreads
    auto = parse_memory_limit("auto", threads, logger=log)
    memory = _memory_of_one(auto)
    if manager.memory_limit != auto or memory == auto:
        return None
    manager.memory_limit = memory
    if isinstance(server, Worker):
        # What Dask has computed from its limit when it was made.
        server.state.transfer_incoming_bytes_limit *= memory / auto
        with suppress(AttributeError):  # a worker that does not spill has a plain dict
            server.data.n *= memory / auto
    return memory


def _memory_of_one(auto: int) -> int:
    """Return an equal share of the container's limit; without one what was requested, if that is more than `auto`."""
    words = dict(pairwise(" ".join(sys.argv).replace("=", " ").split()))
    count = words.get("--nworkers", "")
    workers = int(count) if count.isdigit() else 1
    node = psutil.virtual_memory().total
    if node > system.MEMORY_LIMIT:
        return int(system.MEMORY_LIMIT) // workers
    return max(auto, min(int(os.environ.get("DASK_FLOW_MEMORY_REQUEST", "0")), int(node)) // workers)


def watch_for_oom_kills(nanny: Nanny) -> None:
    """Log an event when the kernel kills a process of the nanny's container, which may go on without it."""
    known = _oom_kills()

    def look() -> None:
        nonlocal known
        now = _oom_kills()
        if now > known:
            nanny.log_event(OOM_KILLED, {"name": nanny.name, "limit": system.MEMORY_LIMIT})
        known = now

    callback = PeriodicCallback(look, LOOK_SECONDS * 1000)
    nanny.periodic_callbacks[OOM_KILLED] = callback
    callback.start()


def _oom_kills() -> int:
    for path in map(Path, OOM_COUNTERS):
        with suppress(OSError, ValueError, KeyError):
            return int(dict(line.split() for line in path.read_text().splitlines())["oom_kill"])
    return 0
