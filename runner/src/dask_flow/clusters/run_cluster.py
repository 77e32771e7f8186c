"""What a run knows of its temporary cluster's workers: who joined, who failed, and when that is the end."""

from __future__ import annotations

import time
from collections import Counter
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from distributed.core import Status

from dask_flow.errors import ClusterLostError, DaskFlowError
from dask_flow.log import logged
from dask_flow.pod_status import PREEMPTED, Problem

if TYPE_CHECKING:
    from dask_flow.clusters import OnLost
    from dask_flow.clusters.attempt import Attempt
    from dask_flow.settings import RunSettings

__all__ = ["RunCluster"]

# The kubelet's own rule for a container that crashes: after ten minutes of running, what was before is forgotten.
FORGIVEN_SECONDS = 600
LOOK_SECONDS = 1
LAST_WORD_SECONDS = 5


class RunCluster:
    """A mixin for distributed's Cluster.

    `first_worker` is done when a worker joined, or has the reason why none can. `worker_names` gives the worker's name
    by the address of each that ever joined. `on_lost` is called when too many pods end for the same cause, and when
    after the last worker's end none joins within the startup timeout, unless a queue keeps them waiting.
    """

    scheduler_info: dict[str, Any]
    status: Status
    loop: Any

    def follow_run(self, objects: Attempt, settings: RunSettings, on_lost: OnLost) -> None:
        """Know nothing of workers yet. To be called before distributed's own __init__, which may tell of some."""
        self.objects = objects
        self.first_worker: Future[str] = Future()
        self.worker_names: dict[str, str] = {}
        self.last_problem: Problem | None = None
        self._on_lost = on_lost
        self._failures_allowed = settings.failures_allowed
        self._startup_timeout = settings.startup_timeout
        self._joins = 0
        self._failures: Counter[str] = Counter()
        self._joined_at: dict[str, float] = {}

    def cannot_start(self, reason: str) -> None:
        """Say why there will be no worker, if none has joined yet. Call from any thread."""
        with suppress(InvalidStateError):
            self.first_worker.set_exception(DaskFlowError(reason))

    def scheduler_died(self, reason: str) -> None:
        """Say that the cluster is lost. Call from any thread."""
        self._lose(f"{reason} while the flow ran" if self._joins else reason)

    def _lose(self, reason: str) -> None:
        """Say, from any thread, that the cluster is lost, and make no more pods for it."""
        self.objects.lost = True
        self.cannot_start(reason)
        self._on_lost(ClusterLostError(reason))

    async def _watch_worker_status(self, comm: Any) -> None:
        """Listen to the scheduler; without that no pod that joins or ends would be known of.

        Who knows why, such as the scheduler's watch, may say it first.
        """
        await super()._watch_worker_status(comm)  # type: ignore[misc]
        self.objects.lost = True
        self.loop.call_later(LAST_WORD_SECONDS, self._unheard)

    def _unheard(self) -> None:
        if self.status == Status.running:
            self._lose("the connection to the Dask scheduler that tells of its workers broke off")

    def _update_worker_status(self, op: str, msg: Any) -> None:
        with logged("what the scheduler says of workers"):
            if op == "add":
                self._joined(msg["workers"])
            super()._update_worker_status(op, msg)  # type: ignore[misc]
            if op == "remove" and not self.scheduler_info["workers"]:
                self.loop.call_later(LOOK_SECONDS, self._still_none, self._joins, self._startup_timeout)

    def _still_none(self, joins: int, left: float) -> None:
        """Look until a worker has joined since there were so many joins; say that the cluster is lost if none does.

        `left` is how many seconds were left at the last look; those in a queue do not count.
        """
        if joins != self._joins or self.status != Status.running:
            return
        if not self.objects.await_admission("worker"):
            left -= LOOK_SECONDS
        if left > 0:
            self.loop.call_later(LOOK_SECONDS, self._still_none, joins, left)
            return
        last = self.last_problem.text if self.last_problem else "nothing is known of why"
        problems = "; ".join(self.objects.problems()) or last
        self._lose(f"all workers are gone, and no other joined within {self._startup_timeout:g} s: {problems}")

    def _joined(self, workers: dict[str, Any]) -> None:
        self._joins += len(workers)
        for address, info in workers.items():
            self.worker_names[address] = info["name"]
            self._joined_at.setdefault(self.pod_of(info["name"]), time.monotonic())
        if workers:
            with suppress(InvalidStateError):
                self.first_worker.set_result(next(iter(workers)))

    def pod_of(self, worker: str) -> str:
        """Return the name of the pod that a worker is in: with several to a pod, Dask adds -0, -1, … to it."""
        return worker if self.objects.processes == 1 else worker.rpartition("-")[0]

    def _count(self, found: Problem, joined_at: float | None) -> None:
        """Count a failure of a pod, and say that the cluster is lost if there were too many of the same cause."""
        if found.cause == PREEMPTED or (joined_at is not None and time.monotonic() - joined_at > FORGIVEN_SECONDS):
            return
        self._failures[found.cause] += 1
        count = self._failures[found.cause]
        if count > self._failures_allowed and (joined_at is not None or not self.scheduler_info["workers"]):
            reason = f"{count} worker pods ended by the same cause, {found.cause}, more than --allowed-failures"
            self._lose(f"{reason} {self._failures_allowed}; the last: {found.text}")
