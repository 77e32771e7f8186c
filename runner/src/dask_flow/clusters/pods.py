"""The temporary cluster: workers in bare pods, and the scheduler in the runner's pod or in one of its own."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from dask_flow.clusters import OnLost
from dask_flow.clusters.versions import check_versions
from dask_flow.errors import DaskFlowError, StartupError
from dask_flow.manifests import (
    DASHBOARD_PORT,
    SCHEDULER_PORT,
    RunIdentity,
    dask_configuration,
    template_variables,
)
from dask_flow.specs import Templates, read_templates

if TYPE_CHECKING:
    from distributed import Client, Security

    from dask_flow.clusters.run_objects import RunObjects
    from dask_flow.clusters.scheduler import RunScheduler
    from dask_flow.clusters.spec_cluster import PodsCluster
    from dask_flow.log import Steps
    from dask_flow.settings import RunSettings

__all__ = ["cluster", "templates_of"]

log = logging.getLogger(__name__)


@contextmanager
def cluster(settings: RunSettings, steps: Steps, on_lost: OnLost) -> Iterator[Client]:
    """Make worker pods and a scheduler, yield a client once a worker is there; delete all that was made at the end.

    The order is for speed: pods take longest, so they are asked for first; distributed is imported once, and the
    scheduler forked from this process before that has a second thread.
    """
    with ExitStack() as stack:
        with steps("worker pods requested"):
            objects, settings, identity = _run_objects(settings)
            stack.callback(_clean_up, objects, steps)
            objects.delete_leftover_pods()
            objects.create_shared()
            names = [objects.new_name() for _ in range(settings.min_workers)]
            objects.create_workers(*names)
        with steps("scheduler started"):
            from distributed import Client

            from dask_flow.clusters.plugins import register_plugins
            from dask_flow.clusters.spec_cluster import PodsCluster

            security = objects.key_pair.security() if objects.key_pair else None
            scheduler = _scheduler(objects, settings, identity, security)
            stack.callback(scheduler.stop)
            objects.follow()
            objects.delete_other_leftovers()
            scheduler.wait_until_ready(settings.startup_timeout)
            spec_cluster = PodsCluster(scheduler, objects, names, settings, on_lost)
            stack.callback(_close, spec_cluster)
            client = Client(spec_cluster)
            stack.callback(_close, client)
            stack.callback(objects.delete_all)
            register_plugins(client)
        scheduler.on_death(spec_cluster.scheduler_died)
        with steps("first worker joined"):
            _wait_for_worker(spec_cluster, objects, settings)
        check_versions(client)
        pod = identity.pod_name if settings.scheduler == "runner" else objects.scheduler_name
        log.info(
            "dashboard: http://localhost:%s/status after kubectl port-forward -n %s pod/%s %s",
            *(DASHBOARD_PORT, identity.namespace, pod, DASHBOARD_PORT),
        )
        if settings.adaptive:
            spec_cluster.scale_between(settings)
        yield client


def _run_objects(settings: RunSettings) -> tuple[RunObjects, RunSettings, RunIdentity]:
    from dask_flow.clusters.run_objects import RunObjects
    from dask_flow.kube import Kube

    kube = Kube.in_cluster()
    identity = RunIdentity.of_pod(kube.own_pod(), os.environ.get("DASK_FLOW_POD_IP"))
    templates, settings = templates_of(settings, identity)
    return RunObjects(kube, identity, settings, templates), settings, identity


def templates_of(settings: RunSettings, identity: RunIdentity) -> tuple[Templates, RunSettings]:
    """Read the pods' templates, log what was changed in them, and return the settings with the minimum they ask for."""
    templates = read_templates(settings, template_variables(settings, identity, os.environ))
    for warning in templates.warnings:
        log.warning("%s", warning)
    if templates.worker.replicas:
        settings = settings.with_min_workers(templates.worker.replicas)
    return templates, settings


def _scheduler(
    objects: RunObjects, settings: RunSettings, identity: RunIdentity, security: Security | None
) -> RunScheduler:
    import dask

    from dask_flow.clusters.openssl_errors import keep_connections_apart
    from dask_flow.clusters.scheduler import SchedulerPod, SchedulerProcess

    keep_connections_apart()
    if settings.scheduler == "pod":
        return SchedulerPod(objects, security)
    defaults = {name: value for name, value in dask_configuration(settings).items() if name not in os.environ}
    dask.config.update(dask.config.config, dask.config.collect_env(defaults))
    return SchedulerProcess(identity.pod_ip, SCHEDULER_PORT, DASHBOARD_PORT, security)


def _wait_for_worker(spec_cluster: PodsCluster, objects: RunObjects, settings: RunSettings) -> None:
    try:
        spec_cluster.first_worker.result(settings.startup_timeout)
    except TimeoutError as error:
        seen = "; ".join(objects.problems()) or "the pods run, but no worker joined; see their logs"
        raise StartupError(f"no worker joined within {settings.startup_timeout:g} s: {seen}") from error
    except DaskFlowError as error:
        raise StartupError(f"the workers cannot start: {error}") from error


def _close(what: Client | PodsCluster) -> None:
    """Close a part of the cluster; a failure is logged, so that it hides no error that came before."""
    try:
        what.close()
    except Exception as error:
        log.warning("the %s could not be closed: %s", type(what).__name__, error)


def _clean_up(objects: RunObjects, steps: Steps) -> None:
    with steps("worker pods gone"):
        objects.wait_until_gone()
