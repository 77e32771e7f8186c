"""Have what Prefect logs in the runner's log, with the names of the tasks, whichever worker it was logged on."""

# mypy: disable-error-code="import-not-found"
from __future__ import annotations

import importlib
import logging
import sys
import threading
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from dask.utils import key_split
from distributed import KilledWorker
from distributed.diagnostics.plugin import WorkerPlugin

from dask_flow.by_value import send_by_value
from dask_flow.errors import StartupError
from dask_flow.text import one_line, printable
from dask_flow.worker_plugins import unregister

if TYPE_CHECKING:
    from distributed import Client, Worker

__all__ = ["LoggedFailures", "task_that_killed", "worker_logs"]

FLUSHED = "flushed"
FLUSH_SECONDS = 10

LoggedFailures = dict[str, tuple[str, str]]
"""The last error that was logged for a task, by the task's name: the repr of its exception, or "", and the text."""

Line = tuple[str | None, int, str, str]
"""A task's name, a log level, a text, and the repr of the exception that was logged with it, or ""."""


class Listener(logging.Handler):
    """Hands on each line that is logged below the logger "prefect", in place of the handlers that it has."""

    def __init__(self, send: Callable[[Line], None]) -> None:
        super().__init__()
        self._send = send

    def start(self) -> None:
        """Take the place of the other handlers."""
        logger = logging.getLogger("prefect")
        self._before = logger.handlers[:], logger.propagate
        logger.handlers[:], logger.propagate = [self], False

    def stop(self) -> None:
        """Give the other handlers their place back."""
        logger = logging.getLogger("prefect")
        if self in logger.handlers:
            logger.handlers[:], logger.propagate = self._before

    def emit(self, record: logging.LogRecord) -> None:
        """Hand on a line."""
        name, text = self._task(record), printable(record, form=self.format)
        error = record.exc_info[1] if record.exc_info else None
        text = text.removeprefix(f"Task '{name}': ")
        self._send((name and one_line(name), record.levelno, text, printable(error) if error else ""))

    def _task(self, record: logging.LogRecord) -> str | None:
        """Return the name of the task that logs: the task run's in Prefect 3, with the item's number in Prefect 1."""
        name: str | None = getattr(record, "task_run_name", None)
        if name is None and hasattr(record, "task_name"):
            import prefect

            name = prefect.context.get("task_full_name", record.task_name)
        return name


class PrefectLogs(WorkerPlugin):  # type: ignore[misc]
    """Sends what a worker logs to whoever subscribed to a topic of the scheduler.

    What is logged while a message is under way goes with the next one; all of it arrives before the task's end does.
    """

    def __init__(self, name: str, module: str, prepare: Callable[[], AbstractContextManager[None]] | None) -> None:
        self.name, self._module, self.prepare = name, module, prepare

    def setup(self, worker: Worker) -> None:
        """Import Prefect, which sets up its logging, then listen."""
        self._worker = worker
        self._lines: deque[Line] = deque()
        importlib.import_module(self._module)
        with ExitStack() as stack:
            if self.prepare:
                stack.enter_context(self.prepare())
            listener = Listener(self._add)
            stack.callback(listener.stop)
            listener.start()
            self._stack = stack.pop_all()

    def teardown(self, worker: Worker) -> None:
        """Leave all as it was."""
        self._stack.close()

    def _add(self, line: Line) -> None:
        self._lines.append(line)
        if len(self._lines) == 1:
            self._worker.loop.add_callback(self._send)

    def _send(self) -> None:
        lines = [self._lines.popleft() for _ in range(len(self._lines))]
        if lines:
            self._worker.log_event(self.name, lines)


@contextmanager
def worker_logs(
    client: Client, module: str, prepare: Callable[[], AbstractContextManager[None]] | None = None
) -> Iterator[LoggedFailures]:
    """While the flow runs: log here what Prefect logs here and on workers; yields the tasks' failures so far.

    `module` is imported on each worker, where `prepare` is then open all the while. Raises StartupError if
    a worker cannot do that.
    """
    failures: LoggedFailures = {}
    flushed = threading.Event()

    def show(event: tuple[Any, Any]) -> None:
        if event[1] == FLUSHED:
            flushed.set()
            return
        for line in event[1]:
            _show(line, failures)

    topic = f"dask-flow-prefect-{uuid.uuid4().hex}"
    listener = Listener(lambda line: _show(line, failures))
    client.subscribe_topic(topic, show)
    _register(client, PrefectLogs(topic, module, prepare))
    listener.start()
    try:
        yield failures
        # The tasks' results came to another client: what they logged may still be under way to this one.
        client.log_event(topic, FLUSHED)
        flushed.wait(FLUSH_SECONDS)
    finally:
        listener.stop()
        unregister(client, topic)
        if client.status == "running":
            client.unsubscribe_topic(topic)


def task_that_killed(problem: BaseException) -> str | None:
    """Return the name of the task whose workers all died, if that is the problem: it had no time to log anything."""
    return key_split(problem.task) if isinstance(problem, KilledWorker) else None


def _register(client: Client, plugin: PrefectLogs) -> None:
    own = [__name__, "dask_flow.text", *([plugin.prepare.__module__] if plugin.prepare else [])]
    send_by_value([sys.modules[name] for name in own])  # the workers' image need not have this package
    try:
        client.register_plugin(plugin, name=plugin.name)
    except ImportError as error:
        raise StartupError(
            f"a worker cannot run Prefect's tasks: {error}; its image needs the packages that the runner's has"
        ) from error


def _show(line: Line, failures: LoggedFailures) -> None:
    name, level, text, error = line
    if name is None:
        logging.getLogger("dask_flow.flow").log(level, "%s", text)
        return
    logging.getLogger("dask_flow.task").log(level, "task %s: %s", name, text)
    if level >= logging.ERROR and (error or name not in failures):
        failures[name] = error, text
