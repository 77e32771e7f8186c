"""distributed's SpecCluster over worker pods: it decides how many there are, and replaces those that end."""

from __future__ import annotations

import asyncio
import logging
import math
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from distributed.core import Status
from distributed.deploy.adaptive import Adaptive
from distributed.deploy.spec import ProcessInterface, SpecCluster
from distributed.protocol.pickle import dumps

from dask_flow.clusters.run_cluster import RunCluster
from dask_flow.errors import DaskFlowError
from dask_flow.pod_status import Problem

if TYPE_CHECKING:
    from dask_flow.clusters import OnLost
    from dask_flow.clusters.run_objects import RunObjects
    from dask_flow.clusters.scheduler import RunScheduler
    from dask_flow.settings import RunSettings

__all__ = ["PodsCluster"]

log = logging.getLogger(__name__)

REFUSED_SECONDS = 10
MAX_PAUSE_SECONDS = 30


class WorkerPod(ProcessInterface):  # type: ignore[misc]
    """One worker: its pod's name is the worker's name."""

    def __init__(self, scheduler: str, name: str, cluster: PodsCluster) -> None:
        super().__init__()
        self.name = name
        self._pods = cluster

    async def start(self) -> None:
        """Ask for the pod, if that was not done yet. One that is refused counts as a pod that ended, after a while."""
        try:
            await asyncio.to_thread(self._pods.objects.create_workers, self.name)
        except DaskFlowError as error:
            refused = self._pods.objects.refused(self.name, error)
            asyncio.get_running_loop().call_later(REFUSED_SECONDS, self._pods.pod_ended, self.name, refused)
        await super().start()

    async def close(self) -> None:
        """Delete the pod; its worker drains."""
        await self._delete()
        await super().close()

    async def _delete(self) -> None:
        """Delete the pod, now or later: it takes no more tasks, but room."""
        try:
            await asyncio.to_thread(self._pods.objects.delete_worker, self.name)
        except DaskFlowError as error:
            log.warning("worker %s could not be deleted, and will be later: %s", self.name, error)
            self._pods.loop.call_later(REFUSED_SECONDS, self._delete)


class PodsAdaptive(Adaptive):  # type: ignore[misc]
    """Dask's adaptive scaling in pods, each of one or more workers.

    Only idle ones are let go, and only those whose results others could take.
    """

    @property
    def plan(self) -> set[str]:
        """The pods that there should be."""
        return set(self.cluster.worker_spec)

    @property
    def requested(self) -> set[str]:
        """The pods that were asked for."""
        return self.plan & set(self.cluster.workers)

    @property
    def observed(self) -> set[str]:
        """The pods of which a worker has joined."""
        return set(self.cluster.joined())

    async def target(self) -> int:
        """Return how many pods the work needs."""
        workers: int = await super().target()
        return math.ceil(workers / int(self.cluster.objects.processes))

    async def adapt(self) -> None:
        """Scale. That a cluster that closes, or is lost, breaks its connection off is no news."""
        try:
            await super().adapt()
        except OSError:
            if self.cluster.goes_on():
                raise

    async def workers_to_close(self, target: int) -> list[str]:
        """Return pods whose workers are idle, so many that `target` remain. Adaptive's own choice may be busy."""
        joined = self.cluster.joined()
        draining = sum(len(names) for pod, names in joined.items() if pod not in self.plan)
        names = await self.scheduler.workers_to_close(
            minimum=target * self.cluster.objects.processes + draining, key=dumps(self.worker_key), attribute="name"
        )
        return list({self.cluster.pod_of(name) for name in names} & self.plan)

    async def scale_down(self, workers: list[str]) -> None:
        """Have pods hand over their results, then delete those that did, and those that have no worker yet."""
        joined = self.cluster.joined()
        names = [name for pod in workers for name in joined[pod]]
        retired = await self.scheduler.retire_workers(names=names, remove=False, close_workers=False)
        handed_over = {info["name"] for info in retired.values()}
        await self.cluster.scale_down([pod for pod in workers if joined[pod] <= handed_over])


class PodsCluster(RunCluster, SpecCluster):  # type: ignore[misc]
    """A Dask cluster of worker pods."""

    objects: RunObjects

    def __init__(
        self,
        scheduler: RunScheduler,
        objects: RunObjects,
        names: list[str],
        settings: RunSettings,
        on_lost: OnLost,
    ) -> None:
        self.follow_run(objects, settings, on_lost)
        self._refusals = 0
        self._ending: set[str] = set()
        self._fixed_size: int | None = len(names)
        worker: dict[str, Any] = {"cls": WorkerPod, "options": {"cluster": self}}
        if objects.processes > 1:
            worker["group"] = [f"-{number}" for number in range(objects.processes)]
        super().__init__(
            workers=dict.fromkeys(names, worker),
            scheduler={"cls": lambda: scheduler},
            worker=worker,
            name="dask-flow",
            security=scheduler.security,
            shutdown_scheduler=False,  # it ends with its process; asking one that is dead would take a comm's timeout
        )
        self._joined(dict(self.scheduler_info["workers"]))
        objects.on_end(self.pod_ended)

    def scale_between(self, settings: RunSettings) -> None:
        """Let Dask choose the number of workers between the bounds, from now on."""
        self._fixed_size = None
        several = self.objects.processes > 1
        self.adapt(
            Adaptive=PodsAdaptive,
            minimum=settings.min_workers,
            maximum=settings.max_workers,
            worker_key=(lambda worker: worker.name.rpartition("-")[0]) if several else (lambda worker: worker.name),
            interval=settings.adaptive_interval,
            target_duration=settings.adaptive_target_duration,
            wait_count=settings.adaptive_wait_count,
        )

    def pod_ended(self, name: str, found: Problem) -> None:
        """Replace a pod that ended, from any thread; if all have, before the first worker, no cluster can start."""
        if name in self.worker_spec and self.objects.failing().issuperset(list(self.worker_spec)):
            self.cannot_start(found.text)
        self.loop.add_callback(self._replace, name, found)

    def _replace(self, name: str, found: Problem) -> None:
        if name not in self.worker_spec or name in self._ending or not self.goes_on():
            return
        self._ending.add(name)
        joined_at = self._joined_at.get(name)
        pause = 0.0
        if not found.orderly or joined_at is None:
            self.last_problem = found
            pause = self._count_failure(found, joined_at)
            log.warning("%s%s", found.text, "; it is replaced" if self.goes_on() else "")
        self.loop.call_later(pause, self._drop, name, joined_at)

    def goes_on(self) -> bool:
        """Return whether another pod could be of use."""
        return self.status == Status.running and not self.objects.lost

    def _count_failure(self, found: Problem, joined_at: float | None) -> float:
        """Return the seconds to wait before the next try: the more, the more pods ended before they joined."""
        self._count(found, joined_at)
        if joined_at is not None:
            return 0.0
        self._refusals += 1
        return float(min(2**self._refusals, MAX_PAUSE_SECONDS))

    async def _drop(self, name: str, joined_at: float | None) -> None:
        """Forget a pod that ended. A cluster of fixed size asks for another now, an adaptive one when it needs it.

        One that could not start, but did after all in the meantime, stays.
        """
        self._ending.discard(name)
        if not self.goes_on():
            return
        if joined_at is None and self.joined()[name] and not self.objects.ails(name):
            return
        self.worker_spec.pop(name, None)
        worker = self.workers.pop(name, None)
        if worker is not None:
            await worker.close()
        if self._fixed_size is not None:
            self.scale(self._fixed_size)

    def _new_worker_name(self, worker_number: int) -> str:
        return self.objects.new_name()

    def _joined(self, workers: dict[str, Any]) -> None:
        super()._joined(workers)
        if workers:
            self._refusals = 0

    def joined(self) -> defaultdict[str, set[str]]:
        """Return the names of the workers that are there, by pod."""
        pods: defaultdict[str, set[str]] = defaultdict(set)
        for info in self.scheduler_info["workers"].values():
            pods[self.pod_of(info["name"])].add(info["name"])
        return pods

    async def _close(self) -> None:
        # All pods are deleted in one call, so SpecCluster has no worker to retire and delete, and need not ask a
        # scheduler that may be dead.
        self.scheduler.status = Status.closed
        for worker in self._created:
            worker.status = Status.closed
        self.worker_spec.clear()
        self.workers.clear()
        await super()._close()
