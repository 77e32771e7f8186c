"""distributed's SpecCluster over worker pods: it decides how many there are, and replaces those that end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from distributed.core import Status
from distributed.deploy.spec import ProcessInterface, SpecCluster

from dask_flow.clusters.scheduler import SchedulerProcess
from dask_flow.clusters.worker_pods import WorkerPods
from dask_flow.errors import DaskFlowError
from dask_flow.pod_status import Problem

__all__ = ["PodsCluster"]

log = logging.getLogger(__name__)

FAILURES_ALLOWED = 5
# A worker pod is there within seconds, so one more is worth its start for each second of work that is queued.
ADAPTIVE = {"interval": "500ms", "target_duration": "1s", "wait_count": 6}


class WorkerPod(ProcessInterface):  # type: ignore[misc]
    """One worker: its pod's name is the worker's name."""

    def __init__(self, scheduler: str, name: str, pods: WorkerPods) -> None:
        super().__init__()
        self.name = name
        self._pods = pods

    async def start(self) -> None:
        """Ask for the pod, if that was not done yet."""
        await asyncio.to_thread(self._pods.create, self.name)
        await super().start()

    async def close(self) -> None:
        """Delete the pod."""
        try:
            await asyncio.to_thread(self._pods.delete, self.name)
        except DaskFlowError as error:
            log.warning("worker %s could not be deleted: %s", self.name, error)
        await super().close()


class PodsCluster(SpecCluster):  # type: ignore[misc]
    """A Dask cluster of worker pods.

    `first_worker` is done when a worker joined, or has the reason why none can. `worker_names` gives the pod's name by
    the address of each worker that ever joined. `on_lost` is called when pods keep ending and no worker joins any more.
    """

    def __init__(
        self, scheduler: SchedulerProcess, pods: WorkerPods, names: list[str], on_lost: Callable[[str], None]
    ) -> None:
        self.first_worker: Future[str] = Future()
        self.worker_names: dict[str, str] = {}
        self._pods = pods
        self._on_lost = on_lost
        self._failures = 0
        self._fixed_size: int | None = len(names)
        worker = {"cls": WorkerPod, "options": {"pods": pods}}
        super().__init__(
            workers=dict.fromkeys(names, worker),
            scheduler={"cls": lambda: scheduler},
            worker=worker,
            name="dask-flow",
            shutdown_scheduler=False,  # it ends with its process; asking one that is dead would take a comm's timeout
        )
        self._joined(self.scheduler_info["workers"])

    def scale_between(self, minimum: int, maximum: int) -> None:
        """Let Dask choose the number of workers between the bounds, from now on."""
        self._fixed_size = None
        self.adapt(minimum=minimum, maximum=maximum, **ADAPTIVE)

    def pod_ended(self, name: str, found: Problem) -> None:
        """Replace a pod that ended, from any thread; before the first worker, it is why no cluster can start."""
        if not self.first_worker.done():
            self.first_worker.set_exception(DaskFlowError(found.text))
        else:
            self.loop.add_callback(self._replace, name, found)

    async def _replace(self, name: str, found: Problem) -> None:
        if name not in self.worker_spec or self.status != Status.running:
            return
        log.warning("%s; it is replaced", found.text)
        self._failures += 1
        if self._failures > FAILURES_ALLOWED:
            self._on_lost(f"worker pods keep ending, the last: {found.text}")
            return
        del self.worker_spec[name]
        worker = self.workers.pop(name, None)
        if worker is not None:
            await worker.close()
        if self._fixed_size is not None:
            self.scale(self._fixed_size)

    def _new_worker_name(self, worker_number: int) -> str:
        return self._pods.new_name()

    def _update_worker_status(self, op: str, msg: Any) -> None:
        if op == "add":
            self._joined(msg["workers"])
        super()._update_worker_status(op, msg)

    def _joined(self, workers: dict[str, Any]) -> None:
        self.worker_names.update({address: info["name"] for address, info in workers.items()})
        if workers:
            self._failures = 0
            if not self.first_worker.done():
                self.first_worker.set_result(next(iter(workers)))

    async def _close(self) -> None:
        # All pods are deleted in one call, so SpecCluster has no worker to retire and delete.
        for worker in self._created:
            worker.status = Status.closed
        self.worker_spec.clear()
        self.workers.clear()
        await super()._close()
