"""The scheduler as a process of the runner's pod."""

from __future__ import annotations

import asyncio
import multiprocessing
import signal
import threading
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

from distributed import Scheduler
from distributed.deploy.spec import ProcessInterface

from dask_flow.errors import StartupError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["SchedulerProcess"]

STARTUP_SECONDS = 30
SHUTDOWN_SECONDS = 3


class SchedulerProcess(ProcessInterface):  # type: ignore[misc]
    """A Dask scheduler in a process of its own, that ends when its parent does.

    Forked while this process has one thread, so that what is imported need not be imported again; else spawned.
    """

    def __init__(self, host: str, port: int, dashboard_port: int) -> None:
        super().__init__()
        context: Any = multiprocessing.get_context("fork" if threading.active_count() == 1 else "spawn")
        self._control, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(theirs, self._control, host, port, dashboard_port), name="dask-scheduler", daemon=True
        )
        self._process.start()
        theirs.close()
        self._closing = False

    def wait_until_ready(self) -> None:
        """Wait until the scheduler listens. Raises StartupError with its error."""
        try:
            ready = self._control.recv() if self._control.poll(STARTUP_SECONDS) else "no answer"
        except EOFError:
            ready = f"it ended with exit code {self.exit_code()}"
        if not isinstance(ready, dict):
            raise StartupError(f"the Dask scheduler did not start in the runner's pod: {ready}")
        self.address = ready["address"]

    def exit_code(self) -> int | None:
        """Wait for the process to end and return its exit code; negative for a signal."""
        self._process.join()
        code: int | None = self._process.exitcode
        return code

    def on_death(self, callback: Callable[[int | None], None]) -> None:
        """Call back, from a thread, if the process ends before `close`."""

        def watch() -> None:
            code = self.exit_code()
            if not self._closing:
                callback(code)

        threading.Thread(target=watch, name="scheduler-watch", daemon=True).start()

    def stop(self) -> None:
        """End the process; may be called again."""
        self._closing = True
        self._control.close()
        self._process.join(SHUTDOWN_SECONDS)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


def _serve(control: Connection, parents_end: Connection, host: str, port: int, dashboard_port: int) -> None:
    parents_end.close()  # or this process would never see that its parent is gone
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the parent decides when it ends
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    asyncio.run(_scheduler(control, host, port, dashboard_port))


async def _scheduler(control: Connection, host: str, port: int, dashboard_port: int) -> None:
    try:
        scheduler = await Scheduler(host=host, port=port, dashboard=False, dashboard_address=f":{dashboard_port}")
    except Exception as error:
        control.send(f"{type(error).__name__}: {error}")
        return
    scheduler.http_application.add_application(_LazyDashboard(scheduler))
    control.send({"address": scheduler.address})
    parent_gone = asyncio.Event()
    asyncio.get_running_loop().add_reader(control.fileno(), parent_gone.set)
    finished = asyncio.ensure_future(scheduler.finished())
    await asyncio.wait([asyncio.ensure_future(parent_gone.wait()), finished], return_when=asyncio.FIRST_COMPLETED)
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
