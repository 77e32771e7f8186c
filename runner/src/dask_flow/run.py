"""One run from settings to outcome: load the flow, open the cluster, run the flow there, close the cluster."""

from __future__ import annotations

import contextvars
import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from dask_flow import declarations, interrupts, targets
from dask_flow.clusters import cluster_mode
from dask_flow.errors import (
    ClusterLostError,
    DaskFlowError,
    FlowError,
    InputError,
    Interrupted,
    StartupError,
    causes_of,
)
from dask_flow.flows import FlowResult, adapter_for, name_of
from dask_flow.history import History
from dask_flow.log import described, listed, user_traceback
from dask_flow.progress import logged_progress
from dask_flow.report import Outcome, announce, conclude, write_termination_message
from dask_flow.report.document import MOST_ERRORS
from dask_flow.report.seen import ask
from dask_flow.report.tasks import group_tasks, shown
from dask_flow.report.times import where_the_time_went
from dask_flow.report.workers import Worker, workers_of
from dask_flow.settings import RunSettings, resolve
from dask_flow.text import one_line

if TYPE_CHECKING:
    from distributed import Client

    from dask_flow.report.notify import Notifier
    from dask_flow.report.writing import RunReport

__all__ = ["load", "run"]

log = logging.getLogger(__name__)

CLUSTERS_WORD_SECONDS = 2
ASK_SECONDS = 30
# Of who is interrupted, or whose scheduler may be dead.
SHORT_SECONDS = 3
# What the termination message says while the runner cleans up, and so in the end if it is killed meanwhile.
CUT_OFF = "the runner was killed while it cleaned up"
CONNECTION_LOST = "scheduler-connection-lost"


def run(given: Mapping[str, Any], notifier: Notifier) -> Outcome:
    """Run the flow that `given["target"]` names, with what the user gave over what the flow declares.

    Says in the log, the container's termination message, the notification and, if one is wanted, the report what the
    run came to. Never raises for what a run may meet: the outcome has the exit code and the reason.
    """
    history, report = History(), None
    with interrupts.handled():
        try:
            notifier.start_check()
            if given.get("report"):
                from dask_flow.report.writing import RunReport

                report = RunReport.to(given["report"], history)
            outcome = _run(given, history, report, notifier)
        except (DaskFlowError, Interrupted) as error:
            log.debug("the run ended with an error", exc_info=True)
            outcome = _outcome_of(error)
        except Exception as error:
            log.exception("the runner itself failed")
            outcome = _outcome_of(error)
        _begin_cleanup(outcome)
        _conclude(outcome, history, report, notifier)
        write_termination_message(outcome.reason)
    return outcome


def _run(given: Mapping[str, Any], history: History, report: RunReport | None, notifier: Notifier) -> Outcome:
    events: queue.SimpleQueue[FlowResult | BaseException] = queue.SimpleQueue()
    with ExitStack() as stack:
        try:
            with history("flow loaded"):
                loaded, settings = load(given)
            notifier.check()
            history.settings, history.flow = settings, loaded.flow
            stack.enter_context(_declared(settings))
            client = _opened(stack, settings, history, events)
            from dask_flow.beside import sent_along  # after the cluster is open: it imports distributed
            from dask_flow.out_of_memory import watched_memory

            stack.enter_context(sent_along(client, loaded))
            if settings.scheduler_logs:
                stack.enter_context(_scheduler_logs(client))
            stack.enter_context(_stock_taken(client, history, report))
            stack.enter_context(watched_memory(client, settings.startup_timeout, events.put))
            with history("flow ran"), logged_progress(client, settings.progress):
                result = history.result = _supervise(client, history, settings, events)
            outcome = _outcome(result, client, history)
        except BaseException as error:
            _begin_cleanup(_outcome_of(error))
            raise
        _begin_cleanup(outcome)
    return outcome


def _outcome_of(error: BaseException) -> Outcome:
    """Return the outcome of a run that ended with an error."""
    if isinstance(error, DaskFlowError | Interrupted):
        return Outcome(error.exit_code, str(error))
    return Outcome(ClusterLostError.exit_code, f"the runner itself failed: {described(error)}")


def _begin_cleanup(outcome: Outcome) -> None:
    """Leave the reason where Kubernetes reads it before the clean-up, which may take longer than this pod is given.

    From now on, no signal makes another end of this one.
    """
    interrupts.begin_cleanup()
    write_termination_message(outcome.reason if outcome.exit_code else f"{outcome.reason}; {CUT_OFF}")


@contextmanager
def _stock_taken(client: Client, history: History, report: RunReport | None) -> Iterator[None]:
    """Ask at the end what will be gone with the cluster. Who is interrupted may be killed soon, so reports at once."""
    started, error = time.time(), None

    def ask_and_report() -> None:
        interrupted = isinstance(error, Interrupted)
        is_short = isinstance(error, Interrupted | ClusterLostError)
        history.seen = ask(client, started, SHORT_SECONDS if is_short else ASK_SECONDS)
        if report:
            report.take(client, interrupted=interrupted)
        if report and error and interrupted:
            report.write(*_summed_up(_outcome_of(error), history), interrupted=True)

    try:
        yield
    except BaseException as ended:
        error = ended
        raise
    finally:
        interrupts.unless_hurried(ask_and_report)


def _conclude(outcome: Outcome, history: History, report: RunReport | None, notifier: Notifier) -> None:
    outcome, workers, spent = _summed_up(outcome, history)
    announce(outcome, spent)
    page = report.write(outcome, workers, spent) if report else None
    if report:
        report.close()
    notifier.tell(outcome, history.settings.flow if history.settings else "", page)
    conclude(outcome)


def _summed_up(outcome: Outcome, history: History) -> tuple[Outcome, list[Worker], dict[str, float]]:
    """Return the outcome with the tasks, the workers, and what took the time. Nothing here changes the run's end."""
    counts = history.result.counts if history.result else {}
    try:
        outcome = replace(outcome, tasks=group_tasks(shown(history.seen.stream), history.seen.names, counts))
        workers = workers_of(history)
        return outcome, workers, where_the_time_went(history, outcome.tasks, workers, time.time())
    except Exception as error:
        log.debug("the run could not be summed up", exc_info=True)
        log.warning("the run could not be summed up: %s", described(error))
        return outcome, [], {}


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
    except BaseException:  # says why the run ended, whatever on_exit comes to
        with suppress(FlowError):
            _called(settings.on_exit, "on_exit")
        raise
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
    from dask_flow.clusters.dask_logs import scheduler_log

    try:
        client.run_on_scheduler(_speak)
    except Exception as error:  # a static cluster may block this, by distributed.scheduler.blocked-handlers
        log.warning("the scheduler's log level stays as it is: %s", described(error))
    try:
        yield
    finally:
        for level, line in scheduler_log(client):
            log.info("scheduler: %s %s", level.lower(), line)


def _speak() -> None:
    logging.getLogger("distributed.scheduler").setLevel("INFO")


def _opened(
    stack: ExitStack, settings: RunSettings, history: History, events: queue.SimpleQueue[FlowResult | BaseException]
) -> Client:
    """Open the cluster. Raises StartupError for whatever its start may meet."""
    try:
        client = cluster_mode(settings.cluster)(stack, settings, history, events.put)
        client.get_task_stream(start=0, stop=0)  # from its first call on, the scheduler keeps a record of each task
    except DaskFlowError:
        raise
    except Exception as error:
        log.debug("the cluster could not start", exc_info=True)
        raise StartupError(f"the cluster could not start: {_clusters_word(events) or described(error)}") from error
    return client


def _supervise(
    client: Client, history: History, settings: RunSettings, events: queue.SimpleQueue[FlowResult | BaseException]
) -> FlowResult:
    """Run the flow in a thread and wait for the first of: its end, the loss of the cluster, the timeout, a signal."""
    flow, scheduler = history.flow, _scheduler_of(client)

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
    if isinstance(event, DaskFlowError):
        raise event
    loss = _loss([*event.errors.values()] if isinstance(event, FlowResult) else [event], client, scheduler)
    if loss:
        raise _why_lost(loss, events)
    if isinstance(event, FlowResult):
        return event
    history.errors[settings.flow] = user_traceback(event)
    log.error("the flow failed:\n%s", history.errors[settings.flow])
    raise FlowError(f"the flow failed: {described(event)}{_what_killed(event, client)}") from event


def _scheduler_of(client: Client) -> str | None:
    """Return what the scheduler of a client calls itself; one that is started again has another name.

    None if it does not answer soon.
    """
    try:
        identity = client.sync(client.scheduler.identity, n_workers=0, callback_timeout=SHORT_SECONDS)
    except Exception as error:
        log.debug("the scheduler does not say who it is: %s", described(error))
        return None
    return str(identity["id"])


def _loss(errors: Sequence[BaseException], client: Client, scheduler: str | None) -> BaseException | None:
    """Return the error that is of a lost scheduler, if one is.

    A static cluster's may be back at once, and the client with it; what the run had there is lost all the same.
    """
    if errors and scheduler and client.status == "running" and _scheduler_of(client) not in {scheduler, None}:
        return errors[0]
    return next((error for error in errors if _is_lost(error, client)), None)


def _is_lost(error: BaseException, client: Client) -> bool:
    """Tell a lost scheduler from a failure of the user's code: Dask cancels the client's futures then."""
    from asyncio import CancelledError as AsyncCancelledError
    from concurrent.futures import CancelledError

    from distributed.client import ClosedClientError
    from distributed.comm import CommClosedError

    lost = CommClosedError | CancelledError | AsyncCancelledError | ClosedClientError
    for cause in causes_of(error):
        if isinstance(cause, lost) and (client.status != "running" or CONNECTION_LOST in str(cause)):
            return True
        if isinstance(cause, OSError) and client.status != "running" and client.scheduler.address in str(cause):
            return True
    return False


def _why_lost(error: BaseException, events: queue.SimpleQueue[FlowResult | BaseException]) -> BaseException:
    """Return what the cluster knows of its loss, if it says so at once, else what the client saw."""
    return _clusters_word(events) or ClusterLostError(
        f"the connection to the Dask scheduler was lost while the flow ran: {one_line(error)}"
    )


def _clusters_word(events: queue.SimpleQueue[FlowResult | BaseException]) -> DaskFlowError | None:
    """Return what the cluster says of its loss; None if it says nothing for a while."""
    try:
        event = events.get(timeout=CLUSTERS_WORD_SECONDS)
    except queue.Empty:
        return None
    return event if isinstance(event, DaskFlowError) else None


def _outcome(result: FlowResult, client: Client, history: History) -> Outcome:
    if not result.errors:
        return Outcome(exit_code=0, reason="the flow succeeded", results=result.results)
    history.errors |= {name: user_traceback(error) for name, error in islice(result.errors.items(), MOST_ERRORS)}
    for name, text in history.errors.items() if not result.logged else ():
        log.error("task %s failed:\n%s", name, text)
    name, error = next(iter(result.errors.items()))
    more = f" and {len(result.errors) - 1} more" if len(result.errors) > 1 else ""
    after = f"; not run because of it: {listed(result.skipped)}" if result.skipped else ""
    reason = f"the flow failed: task {name}{more}: {described(error)}{_what_killed(error, client)}{after}"
    return Outcome(exit_code=FlowError.exit_code, reason=reason, results=result.results)


def _what_killed(error: BaseException, client: Client) -> str:
    """Return what is known of the end of the workers that a task killed; a nanny's pod lives on, and says nothing."""
    from distributed import KilledWorker

    from dask_flow.out_of_memory import killed_for_memory

    if not isinstance(error, KilledWorker):
        return ""
    known = getattr(client.cluster, "last_problem", None)
    if known and known.cause == "OOMKilled":
        return f"; {known.text}"
    text = killed_for_memory(error.last_worker, client)
    known = getattr(client.cluster, "last_problem", None)  # Kubernetes may have said it meanwhile
    text = text or (known.text if known else "")
    return f"; {text}" if text else ""
