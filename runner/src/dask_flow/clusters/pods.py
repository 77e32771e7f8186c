"""The temporary cluster: workers in bare pods, and the scheduler in the runner's pod or in one of its own."""

from __future__ import annotations

import os
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

from dask_flow.clusters import OnLost
from dask_flow.clusters.deadline import Deadline
from dask_flow.clusters.temporary import attempt_of, clean_up, close, log_dashboard, wait_for_worker
from dask_flow.clusters.versions import check_versions
from dask_flow.manifests import DASHBOARD_PORT, SCHEDULER_PORT, RunIdentity, dask_configuration

if TYPE_CHECKING:
    from distributed import Client, Security

    from dask_flow.clusters.run_objects import RunObjects
    from dask_flow.clusters.scheduler import RunScheduler
    from dask_flow.history import History
    from dask_flow.settings import RunSettings

__all__ = ["cluster"]


def cluster(stack: ExitStack, settings: RunSettings, history: History, on_lost: OnLost) -> Client:
    """Make worker pods and a scheduler, return a client once a worker is there; delete all that was made at the end.

    The order is for speed: pods take longest, so they are asked for first; distributed is imported once, and the
    scheduler forked from this process before that has a second thread.
    """
    deadline = Deadline(settings.startup_timeout)
    with history("worker pods requested"):
        from dask_flow.clusters.run_objects import RunObjects

        objects, settings, identity = attempt_of(RunObjects, settings, history)
        stack.callback(clean_up, objects, history)
        objects.delete_leftover_pods()
        objects.create_shared()
        names = [objects.new_name() for _ in range(settings.min_workers)]
        objects.create_workers(*names)
    with history("scheduler started"):
        from distributed import Client

        from dask_flow.clusters.dask_logs import keep_info, save_scheduler_log
        from dask_flow.clusters.plugins import register_plugins
        from dask_flow.clusters.spec_cluster import PodsCluster

        security = objects.key_pair.security() if objects.key_pair else None
        scheduler = _scheduler(objects, settings, identity, security)
        stack.callback(scheduler.stop)
        objects.follow()
        objects.delete_other_leftovers()
        scheduler.wait_until_ready(deadline)
        spec_cluster = PodsCluster(scheduler, objects, names, settings, on_lost)
        stack.callback(close, spec_cluster)
        scheduler.on_death(spec_cluster.scheduler_died)
        client = Client(spec_cluster)
        stack.callback(close, client)
        if settings.scheduler == "runner":  # with a Service, the connections to close would go too
            stack.callback(objects.delete_all)
        if history.logs and settings.scheduler == "runner":
            keep_info(client)
            history.log_savers.append(partial(save_scheduler_log, client, history.logs))
        register_plugins(client)
    with history("first worker joined"):
        wait_for_worker(spec_cluster, objects, deadline)
    check_versions(client)
    pod = identity.pod_name if settings.scheduler == "runner" else objects.scheduler_name
    log_dashboard(identity, f"pod/{pod}")
    if settings.adaptive:
        spec_cluster.scale_between(settings)
    return client


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
