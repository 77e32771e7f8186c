"""distributed's SpecCluster over worker pods: it decides how many there are, and replaces those that end."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import Counter, defaultdict
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from distributed.core import Status
from distributed.deploy.adaptive import Adaptive
from distributed.deploy.spec import ProcessInterface, SpecCluster
from distributed.protocol.pickle import dumps

from dask_flow.errors import ClusterLostError, DaskFlowError
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
# The kubelet's own rule for a container that crashes: after ten minutes of running, what was before is forgotten.
FORGIVEN_SECONDS = 600


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
            refused = Problem(f"pod {self.name} could not be made: {error}", "refused")
            asyncio.get_running_loop().call_later(REFUSED_SECONDS, self._pods.pod_ended, self.name, refused)
        await super().start()

    async def close(self) -> None:
        """Delete the pod; its worker drains."""
        try:
            await asyncio.to_thread(self._pods.objects.delete_worker, self.name)
        except DaskFlowError as error:
            log.warning("worker %s could not be deleted: %s", self.name, error)
        await super().close()


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


class PodsCluster(SpecCluster):  # type: ignore[misc]
    """A Dask cluster of worker pods.

    `first_worker` is done when a worker joined, or has the reason why none can. `worker_names` gives the pod's name by
    the address of each worker that ever joined. `on_lost` is called when too many pods end for the same cause.
    """

    def __init__(
        self,
        scheduler: RunScheduler,
        objects: RunObjects,
        names: list[str],
        settings: RunSettings,
        on_lost: OnLost,
    ) -> None:
        self.objects = objects
        self.first_worker: Future[str] = Future()
        self.worker_names: dict[str, str] = {}
        self.last_problem: Problem | None = None
        self._on_lost = on_lost
        self._failures_allowed = settings.failures_allowed
        self._failures: Counter[str] = Counter()
        self._refusals = 0
        self._joined_at: dict[str, float] = {}
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

    def cannot_start(self, reason: str) -> None:
        """Say why there will be no worker, if none has joined yet. Call from any thread."""
        with suppress(InvalidStateError):
            self.first_worker.set_exception(DaskFlowError(reason))

    def scheduler_died(self, reason: str) -> None:
        """Say that the cluster is lost. Call from any thread."""
        self.cannot_start(reason)
        self._on_lost(ClusterLostError(f"{reason} while the flow ran"))

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
        """Replace a pod that ended, from any thread; before the first worker, it may be why no cluster can start."""
        if not found.disruption:
            self.cannot_start(found.text)
        self.loop.add_callback(self._replace, name, found)

    def _replace(self, name: str, found: Problem) -> None:
        if name not in self.worker_spec or name in self._ending or self.status != Status.running:
            return
        self._ending.add(name)
        joined_at = self._joined_at.get(name)
        if found.orderly and joined_at is not None:
            pause = 0.0
        else:
            log.warning("%s; it is replaced", found.text)
            self.last_problem = found
            pause = self._count_failure(found, joined_at)
        self.loop.call_later(pause, self._drop, name)

    def _count_failure(self, found: Problem, joined_at: float | None) -> float:
        """Return the seconds to wait before the next try: the more, the more pods ended before they joined."""
        if joined_at is not None and time.monotonic() - joined_at > FORGIVEN_SECONDS:
            return 0.0
        self._failures[found.cause] += 1
        count = self._failures[found.cause]
        if count > self._failures_allowed and (joined_at is not None or not self.scheduler_info["workers"]):
            reason = f"{count} worker pods ended by the same cause, {found.cause}, more than --allowed-failures"
            self._on_lost(ClusterLostError(f"{reason} {self._failures_allowed}; the last: {found.text}"))
        if joined_at is not None:
            return 0.0
        self._refusals += 1
        return float(min(2**self._refusals, MAX_PAUSE_SECONDS))

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
        return self.objects.new_name()

    def _update_worker_status(self, op: str, msg: Any) -> None:
        if op == "add":
            self._joined(msg["workers"])
        super()._update_worker_status(op, msg)

    def _joined(self, workers: dict[str, Any]) -> None:
        for address, info in workers.items():
            self.worker_names[address] = info["name"]
            self._joined_at.setdefault(self.pod_of(info["name"]), time.monotonic())
        if workers:
            self._refusals = 0
            with suppress(InvalidStateError):
                self.first_worker.set_result(next(iter(workers)))

    def joined(self) -> defaultdict[str, set[str]]:
        """Return the names of the workers that are there, by pod."""
        pods: defaultdict[str, set[str]] = defaultdict(set)
        for info in self.scheduler_info["workers"].values():
            pods[self.pod_of(info["name"])].add(info["name"])
        return pods

    def pod_of(self, worker: str) -> str:
        """Return the name of the pod that a worker is in: with several to a pod, Dask adds -0, -1, … to it."""
        return worker if self.objects.processes == 1 else worker.rpartition("-")[0]

    async def _close(self) -> None:
        # All pods are deleted in one call, so SpecCluster has no worker to retire and delete, and need not ask a
        # scheduler that may be dead.
        self.scheduler.status = Status.closed
        for worker in self._created:
            worker.status = Status.closed
        self.worker_spec.clear()
        self.workers.clear()
        await super()._close()
