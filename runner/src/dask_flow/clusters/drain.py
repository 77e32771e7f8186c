"""A worker that is told to end, by a drain, a spot node's end or a scale-down, first hands over what it has."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import signal
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from distributed.core import Status

if TYPE_CHECKING:
    from distributed import Nanny, Worker

__all__ = ["drain_on_sigterm", "forward_sigterm", "has_joined", "warn_once"]

LOOK_SECONDS = 0.1
REASON = "dask-flow-drain"
CANNOT_RETIRE = re.compile(r"(?:Tried retiring|Could not retire) worker '?(?P<worker>[^\s',]+)")


def drain_on_sigterm(worker: Worker) -> None:
    """From now on, have the worker of this process drain on SIGTERM; `dask worker` itself would end at once.

    The kubelet's SIGKILL, at the end of the pod's grace period, is the limit. A worker that has not joined yet ends as
    before, having nothing to hand over.
    """
    loop = asyncio.get_running_loop()
    tasks: list[asyncio.Task[None]] = []

    def begin() -> None:
        if not tasks:
            tasks.append(loop.create_task(drain(worker)))

    def on_sigterm(signum: int, frame: Any) -> None:
        if has_joined(worker):
            loop.call_soon_threadsafe(begin)
        elif callable(before):
            before(signum, frame)
        else:
            signal.signal(signum, signal.SIG_DFL)
            os.kill(os.getpid(), signum)

    if threading.current_thread() is threading.main_thread():  # signals go to no other
        before: Any = signal.signal(signal.SIGTERM, on_sigterm)


def forward_sigterm(nanny: Nanny) -> None:
    """From now on, have the nanny's worker drain on SIGTERM, which ends the nanny too.

    All nannies of a pod are in one process. Workers that are not there yet have nothing to hand over.
    """
    if threading.current_thread() is not threading.main_thread():  # signals go to no other
        return
    before: Any = signal.getsignal(signal.SIGTERM)
    nannies: list[Nanny] | None = getattr(before, "nannies", None)
    if nannies is not None:
        nannies.append(nanny)
        return
    nannies = [nanny]

    def forward(signum: int, frame: Any) -> None:
        workers = [each.pid for each in nannies if each.pid and each.worker_address]
        for pid in workers:
            os.kill(pid, signum)
        if not workers and callable(before):
            before(signum, frame)

    forward.nannies = nannies  # type: ignore[attr-defined]
    signal.signal(signal.SIGTERM, forward)


class _EachWorkerOnce(logging.Filter):
    """Lets one warning of each worker pass that cannot hand over, as it tries again and again until it can."""

    def __init__(self) -> None:
        super().__init__()
        self._workers: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether this is another warning, or another worker's."""
        found = CANNOT_RETIRE.match(record.getMessage())
        worker = found["worker"] if found else ""
        is_new = worker not in self._workers
        self._workers |= {worker} - {""}
        return is_new


def warn_once() -> None:
    """From now on, have the scheduler of this process warn once of each worker that cannot hand over what it has."""
    only_once = _EachWorkerOnce()
    for name in ("scheduler", "active_memory_manager"):
        logging.getLogger(f"distributed.{name}").addFilter(only_once)


def has_joined(worker: Worker) -> bool:
    """Return whether the scheduler has known the worker, which it looks for as it starts."""
    return worker.status not in (Status.undefined, Status.init, Status.starting)


async def drain(worker: Worker) -> None:
    """Move the worker's results to others, let its running tasks end, move theirs, and close it."""
    with suppress(OSError):  # without a scheduler, nobody waits for results
        while not await retire(worker, remove=False):  # noqa: ASYNC110 # Dask tells nobody
            await asyncio.sleep(LOOK_SECONDS)  # nobody could take them; a new worker may be on its way
        while worker.state.executing or worker.state.long_running:  # noqa: ASYNC110
            await asyncio.sleep(LOOK_SECONDS)
        await retire(worker, remove=True)
    await worker.close(reason=REASON)


async def retire(worker: Worker, *, remove: bool) -> bool:
    """Have the scheduler give the worker no more tasks and copy its results elsewhere; return whether it could."""
    return bool(
        await worker.scheduler.retire_workers(
            workers=[worker.address], close_workers=False, remove=remove, stimulus_id=REASON
        )
    )
