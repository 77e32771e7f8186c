"""What the processes of a temporary cluster are taught: to keep TLS connections apart, and to drain on SIGTERM.

The plugins travel by value: the pods' image need not have this package.
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

import cloudpickle
from distributed.diagnostics.plugin import NannyPlugin, SchedulerPlugin, WorkerPlugin

from dask_flow.clusters import drain, openssl_errors

if TYPE_CHECKING:
    from distributed import Client, Nanny, Scheduler, Worker

__all__ = ["register_plugins"]

NAME = "dask-flow"
RUNNER_GONE_SECONDS = 60


class ForScheduler(SchedulerPlugin):  # type: ignore[misc]
    """Set up the scheduler's process, and end it when the runner is gone; one in the runner's pod is gone by then."""

    def __init__(self, runner: str) -> None:
        self._runner = runner

    async def start(self, scheduler: Scheduler) -> None:
        """Set the process up."""
        openssl_errors.keep_connections_apart()
        self._scheduler = scheduler

    def remove_client(self, scheduler: Scheduler, client: str) -> None:
        """Give the runner's client some time to come back."""
        if client == self._runner:
            asyncio.get_running_loop().call_later(RUNNER_GONE_SECONDS, self._end_without_runner)

    def _end_without_runner(self) -> None:
        if self._runner not in self._scheduler.clients:
            self._closing = asyncio.ensure_future(self._scheduler.close(reason="the runner is gone"))


class ForWorker(WorkerPlugin):  # type: ignore[misc]
    """Set up a worker's process."""

    def setup(self, worker: Worker) -> None:
        """Set the process up."""
        openssl_errors.keep_connections_apart()
        drain.drain_on_sigterm(worker)


class ForNanny(NannyPlugin):  # type: ignore[misc]
    """Set up a nanny's process."""

    def setup(self, nanny: Nanny) -> None:
        """Set the process up."""
        openssl_errors.keep_connections_apart()
        drain.forward_sigterm(nanny)


def register_plugins(client: Client) -> None:
    """Set up the scheduler, and the workers and nannies that are there and that will come."""
    modules = (drain, openssl_errors, sys.modules[__name__])
    for module in modules:
        cloudpickle.register_pickle_by_value(module)
    try:
        plugins = {
            "scheduler": cloudpickle.dumps(ForScheduler(client.id)),
            "worker": cloudpickle.dumps(ForWorker()),
            "nanny": cloudpickle.dumps(ForNanny()),
        }
    finally:
        for module in modules:
            cloudpickle.unregister_pickle_by_value(module)
    for kind, plugin in plugins.items():
        register = getattr(client.scheduler, f"register_{kind}_plugin")
        client.sync(register, plugin=plugin, name=NAME, idempotent=True)
