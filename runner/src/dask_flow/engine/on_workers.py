"""What workers are taught for a flow: the run's context, and to send what tasks log and print to the runner."""

from __future__ import annotations

import functools
import logging
import sys
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import cloudpickle
from distributed import get_worker
from distributed.diagnostics.plugin import WorkerPlugin

from dask_flow import run_context
from dask_flow.engine.backends import DaskBackend
from dask_flow.engine.items import Summary
from dask_flow.engine.output import TaskOutput, line_of, show
from dask_flow.errors import StartupError
from dask_flow.sendable import send_errors_safely
from dask_flow.text import LONGEST_NAME, printable
from dask_flow.worker_plugins import unregister

if TYPE_CHECKING:
    from distributed import Client, Worker

__all__ = ["on_workers"]


STUCK, SUMMARY = -1, -2
"""In place of a log line's level: a key, and why its result cannot be sent, or the summary of its items."""


class FlowPlugin(WorkerPlugin):  # type: ignore[misc]
    """On a worker, for one run."""

    def __init__(self, run_id: str, values: Mapping[str, Any], topic: str) -> None:
        self.run_id, self.values, self.topic = run_id, values, topic
        self.name = f"dask-flow-{run_id}"

    def setup(self, worker: Worker) -> None:
        """Make the run known, and listen to its tasks' loggers and prints."""
        self._worker = worker
        send_errors_safely()
        _process.begin(self)
        logging.getLogger("distributed.worker").addFilter(self._is_news)

    def teardown(self, worker: Worker) -> None:
        """Forget the run."""
        logging.getLogger("distributed.worker").removeFilter(self._is_news)
        _process.end(self)

    def transition(self, key: Any, start: str, finish: str, **_: Any) -> None:
        """Tell what a task printed last, and of a result that cannot be had: Dask itself would try without end."""
        if start not in {"executing", "long-running", "flight"} or not str(key).endswith(f"-{self.run_id}"):
            return
        rest = sys.stdout.rest_of(key) if isinstance(sys.stdout, TaskOutput) else ""
        if rest:
            self._worker.log_event(self.topic, [(run_context.name_of(key), logging.INFO, printable(rest))])
        if start == "flight" and finish == "error":
            # A repr, with the traceback of the other side in it.
            why = self._worker.state.tasks[key].exception_text.partition("(")[2].strip("'\"").partition("\\n")[0]
            self._worker.log_event(self.topic, [(str(key), STUCK, printable(why, LONGEST_NAME))])
            # The connection lacks an answer: the next to use it would fail too.
            self._worker.rpc.collect()

    def _is_news(self, record: logging.LogRecord) -> bool:
        """Leave out a worker's line of a task that raised, arguments and all: the runner logs what is a failure."""
        key = record.args[0] if isinstance(record.args, tuple) and record.args else ""
        return record.levelno != logging.ERROR or not str(key).endswith(f"-{self.run_id}")


class _Process:
    """What this process does for the runs that its workers know: a process may have several, and each a plugin."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._plugins: Counter[str] = Counter()
        self._forwards: dict[str, _Forward] = {}
        self._before: tuple[int, bool] = (logging.NOTSET, True)
        self._output: TaskOutput | None = None
        self.shown: set[str] = set()
        """The topics that are shown in this process: what tasks of its workers log is in its log by itself."""

    def begin(self, plugin: FlowPlugin) -> None:
        with self._lock:
            self._plugins[plugin.run_id] += 1
            if self._plugins[plugin.run_id] > 1:
                return
            run_context.runs[plugin.run_id] = plugin.values
            run_context.summaries[plugin.run_id] = functools.partial(_tell, plugin.topic)
            if not isinstance(sys.stdout, TaskOutput):
                sys.stdout = self._output = TaskOutput(sys.stdout, all_tasks=True)
            if plugin.topic in self.shown:
                return
            logger = logging.getLogger("dask_flow.task")
            if not self._forwards:
                self._before = logger.level, logger.propagate
                logger.setLevel(min(logger.level or logging.INFO, logging.INFO))
                logger.propagate = False
            forward = self._forwards[plugin.run_id] = _Forward(plugin.topic, plugin.values["flow_run_id"])
            logger.addHandler(forward)
            logging.getLogger().addHandler(forward)

    def end(self, plugin: FlowPlugin) -> None:
        with self._lock:
            self._plugins[plugin.run_id] -= 1
            if self._plugins[plugin.run_id] > 0:
                return
            del self._plugins[plugin.run_id]
            run_context.runs.pop(plugin.run_id, None)
            run_context.summaries.pop(plugin.run_id, None)
            if not self._plugins and sys.stdout is self._output and self._output is not None:
                sys.stdout = self._output.before
            forward = self._forwards.pop(plugin.run_id, None)
            if forward is None:
                return
            logger = logging.getLogger("dask_flow.task")
            logger.removeHandler(forward)
            logging.getLogger().removeHandler(forward)
            if not self._forwards:
                level, logger.propagate = self._before
                logger.setLevel(level)


_process = _Process()


def _tell(topic: str, summary: Summary) -> None:
    """Send the summary of the items that this thread computes; it arrives before the task's end does."""
    worker = get_worker()
    line = (worker.get_current_task(), SUMMARY, cloudpickle.dumps(summary))
    worker.loop.add_callback(worker.log_event, topic, [line])


class _Forward(logging.Handler):
    """Sends what the tasks of one run log to whoever subscribed to a topic of the scheduler.

    What is logged while a message is under way goes with the next one; all of it arrives before the task's end does.
    """

    def __init__(self, topic: str, flow_run_id: str) -> None:
        super().__init__()
        self._topic, self._flow_run_id = topic, flow_run_id
        self._lines: dict[Worker, list[tuple[str, int, str]]] = {}

    def emit(self, record: logging.LogRecord) -> None:
        if run_context.context.get("flow_run_id") != self._flow_run_id:
            return
        worker = get_worker()
        if worker not in self._lines:
            worker.loop.add_callback(self._send, worker)
        self._lines.setdefault(worker, []).append(line_of(record))

    def _send(self, worker: Worker) -> None:
        self.acquire()  # as whoever calls `emit` does
        lines = self._lines.pop(worker)
        self.release()
        worker.log_event(self._topic, lines)


class _Taught(DaskBackend):
    """A backend that teaches the workers each run that begins, and listens to them."""

    def __init__(self, client: Client) -> None:
        super().__init__(client)
        self.topic = f"dask-flow-{uuid.uuid4().hex}"
        self.plugins: list[str] = []

    def begin(self, run_id: str, values: Mapping[str, Any], stuck: Callable[[str, str], None]) -> None:
        """Have the workers know the run, also those that come later."""
        self.stuck = stuck
        plugin = FlowPlugin(run_id, values, self.topic)
        try:
            self.client.register_plugin(plugin, name=plugin.name)
        except ImportError as error:
            raise StartupError(
                f"a worker cannot run tasks of a Flow: {error}; its image needs the package dask-flow, in this version"
            ) from error
        self.plugins.append(plugin.name)

    def show(self, event: tuple[Any, Any]) -> None:
        """Log here what a task logged on a worker, and pass on what a worker says of its own."""
        for name, level, text in event[1]:
            if level == STUCK:
                self.stuck(name, text)
            elif level == SUMMARY:
                self.told[name] = cloudpickle.loads(text)
            else:
                show([(name, level, text)])


@contextmanager
def on_workers(client: Client) -> Iterator[DaskBackend]:
    """Open a backend on a client's cluster; closed again, its workers are as before."""
    backend = _Taught(client)
    _process.shown.add(backend.topic)
    client.subscribe_topic(backend.topic, backend.show)
    try:
        yield backend
    finally:
        for name in backend.plugins:
            unregister(client, name)
        _process.shown.discard(backend.topic)
        if client.status == "running":
            client.unsubscribe_topic(backend.topic)
