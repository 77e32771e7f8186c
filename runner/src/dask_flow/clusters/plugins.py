"""What a temporary cluster's processes learn: to keep TLS connections apart, drain on SIGTERM, stay, use all memory.

The plugins travel by value: the pods' image need not have this package.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import cloudpickle
import psutil
from distributed.diagnostics.plugin import NannyPlugin, SchedulerPlugin, WorkerPlugin
from tornado.ioloop import PeriodicCallback

from dask_flow import sendable, text
from dask_flow.clusters import drain, memory, openssl_errors
from dask_flow.history import WORKER_BEGAN

if TYPE_CHECKING:
    from distributed import Client, Nanny, Scheduler, Worker

__all__ = ["let_go", "register_plugins"]

log = logging.getLogger(__name__)

NAME = "dask-flow"
TELL_SECONDS = 0.2
RUNNER_GONE_SECONDS = 60
AWAKE_SECONDS = 2
LET_GO_SECONDS = 2


class WithMemoryLimits(SchedulerPlugin):  # type: ignore[misc]
    """Hear of the workers' memory limits, as some know them only after they joined."""

    _scheduler: Scheduler

    def log_event(self, topic: str, msg: Any) -> None:
        """Note the limit of the worker that has logged this."""
        if topic == memory.MEMORY_LIMIT and msg["worker"] in self._scheduler.workers:
            self._scheduler.workers[msg["worker"]].memory_limit = msg["limit"]


class ForScheduler(WithMemoryLimits):
    """Set up the scheduler's process, and end it when the runner is gone; one in the runner's pod is gone by then.

    Before the runner came, being idle would have ended it; from then on, nothing else does.
    """

    def __init__(self, runner: str) -> None:
        self._runner = runner

    async def start(self, scheduler: Scheduler) -> None:
        """Set the process up."""
        openssl_errors.keep_connections_apart()
        drain.warn_once()
        self._scheduler = scheduler
        scheduler.idle_timeout = None

    def remove_client(self, scheduler: Scheduler, client: str) -> None:
        """Give the runner's client some time to come back."""
        if client == self._runner:
            asyncio.get_running_loop().call_later(RUNNER_GONE_SECONDS, self._end_without_runner)

    def _end_without_runner(self) -> None:
        if self._runner not in self._scheduler.clients:
            self._closing = asyncio.ensure_future(self._scheduler.close(reason="the runner is gone"))


class ForOperatedScheduler(WithMemoryLimits):
    """Keep the Dask operator from taking the cluster of a living run for idle, and so from deleting it.

    A scheduler that ended itself would be started again, so that is left to the operator.
    """

    def __init__(self, runner: str) -> None:
        self._runner = runner

    async def start(self, scheduler: Scheduler) -> None:
        """Begin to look whether the runner is there; on SIGTERM end at once, as there is nothing to hand over."""
        end_on_sigterm()
        drain.warn_once()
        self._scheduler = scheduler
        self._look = PeriodicCallback(self._stay_awake, AWAKE_SECONDS * 1000)
        self._look.start()

    def _stay_awake(self) -> None:
        if self._runner in self._scheduler.clients:
            self._scheduler.idle_since = None

    async def close(self) -> None:
        """Look no more."""
        self._look.stop()


class ForWorker(WorkerPlugin):  # type: ignore[misc]
    """Set up a worker's process, and tell when its container began."""

    def setup(self, worker: Worker) -> None:
        """Set the process up."""
        openssl_errors.keep_connections_apart()
        sendable.send_errors_safely()
        drain.drain_on_sigterm(worker)
        # Events not before it is connected: what a worker says earlier is lost.
        limit = memory.take_whole_memory(worker)
        if limit:
            changed = {"worker": worker.address, "limit": limit}
            worker.loop.call_later(TELL_SECONDS, worker.log_event, memory.MEMORY_LIMIT, changed)
        with suppress(psutil.Error):  # some sandboxes show a process none but its own
            # psutil's time of the boot is in whole seconds; the pod would seem to begin before it was asked for.
            since_boot = psutil.Process(1).create_time() - psutil.boot_time()
            began = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + since_boot
            event = {"worker": worker.address, "began": began}
            worker.loop.call_later(TELL_SECONDS, worker.log_event, WORKER_BEGAN, event)


class ForNanny(NannyPlugin):  # type: ignore[misc]
    """Set up a nanny's process."""

    def setup(self, nanny: Nanny) -> None:
        """Set the process up."""
        openssl_errors.keep_connections_apart()
        drain.forward_sigterm(nanny)
        memory.take_whole_memory(nanny)
        memory.watch_for_oom_kills(nanny)


class ForOperatedWorker(ForWorker):
    """Set up a worker's process, to end at once on SIGTERM when this is taken away, as the run is over then."""

    def teardown(self, worker: Worker) -> None:
        """Drain no more."""
        end_on_sigterm()


class ForOperatedNanny(ForNanny):
    """Set up a nanny's process, to end at once on SIGTERM when this is taken away, as the run is over then."""

    def teardown(self, nanny: Nanny) -> None:
        """Forward no more."""
        end_on_sigterm()


def end_on_sigterm() -> None:
    """From now on, end this process at once on SIGTERM, whatever its tasks do."""
    if threading.current_thread() is threading.main_thread():  # signals go to no other
        signal.signal(signal.SIGTERM, lambda *_: os._exit(0))


def let_go(client: Client) -> None:
    """Say to workers that the Dask operator looks after that the run is over, so that they end when they are told to.

    The operator gives them all the time that their pods' spec says, which busy ones would take.
    """
    for kind in ("worker", "nanny"):
        unregister = getattr(client.scheduler, f"unregister_{kind}_plugin")
        try:
            client.sync(unregister, name=NAME, callback_timeout=LET_GO_SECONDS)
        except Exception as error:
            log.debug("the %ss could not be told that the run is over: %s", kind, error)


def register_plugins(client: Client, *, operated: bool = False) -> None:
    """Set up the scheduler, and the workers and nannies that are there and that will come.

    `operated` says that the Dask operator looks after them.
    """
    modules = (drain, memory, openssl_errors, sendable, text, sys.modules[__name__])
    for module in modules:
        cloudpickle.register_pickle_by_value(module)
    try:
        plugins = {
            "scheduler": cloudpickle.dumps((ForOperatedScheduler if operated else ForScheduler)(client.id)),
            "worker": cloudpickle.dumps((ForOperatedWorker if operated else ForWorker)()),
            "nanny": cloudpickle.dumps((ForOperatedNanny if operated else ForNanny)()),
        }
    finally:
        for module in modules:
            cloudpickle.unregister_pickle_by_value(module)
    for kind, plugin in plugins.items():
        register = getattr(client.scheduler, f"register_{kind}_plugin")
        client.sync(register, plugin=plugin, name=NAME, idempotent=True)
