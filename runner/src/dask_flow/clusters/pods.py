"""The temporary cluster: the scheduler in the runner's pod, workers in bare pods that the runner makes."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from dask_flow.clusters import OnLost
from dask_flow.errors import ClusterLostError, DaskFlowError, StartupError
from dask_flow.manifests import RunIdentity, read_worker_template, worker_pod

if TYPE_CHECKING:
    from distributed import Client

    from dask_flow.clusters.spec_cluster import PodsCluster
    from dask_flow.clusters.worker_pods import WorkerPods
    from dask_flow.log import Steps
    from dask_flow.settings import RunSettings

__all__ = ["cluster"]

log = logging.getLogger(__name__)

SCHEDULER_PORT = 8786
DASHBOARD_PORT = 8787


@contextmanager
def cluster(settings: RunSettings, steps: Steps, on_lost: OnLost) -> Iterator[Client]:
    """Make worker pods and a scheduler, yield a client once a worker is there; delete all pods at the end.

    The order is for speed: pods take longest, so they are asked for first; distributed is imported once, and the
    scheduler forked from this process before that has a second thread.
    """
    with ExitStack() as stack:
        with steps("worker pods requested"):
            pods, settings, identity = _worker_pods(settings)
            stack.callback(_clean_up, pods, steps)
            names = [pods.new_name() for _ in range(settings.min_workers)]
            pods.create(*names)
        with steps("scheduler started"):
            from distributed import Client

            from dask_flow.clusters.scheduler import SchedulerProcess
            from dask_flow.clusters.spec_cluster import PodsCluster

            scheduler = SchedulerProcess(identity.pod_ip, SCHEDULER_PORT, DASHBOARD_PORT)
            stack.callback(scheduler.stop)
            pods.delete_leftovers()
            scheduler.wait_until_ready()
            spec_cluster = stack.enter_context(
                PodsCluster(scheduler, pods, names, on_lost=lambda reason: on_lost(ClusterLostError(reason)))
            )
            client = stack.enter_context(Client(spec_cluster))
            stack.callback(pods.delete_all)
        scheduler.on_death(lambda code: _scheduler_died(code, spec_cluster, on_lost))
        with steps("first worker joined"):
            pods.follow()
            _wait_for_worker(spec_cluster, pods, settings)
        log.info(
            "dashboard: kubectl port-forward -n %s pod/%s %s", identity.namespace, identity.pod_name, DASHBOARD_PORT
        )
        if settings.adaptive:
            spec_cluster.scale_between(settings.min_workers, settings.max_workers)
        yield client


def _worker_pods(settings: RunSettings) -> tuple[WorkerPods, RunSettings, RunIdentity]:
    from dask_flow.clusters.worker_pods import WorkerPods
    from dask_flow.kube import Kube

    kube = Kube.in_cluster()
    identity = RunIdentity.of_pod(kube.own_pod(), os.environ.get("DASK_FLOW_POD_IP"))
    template = read_worker_template(settings, identity, os.environ)
    for warning in template.warnings:
        log.warning("%s", warning)
    if template.replicas:
        settings = settings.with_min_workers(template.replicas)
    address = f"tcp://{identity.pod_host}:{SCHEDULER_PORT}"
    pods = WorkerPods(
        kube, identity, lambda name: worker_pod(template.pod, name, address, settings, identity), template.processes
    )
    return pods, settings, identity


def _wait_for_worker(spec_cluster: PodsCluster, pods: WorkerPods, settings: RunSettings) -> None:
    try:
        spec_cluster.first_worker.result(settings.startup_timeout)
    except TimeoutError as error:
        seen = "; ".join(pods.problems()) or "the pods run, but no worker joined; see their logs"
        raise StartupError(f"no worker joined within {settings.startup_timeout:g} s: {seen}") from error
    except DaskFlowError as error:
        raise StartupError(f"the workers cannot start: {error}") from error


def _scheduler_died(code: int | None, spec_cluster: PodsCluster, on_lost: OnLost) -> None:
    ended = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
    spec_cluster.cannot_start(f"the Dask scheduler's process ended with {ended}")
    on_lost(ClusterLostError(f"the Dask scheduler's process ended with {ended} while the flow ran"))


def _clean_up(pods: WorkerPods, steps: Steps) -> None:
    with steps("worker pods gone"):
        pods.wait_until_gone()
