"""distributed's SpecCluster over worker pods: it decides how many there are, and replaces those that end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
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
REFUSED_SECONDS = 10
MAX_PAUSE_SECONDS = 30
# A worker pod is there within seconds, so one more is worth its start for each second of work that is queued.
ADAPTIVE = {"interval": "500ms", "target_duration": "1s", "wait_count": 6}


class WorkerPod(ProcessInterface):  # type: ignore[misc]
    """One worker: its pod's name is the worker's name."""

    def __init__(self, scheduler: str, name: str, pods: WorkerPods) -> None:
        super().__init__()
        self.name = name
        self._pods = pods

    async def start(self) -> None:
        """Ask for the pod, if that was not done yet. One that is refused counts as a pod that ended, after a while."""
        try:
            await asyncio.to_thread(self._pods.create, self.name)
        except DaskFlowError as error:
            refused = Problem(f"pod {self.name} could not be made: {error}")
            asyncio.get_running_loop().call_later(REFUSED_SECONDS, self._pods.on_end, self.name, refused)
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
        pods.on_end = self.pod_ended
        self.first_worker: Future[str] = Future()
        self.worker_names: dict[str, str] = {}
        self._pods = pods
        self._on_lost = on_lost
        self._failures = 0
        self._ending: set[str] = set()
        self._fixed_size: int | None = len(names)
        worker: dict[str, Any] = {"cls": WorkerPod, "options": {"pods": pods}}
        if pods.processes > 1:
            worker["group"] = [f"-{number}" for number in range(pods.processes)]
        super().__init__(
            workers=dict.fromkeys(names, worker),
            scheduler={"cls": lambda: scheduler},
            worker=worker,
            name="dask-flow",
            shutdown_scheduler=False,  # it ends with its process; asking one that is dead would take a comm's timeout
        )
        self._joined(dict(self.scheduler_info["workers"]))

    def cannot_start(self, reason: str) -> None:
        """Say why there will be no worker, if none has joined yet. Call from any thread."""
        with suppress(InvalidStateError):
            self.first_worker.set_exception(DaskFlowError(reason))

    def scale_between(self, minimum: int, maximum: int) -> None:
        """Let Dask choose the number of workers between the bounds, from now on."""
        self._fixed_size = None
        self.adapt(minimum=minimum, maximum=maximum, **ADAPTIVE)

    def pod_ended(self, name: str, found: Problem) -> None:
        """Replace a pod that ended, from any thread; before the first worker, it is why no cluster can start."""
        self.cannot_start(found.text)
        self.loop.add_callback(self._replace, name, found)

    def _replace(self, name: str, found: Problem) -> None:
        if name not in self.worker_spec or name in self._ending or self.status != Status.running:
            return
        self._ending.add(name)
        if not found.orderly:
            log.warning("%s; it is replaced", found.text)
        self.loop.call_later(0 if self._has_joined(name) else self._count_failure(found), self._drop, name)

    def _has_joined(self, name: str) -> bool:
        return any(joined == name or joined.startswith(f"{name}-") for joined in self.worker_names.values())

    def _count_failure(self, found: Problem) -> float:
        """Return the seconds to wait: the more, the more pods ended before they joined; without any worker, give up."""
        self._failures += 1
        if self._failures > FAILURES_ALLOWED and not self.scheduler_info["workers"]:
            self._on_lost(f"worker pods keep ending, the last: {found.text}")
        return float(min(2**self._failures, MAX_PAUSE_SECONDS))

    async def _drop(self, name: str) -> None:
        """Forget a pod that ended. A cluster of fixed size asks for another now, an adaptive one when it needs it."""
        self._ending.discard(name)
        if self.status != Status.running:
            return
        self.worker_spec.pop(name, None)
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
            with suppress(InvalidStateError):
                self.first_worker.set_result(next(iter(workers)))

    async def _close(self) -> None:
        # All pods are deleted in one call, so SpecCluster has no worker to retire and delete.
        for worker in self._created:
            worker.status = Status.closed
        self.worker_spec.clear()
        self.workers.clear()
        await super()._close()
