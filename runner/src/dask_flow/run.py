"""One run from settings to outcome: load the flow, open the cluster, run the flow there, close the cluster."""

from __future__ import annotations

import contextvars
import logging
import os
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from dask_flow import declarations, targets
from dask_flow.clusters import cluster_mode
from dask_flow.errors import ClusterLostError, DaskFlowError, FlowError, InputError, Interrupted, StartupError
from dask_flow.flows import HIDDEN, FlowResult, adapter_for, name_of
from dask_flow.log import Steps, described, user_traceback
from dask_flow.report import Outcome, TaskGroup, group_tasks, write_termination_message
from dask_flow.settings import RunSettings, resolve

if TYPE_CHECKING:
    from types import FrameType

    from distributed import Client

__all__ = ["load", "run"]

log = logging.getLogger(__name__)

CLUSTERS_WORD_SECONDS = 2
CONNECTION_LOST = "scheduler-connection-lost"


def run(given: Mapping[str, Any], steps: Steps) -> Outcome:
    """Run the flow that `given["target"]` names, with what the user gave over what the flow declares.

    Never raises for what a run may meet: the outcome has the exit code and the reason.
    """
    try:
        with _signals() as ignore_signals:
            return _run(given, steps, ignore_signals)
    except (DaskFlowError, Interrupted) as error:
        log.debug("the run ended with an error", exc_info=True)
        return Outcome(exit_code=error.exit_code, reason=str(error))
    except Exception as error:
        log.exception("the runner itself failed")
        return Outcome(exit_code=ClusterLostError.exit_code, reason=f"the runner itself failed: {described(error)}")


def _run(given: Mapping[str, Any], steps: Steps, ignore_signals: Callable[[], None]) -> Outcome:
    with steps("flow loaded"):
        loaded, settings = load(given)
    events: queue.SimpleQueue[FlowResult | BaseException] = queue.SimpleQueue()
    with ExitStack() as stack:
        stack.enter_context(_declared(settings))
        client = _opened(stack, settings, steps, events)
        from dask_flow.beside import sent_along  # after the cluster is open: it imports distributed

        stack.enter_context(sent_along(client, loaded))
        if settings.scheduler_logs:
            stack.enter_context(_scheduler_logs(client))
        started = time.time()
        # After the flow's end, whatever it is, a signal must not make another of it.
        stack.callback(ignore_signals)
        stack.push(_note_reason)
        with steps("flow ran"):
            result = _supervise(loaded.flow, client, settings, events)
        ignore_signals()
        tasks = _tasks(client, started, result)
        outcome = _outcome(result, tasks, client)
        write_termination_message(outcome.reason)
    return outcome


def load(given: Mapping[str, Any]) -> tuple[targets.Loaded, RunSettings]:
    """Load the flow that `given["target"]` names, and settle how it runs. Raises InputError; starts nothing."""
    loaded = targets.load(given["target"], given.get("args") or ())
    declared = {"flow": name_of(loaded.flow), **declarations.settings_of(loaded.flow)}
    settings = resolve(given, declared)
    adapter_for(loaded.flow).check(loaded.flow, settings.params)
    return loaded, settings


@contextmanager
def _declared(settings: RunSettings) -> Iterator[None]:
    """Do what only a flow itself declares: variables, a working directory, functions before and after its run."""
    os.environ.update(settings.env)
    if settings.working_dir is not None:
        try:
            os.chdir(settings.working_dir)
        except OSError as error:
            raise InputError(f"working_dir={str(settings.working_dir)!r}: {error.strerror}") from error
    if settings.log_k8s_errors:
        logging.getLogger("dask_flow.kube").setLevel(logging.DEBUG)
    _called(settings.on_start, "on_start")
    try:
        yield
    finally:
        _called(settings.on_exit, "on_exit")


def _called(function: Callable[[], Any] | None, name: str) -> None:
    try:
        if function is not None:
            function()
    except Exception as error:
        log.error("%s failed:\n%s", name, user_traceback(error))  # noqa: TRY400 - only what the user wrote
        raise FlowError(f"the flow failed: {name}: {described(error)}") from error


@contextmanager
def _scheduler_logs(client: Client) -> Iterator[None]:
    """Log what the scheduler logs, at its end."""
    try:
        client.run_on_scheduler(_speak)
    except Exception as error:  # a static cluster may block this, by distributed.scheduler.blocked-handlers
        log.warning("the scheduler's log level stays as it is: %s", described(error))
    try:
        yield
    finally:
        for level, line in reversed(client.get_scheduler_logs()):
            log.info("scheduler: %s %s", level.lower(), line)


def _speak() -> None:
    logging.getLogger("distributed.scheduler").setLevel("INFO")


def _note_reason(kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
    """Leave the reason where Kubernetes reads it before the clean-up, which may take longer than this pod is given."""
    if error is not None:
        write_termination_message(str(error))


def _opened(
    stack: ExitStack, settings: RunSettings, steps: Steps, events: queue.SimpleQueue[FlowResult | BaseException]
) -> Client:
    """Open the cluster. Raises StartupError for whatever its start may meet."""
    try:
        client = stack.enter_context(cluster_mode(settings.cluster)(settings, steps, events.put))
        client.get_task_stream()  # from its first call on, the scheduler keeps a record of each task
    except DaskFlowError:
        raise
    except Exception as error:
        log.debug("the cluster could not start", exc_info=True)
        raise StartupError(f"the cluster could not start: {described(error)}") from error
    return client


def _tasks(client: Client, started: float, result: FlowResult) -> tuple[TaskGroup, ...]:
    """Return what the scheduler recorded of the tasks since `started`, in seconds since the epoch."""
    try:
        stream = client.get_task_stream(start=started)
        shown = [each for each in stream if not str(each["key"]).startswith(HIDDEN)]
        return group_tasks(shown, _names(client), result.items)
    except Exception as error:
        log.warning("the record of the tasks could not be had: %s", described(error))
        return ()


def _supervise(
    flow: Any, client: Client, settings: RunSettings, events: queue.SimpleQueue[FlowResult | BaseException]
) -> FlowResult:
    """Run the flow in a thread and wait for the first of: its end, the loss of the cluster, the timeout, a signal."""

    def work() -> None:
        try:
            events.put(adapter_for(flow).run(flow, client, settings.params))
        except BaseException as error:
            events.put(error)

    threading.Thread(target=contextvars.copy_context().run, args=(work,), name="flow", daemon=True).start()
    try:
        event = events.get(timeout=settings.timeout)
    except queue.Empty:
        raise FlowError(f"the flow did not finish within --timeout {settings.timeout:g} s") from None
    for error in event.errors.values() if isinstance(event, FlowResult) else [event]:
        if _is_lost(error, client):
            raise _why_lost(error, events)
    if isinstance(event, FlowResult):
        return event
    if isinstance(event, DaskFlowError):
        raise event
    log.error("the flow failed:\n%s", user_traceback(event))
    raise FlowError(f"the flow failed: {described(event)}{_what_killed(event, client)}") from event


def _is_lost(error: BaseException, client: Client) -> bool:
    """Tell a lost scheduler from a failure of the user's code: Dask cancels the client's futures then."""
    from asyncio import CancelledError as AsyncCancelledError
    from concurrent.futures import CancelledError

    from distributed.comm import CommClosedError

    lost = CommClosedError | CancelledError | AsyncCancelledError
    # A static cluster's scheduler may be back at once, and the client with it; the futures are lost all the same.
    return isinstance(error, lost) and (client.status != "running" or CONNECTION_LOST in str(error))


def _why_lost(error: BaseException, events: queue.SimpleQueue[FlowResult | BaseException]) -> BaseException:
    """Return what the cluster knows of its loss, if it says so at once, else what the client saw."""
    try:
        event = events.get(timeout=CLUSTERS_WORD_SECONDS)
    except queue.Empty:
        event = error
    if isinstance(event, DaskFlowError):
        return event
    return ClusterLostError(f"the connection to the Dask scheduler was lost while the flow ran: {error}")


def _names(client: Client) -> dict[str, str]:
    """Return the name of each worker by its address, of those that a temporary cluster had before too."""
    workers = client.scheduler_info(n_workers=-1)["workers"]
    names = {address: f"worker {info['name']}" for address, info in workers.items()}
    return names | getattr(client.cluster, "worker_names", {})


def _outcome(result: FlowResult, tasks: tuple[TaskGroup, ...], client: Client) -> Outcome:
    if not result.errors:
        return Outcome(exit_code=0, reason="the flow succeeded", results=result.results, tasks=tasks)
    for name, error in result.errors.items() if not result.logged else ():
        log.error("task %s failed:\n%s", name, user_traceback(error))
    name, error = next(iter(result.errors.items()))
    more = f" and {len(result.errors) - 1} more" if len(result.errors) > 1 else ""
    after = f"; not run because of it: {', '.join(result.skipped)}" if result.skipped else ""
    reason = f"the flow failed: task {name}{more}: {described(error)}{_what_killed(error, client)}{after}"
    return Outcome(exit_code=FlowError.exit_code, reason=reason, results=result.results, tasks=tasks)


def _what_killed(error: BaseException, client: Client) -> str:
    """Return what a temporary cluster knows of the end of the workers that a task killed."""
    from distributed import KilledWorker

    found = getattr(client.cluster, "last_problem", None)
    return f"; {found.text}" if found and isinstance(error, KilledWorker) else ""


@contextmanager
def _signals() -> Iterator[Callable[[], None]]:
    """Raise Interrupted for the first SIGTERM or SIGINT; later ones do not disturb the clean-up.

    Yields a function that has even the first one ignored from then on.
    """

    def ignore() -> None:
        for each in handled:
            signal.signal(each, signal.SIG_IGN)

    def interrupt(signum: int, _frame: FrameType | None) -> None:
        ignore()
        raise Interrupted(signum)

    handled = (signal.SIGTERM, signal.SIGINT)
    before = {each: signal.signal(each, interrupt) for each in handled}
    try:
        yield ignore
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
