"""What workers are taught for a flow: the run's context, and to send what tasks log and print to the runner."""

from __future__ import annotations

import logging
import sys
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import cloudpickle
from distributed.diagnostics.plugin import WorkerPlugin

from dask_flow import run_context
from dask_flow.engine.backends import DaskBackend
from dask_flow.engine.items import Summary
from dask_flow.engine.output import TaskOutput
from dask_flow.errors import StartupError
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
        run_context.runs[self.run_id] = self.values
        run_context.summaries[self.run_id] = self._tell
        logger = logging.getLogger("dask_flow.task")
        self._handler = _Forward(worker, self.topic, self.values["flow_run_id"])
        self._before = logger.level, logger.propagate
        logger.addHandler(self._handler)
        logging.getLogger().addHandler(self._handler)
        logger.setLevel(min(logger.level or logging.INFO, logging.INFO))
        logger.propagate = False
        logging.getLogger("distributed.worker").addFilter(self._is_news)
        if not isinstance(sys.stdout, TaskOutput):
            sys.stdout = TaskOutput(sys.stdout, all_tasks=True)

    def teardown(self, worker: Worker) -> None:
        """Forget the run."""
        run_context.runs.pop(self.run_id, None)
        run_context.summaries.pop(self.run_id, None)
        logger = logging.getLogger("dask_flow.task")
        logger.removeHandler(self._handler)
        logging.getLogger().removeHandler(self._handler)
        logging.getLogger("distributed.worker").removeFilter(self._is_news)
        if not logger.handlers:
            logger.level, logger.propagate = self._before
            if isinstance(sys.stdout, TaskOutput):
                sys.stdout = sys.stdout.before

    def _tell(self, summary: Summary) -> None:
        """Send the summary of the items that this thread computes; it arrives before the task's end does."""
        line = (self._worker.get_current_task(), SUMMARY, cloudpickle.dumps(summary))
        self._worker.loop.add_callback(self._worker.log_event, self.topic, [line])

    def transition(self, key: Any, start: str, finish: str, **_: Any) -> None:
        """Tell of a result that cannot be had from the worker that has it: Dask itself would try without end."""
        if finish == "error" and start == "flight" and str(key).endswith(f"-{self.run_id}"):
            # A repr, with the traceback of the other side in it.
            why = self._worker.state.tasks[key].exception_text.partition("(")[2].strip("'\"").partition("\\n")[0]
            self._worker.log_event(self.topic, [(str(key), STUCK, why[:200])])
            # The connection lacks an answer: the next to use it would fail too.
            self._worker.rpc.collect()

    def _is_news(self, record: logging.LogRecord) -> bool:
        """Leave out a worker's line of a task that raised, arguments and all: the runner logs what is a failure."""
        key = record.args[0] if isinstance(record.args, tuple) and record.args else ""
        return record.levelno != logging.ERROR or not str(key).endswith(f"-{self.run_id}")


class _Forward(logging.Handler):
    """Sends what the tasks of one run log to whoever subscribed to a topic of the scheduler.

    What is logged while a message is under way goes with the next one; all of it arrives before the task's end does.
    """

    def __init__(self, worker: Worker, topic: str, flow_run_id: str) -> None:
        super().__init__()
        self._worker, self._topic, self._flow_run_id = worker, topic, flow_run_id
        self._lines: deque[tuple[str, int, str]] = deque()

    def emit(self, record: logging.LogRecord) -> None:
        if run_context.context.get("flow_run_id") != self._flow_run_id:
            return
        text = self.format(record)
        name = run_context.current_task() or record.name.removeprefix("dask_flow.task.")
        self._lines.append((name, record.levelno, text))
        if len(self._lines) == 1:
            self._worker.loop.add_callback(self._send)

    def _send(self) -> None:
        lines = [self._lines.popleft() for _ in range(len(self._lines))]
        if lines:
            self._worker.log_event(self._topic, lines)


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
                logging.getLogger("dask_flow.task").log(level, "task %s: %s", name, text)


@contextmanager
def on_workers(client: Client) -> Iterator[DaskBackend]:
    """Open a backend on a client's cluster; closed again, its workers are as before."""
    backend = _Taught(client)
    client.subscribe_topic(backend.topic, backend.show)
    try:
        yield backend
    finally:
        for name in backend.plugins:
            unregister(client, name)
        if client.status == "running":
            client.unsubscribe_topic(backend.topic)
