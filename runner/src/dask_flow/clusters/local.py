"""The embedded default: worker processes on this machine."""

from __future__ import annotations

import logging
import warnings
from contextlib import ExitStack
from typing import TYPE_CHECKING

from dask_flow.clusters import OnLost

if TYPE_CHECKING:
    from distributed import Client

    from dask_flow.history import History
    from dask_flow.settings import RunSettings

__all__ = ["cluster"]

log = logging.getLogger(__name__)


def cluster(stack: ExitStack, settings: RunSettings, history: History, on_lost: OnLost) -> Client:
    """Start worker processes here, between the bounds, that share this machine's cores."""
    if settings.worker_spec:
        log.warning("the local cluster has no pods: %s has no effect", settings.worker_spec)
    with history("local cluster started"):
        import dask
        from dask.system import CPU_COUNT
        from distributed import Client, LocalCluster

        from dask_flow.clusters.dask_logs import keep_info, saved_at_the_end

        warnings.filterwarnings("ignore", message="Port .* is already in use")
        with dask.config.set({"distributed.scheduler.work-stealing": settings.work_stealing}):
            local = LocalCluster(
                n_workers=settings.min_workers,
                threads_per_worker=max(1, CPU_COUNT // settings.max_workers),
                silence_logs=logging.ERROR,
                preload=["dask_flow.sendable"],
            )
    stack.enter_context(local)
    client = stack.enter_context(Client(local))
    log.info("dashboard: %s", client.dashboard_link)
    if history.logs:
        keep_info(client, workers=True)
    saved_at_the_end(client, history)
    if settings.adaptive:
        local.adapt(
            minimum=settings.min_workers,
            maximum=settings.max_workers,
            interval=settings.adaptive_interval,
            target_duration=settings.adaptive_target_duration,
            wait_count=settings.adaptive_wait_count,
        )
    return client
