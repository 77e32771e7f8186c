"""The scheduler of a temporary cluster: a process of the runner's pod, or a pod of its own."""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import os
import signal
import threading
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distributed import Scheduler, Security
from distributed.deploy.spec import ProcessInterface

from dask_flow.errors import StartupError

if TYPE_CHECKING:
    from collections.abc import Callable

    from dask_flow.clusters.attempt import Attempt
    from dask_flow.clusters.deadline import Deadline
    from dask_flow.pod_status import Problem

__all__ = ["RunScheduler", "SchedulerPod", "SchedulerProcess"]

SHUTDOWN_SECONDS = 3


class RunScheduler(ProcessInterface):  # type: ignore[misc]
    """A scheduler that the run has for itself. `security` is what it and its clients identify themselves by."""

    def __init__(self, security: Security | None) -> None:
        super().__init__()
        self.security = security

    def wait_until_ready(self, deadline: Deadline) -> None:
        """Wait until the scheduler listens at `address`. Raises StartupError with what keeps it from that."""
        raise NotImplementedError

    def on_death(self, callback: Callable[[str], None]) -> None:
        """Call back, from a thread, with a sentence if the scheduler ends before `stop`."""
        raise NotImplementedError

    def stop(self) -> None:
        """End the scheduler; may be called again."""
        raise NotImplementedError


class SchedulerPod(RunScheduler):
    """A scheduler in a pod of its own, behind a Service; it is deleted with the run's other objects."""

    def __init__(self, objects: Attempt, security: Security | None) -> None:
        super().__init__(security)
        self.address = objects.scheduler_address
        self._objects = objects
        self._ready: Future[None] = Future()
        self._on_death: Callable[[str], None] = lambda _: None
        objects.on_scheduler = self._changed

    def _changed(self, found: Problem | None) -> None:
        with suppress(InvalidStateError):
            if found is None:
                self._ready.set_result(None)
            else:
                self._ready.set_exception(StartupError(f"the Dask scheduler cannot start: {found.text}"))
        if found is not None:
            self._on_death(f"the Dask scheduler was lost: {found.text}")

    def wait_until_ready(self, deadline: Deadline) -> None:
        """Wait until the pod is ready; a queue may take its time."""
        try:
            deadline.result(self._ready, lambda: self._objects.await_admission("scheduler"))
        except TimeoutError as error:
            seen = "; ".join(self._objects.problems()) or f"see the log of {self._objects.scheduler_log}"
            raise StartupError(f"the Dask scheduler was not ready within {deadline.seconds:g} s: {seen}") from error

    def on_death(self, callback: Callable[[str], None]) -> None:
        """Call back when the pod has ended or was deleted."""
        self._on_death = callback

    def stop(self) -> None:
        """Do nothing: all pods are deleted in one call."""
        self._on_death = lambda _: None


class SchedulerProcess(RunScheduler):
    """A Dask scheduler in a process of its own, that ends when its parent does.

    Forked while this process has one thread, so that what is imported need not be imported again; else spawned.
    """

    def __init__(self, host: str, port: int, dashboard_port: int, security: Security | None) -> None:
        super().__init__(security)
        context: Any = multiprocessing.get_context("fork" if _has_one_thread() else "spawn")
        self._control, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve,
            args=(theirs, self._control, {"host": host, "port": port, "security": security}, dashboard_port),
            name="dask-scheduler",
            daemon=True,
        )
        self._process.start()
        theirs.close()
        self._closing = False

    def wait_until_ready(self, deadline: Deadline) -> None:
        """Wait until the process says that it listens."""
        try:
            answers = self._control.poll(deadline.left)
            ready = self._control.recv() if answers else f"no answer within {deadline.seconds:g} s"
        except EOFError:
            ready = self._ended()
        if not isinstance(ready, dict):
            raise StartupError(f"the Dask scheduler did not start in the runner's pod: {ready}")
        self.address = ready["address"]

    def _ended(self) -> str:
        self._process.join()
        code = self._process.exitcode or 0
        return f"the Dask scheduler's process ended with {f'signal {-code}' if code < 0 else f'exit code {code}'}"

    def on_death(self, callback: Callable[[str], None]) -> None:
        """Call back when the process has ended."""

        def watch() -> None:
            ended = self._ended()
            if not self._closing:
                callback(ended)

        threading.Thread(target=watch, name="scheduler-watch", daemon=True).start()

    def stop(self) -> None:
        """End the process."""
        self._closing = True
        self._control.close()
        self._process.join(SHUTDOWN_SECONDS)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


def _has_one_thread() -> bool:
    """Return whether no other thread of this process, native ones too, could hold a lock when it is forked.

    NumPy's OpenBLAS has some, which are no danger: it ends them at each fork, so they are gone after one.
    """
    child = os.fork()
    if not child:
        os._exit(0)
    os.kill(child, signal.SIGKILL)  # it may hang, if that danger is real
    os.waitpid(child, 0)
    return len(list(Path("/proc/self/task").iterdir())) == 1


def _serve(control: Connection, parents_end: Connection, options: dict[str, Any], dashboard_port: int) -> None:
    parents_end.close()  # or this process would never see that its parent is gone
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the parent decides when it ends
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    asyncio.run(_scheduler(control, options, dashboard_port))


async def _scheduler(control: Connection, options: dict[str, Any], dashboard_port: int) -> None:
    try:
        scheduler = await Scheduler(dashboard=False, dashboard_address=f":{dashboard_port}", **options)
    except Exception as error:
        control.send(f"{type(error).__name__}: {error}")
        return
    scheduler.http_application.add_application(_LazyDashboard(scheduler))
    control.send({"address": scheduler.address})
    parent_gone = asyncio.Event()
    asyncio.get_running_loop().add_reader(control.fileno(), parent_gone.set)
    finished = asyncio.ensure_future(scheduler.finished())
    await asyncio.wait([asyncio.ensure_future(parent_gone.wait()), finished], return_when=asyncio.FIRST_COMPLETED)
    logging.disable()  # connections break off now, as they should
    await scheduler.close()


class _LazyDashboard:
    """Stands in for Dask's dashboard until somebody asks for a page: most runs never need its second and 80 MB."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler

    def find_handler(self, request: Any, **kwargs: Any) -> Any:
        from distributed.dashboard.scheduler import connect

        application = self._scheduler.http_application
        application.applications.remove(self)
        connect(application, self._scheduler.http_server, self._scheduler)
        return application.applications[-1].find_handler(request, **kwargs)

    def stop(self) -> None:
        """Have nothing to stop; an application of a Dask server must have this."""
