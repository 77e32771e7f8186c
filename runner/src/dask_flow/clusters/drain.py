"""A worker that is told to end, by a drain, a spot node's end or a scale-down, first hands over what it has."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import cloudpickle
from distributed.diagnostics.plugin import NannyPlugin, WorkerPlugin

if TYPE_CHECKING:
    from distributed import Client, Nanny, Worker

__all__ = ["let_workers_drain"]

LOOK_SECONDS = 0.1


def let_workers_drain(client: Client) -> None:
    """From now on, have each worker finish its running tasks and move its results to others on SIGTERM, then end.

    `dask worker` itself would end at once. The kubelet's SIGKILL, at the end of the pod's grace period, is the limit.
    The plugins travel by value: the image of the workers need not have this package.
    """
    module = sys.modules[__name__]
    cloudpickle.register_pickle_by_value(module)
    try:
        worker, nanny = cloudpickle.dumps(WorkerDrain()), cloudpickle.dumps(NannyDrain())
    finally:
        cloudpickle.unregister_pickle_by_value(module)
    name = WorkerDrain.name
    client.sync(client.scheduler.register_worker_plugin, plugin=worker, name=name, idempotent=True)
    client.sync(client.scheduler.register_nanny_plugin, plugin=nanny, name=name, idempotent=True)


class WorkerDrain(WorkerPlugin):  # type: ignore[misc]
    """On SIGTERM, the worker of this process drains."""

    name = "dask-flow-drain"

    def setup(self, worker: Worker) -> None:
        """Take over SIGTERM, unless the worker is in another thread than signals are."""
        loop = asyncio.get_running_loop()
        tasks: list[asyncio.Task[None]] = []

        def begin() -> None:
            if not tasks:
                tasks.append(loop.create_task(drain(worker)))

        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, lambda *_: loop.call_soon_threadsafe(begin))


class NannyDrain(NannyPlugin):  # type: ignore[misc]
    """On SIGTERM, the nanny of this process lets its worker drain, which ends the nanny too."""

    name = "dask-flow-drain"

    def setup(self, nanny: Nanny) -> None:
        """Take over SIGTERM; a worker that is not there yet has nothing to hand over."""
        before = signal.getsignal(signal.SIGTERM)

        def forward(signum: int, frame: Any) -> None:
            if nanny.pid and nanny.worker_address:
                os.kill(nanny.pid, signum)
            elif callable(before):
                before(signum, frame)

        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, forward)


async def drain(worker: Worker) -> None:
    """Move the worker's results to others, let its running tasks end, move theirs, and close it."""
    with suppress(OSError):  # without a scheduler, nobody waits for results
        while not await retire(worker, remove=False):  # noqa: ASYNC110 # Dask tells nobody
            await asyncio.sleep(LOOK_SECONDS)  # nobody could take them; a new worker may be on its way
        while worker.state.executing or worker.state.long_running:  # noqa: ASYNC110
            await asyncio.sleep(LOOK_SECONDS)
        await retire(worker, remove=True)
    await worker.close(reason=WorkerDrain.name)


async def retire(worker: Worker, *, remove: bool) -> bool:
    """Have the scheduler give the worker no more tasks and copy its results elsewhere; return whether it could."""
    return bool(
        await worker.scheduler.retire_workers(
            workers=[worker.address], close_workers=False, remove=remove, stimulus_id=WorkerDrain.name
        )
    )
