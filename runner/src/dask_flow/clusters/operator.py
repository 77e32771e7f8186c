"""The temporary cluster of who runs the Dask operator: it makes the pods, from a DaskCluster of this run."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from dask_flow.clusters import OnLost
from dask_flow.clusters.deadline import Deadline
from dask_flow.clusters.temporary import attempt_of, clean_up, close, log_dashboard, wait_for_worker
from dask_flow.clusters.versions import check_versions

if TYPE_CHECKING:
    from distributed import Client

    from dask_flow.history import History
    from dask_flow.settings import RunSettings

__all__ = ["cluster"]

# A scheduler that is ready just in time is still connected to.
CONNECT_SECONDS = 10


def cluster(stack: ExitStack, settings: RunSettings, history: History, on_lost: OnLost) -> Client:
    """Make a DaskCluster, return a client once a worker is there; delete it at the end.

    KubeCluster waits for ever for a scheduler that cannot start, so it connects when the watch says that it is ready.
    """
    deadline = Deadline(settings.startup_timeout)
    with history("DaskCluster requested"):
        from dask_flow.clusters.operator_objects import OperatorObjects

        objects, settings, identity = attempt_of(OperatorObjects, settings, history)
        stack.callback(clean_up, objects, history)
        objects.delete_leftovers()
        objects.wait_for_namesake(deadline)
        objects.create_cluster()
    with history("scheduler started"):
        from distributed import Client

        from dask_flow.clusters.operator_cluster import OperatorCluster, connected
        from dask_flow.clusters.plugins import let_go, register_plugins
        from dask_flow.clusters.scheduler import SchedulerPod

        scheduler = SchedulerPod(objects, None)
        stack.callback(scheduler.stop)
        objects.follow()
        objects.wait_until_taken_up(deadline)
        scheduler.wait_until_ready(deadline)
        kube_cluster = connected(
            lambda: OperatorCluster(objects, identity.namespace, settings, on_lost),
            *(scheduler, max(deadline.left, CONNECT_SECONDS)),
        )
        stack.callback(close, kube_cluster)
        scheduler.on_death(kube_cluster.scheduler_died)
        client = Client(kube_cluster)
        stack.callback(close, client)
        stack.callback(let_go, client)
        register_plugins(client, operated=True)
    with history("first worker joined"):
        wait_for_worker(kube_cluster, objects, deadline)
    check_versions(client)
    log_dashboard(identity, f"svc/{objects.scheduler_name}")
    if settings.adaptive:
        objects.create_autoscaler()
    return client
