"""dask-kubernetes' KubeCluster on a DaskCluster of this run, with what a run needs to know of its workers."""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from dask_kubernetes.operator import KubeCluster
from dask_kubernetes.operator.kubecluster.kubecluster import CreateMode

from dask_flow.clusters.run_cluster import RunCluster
from dask_flow.errors import StartupError
from dask_flow.pod_status import Problem

if TYPE_CHECKING:
    from dask_flow.clusters import OnLost
    from dask_flow.clusters.operator_objects import OperatorObjects
    from dask_flow.clusters.scheduler import RunScheduler
    from dask_flow.settings import RunSettings

__all__ = ["OperatorCluster", "connected"]

# kr8s, by which it asks the API server, warns of each version of Kubernetes that came after it.
warnings.filterwarnings("ignore", message="Kubernetes version .* is not supported", category=UserWarning)

log = logging.getLogger(__name__)

T = TypeVar("T")


class OperatorCluster(RunCluster, KubeCluster):  # type: ignore[misc]
    """The Dask operator's cluster of a run; it neither makes nor deletes it.

    Its pods are started again by Kubernetes, and so are replaced by nobody else.
    """

    objects: OperatorObjects

    def __init__(self, objects: OperatorObjects, namespace: str, settings: RunSettings, on_lost: OnLost) -> None:
        self.follow_run(objects, settings, on_lost)
        self._asked_for, self._failed = settings.min_workers, set[str]()
        super().__init__(
            name=objects.name,
            namespace=namespace,
            create_mode=CreateMode.CONNECT_ONLY,
            shutdown_on_close=False,
            quiet=True,
        )
        self._joined(dict(self.scheduler_info["workers"]))
        objects.on_end(self.pod_ended)

    def pod_ended(self, name: str, found: Problem) -> None:
        """Note, from any thread, that a pod failed; if all have, before the first worker, no cluster can start."""
        joined_at = self._joined_at.pop(self.objects.worker_of(name), None)  # its worker will join again, as the same
        if found.orderly or found.cause == "deleted":
            log.info("%s", found.text)  # the operator scaled down, or somebody told a worker to go
            return
        if not found.disruption:
            self._failed.add(name)
        if len(self._failed) >= self._asked_for:
            self.cannot_start(found.text)
        log.warning("%s; Kubernetes tries again", found.text)
        self.last_problem = found
        self.loop.add_callback(self._count, found, joined_at)


def connected(connect: Callable[[], T], scheduler: RunScheduler, timeout: float) -> T:
    """Return what `connect` does, unless it takes too long, which it may for ever, or the scheduler ends meanwhile."""
    done: Future[T] = Future()

    def attempt() -> None:
        try:
            _settle(done.set_result, connect())
        except BaseException as error:
            _settle(done.set_exception, error)

    scheduler.on_death(lambda reason: _settle(done.set_exception, StartupError(reason)))
    threading.Thread(target=attempt, name="connect", daemon=True).start()
    try:
        return done.result(timeout)
    except TimeoutError as error:
        raise StartupError(
            f"the Dask scheduler is ready, but no connection to {scheduler.address} came about within {timeout:g} s; "
            "see whether a pod here can resolve that name and reach that port"
        ) from error


def _settle(settle: Callable[[Any], None], value: Any) -> None:
    with suppress(InvalidStateError):
        settle(value)
