"""Run a Prefect 3 flow, as it is, with its own engine and prefect-dask's task runner on a client's cluster."""

from __future__ import annotations

import asyncio
import importlib.util
import inspect
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from dask_flow.errors import InputError, StartupError
from dask_flow.flows import FlowResult, short
from dask_flow.flows.given import check_names
from dask_flow.log import described

if TYPE_CHECKING:
    from distributed import Client

    from dask_flow.flows.worker_logs import LoggedFailures

__all__ = ["check", "run"]

log = logging.getLogger(__name__)

VERSION = 3


def check(flow: Any, params: Mapping[str, Any]) -> None:
    """Raise InputError for what cannot run here, and for parameters that it does not have or lacks, or of wrong types."""
    import prefect

    if int(prefect.__version__.partition(".")[0]) != VERSION:
        raise InputError(
            f"{flow.name} is a flow of Prefect {prefect.__version__}; Prefect 3 and 1.4.1 run here: install prefect>=3"
        )
    if importlib.util.find_spec("prefect_dask") is None:
        raise InputError(
            f"{flow.name} is a Prefect 3 flow, which needs the package prefect-dask: pip install 'dask-flow[prefect]', "
            "in the image too"
        )
    if flow.isgenerator:
        raise InputError(f"the flow {flow.name} is a generator; have it return its result, not yield it")
    _converted(flow, params)


def run(flow: Any, client: Client, params: Mapping[str, Any]) -> FlowResult:
    """Run the flow and wait for it: with the API of PREFECT_API_URL, else with a server of this run alone."""
    from prefect.settings import PREFECT_API_URL
    from prefect_dask import DaskTaskRunner

    from dask_flow.flows.default_client import as_default
    from dask_flow.flows.worker_logs import worker_logs

    runner = type(flow.task_runner).__name__
    if runner != "ThreadPoolTaskRunner":  # the default
        log.info("the flow's %s is not used: its tasks run on the run's cluster", runner)
    ours = DaskTaskRunner(address=client.scheduler.address, client_kwargs={"security": client.security})
    own_api = bool(PREFECT_API_URL.value())
    with (
        as_default(client),
        worker_logs(client, "prefect.main", None if own_api else _need_no_api) as failures,
        nullcontext() if own_api else _own_server(),
    ):
        state = flow.with_options(task_runner=ours)(**_converted(flow, params), return_state=True)
        if inspect.iscoroutine(state):
            state = asyncio.run(state)
        result = _result(flow, state)
    return result if isinstance(result, FlowResult) else _failed(flow, result, failures)


def _converted(flow: Any, params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters as the annotations of the flow's function want them. Raises InputError."""
    from dask_flow.flows.annotations import annotations_of, converted

    parameters = inspect.signature(flow.fn).parameters.values()
    named = [each for each in parameters if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)]
    takes_any = any(each.kind is each.VAR_KEYWORD for each in parameters)
    known = [each.name for each in named] + (list(params) if takes_any else [])
    check_names(flow.name, params, known, [each.name for each in named if each.default is each.empty])
    if not flow.should_validate_parameters:
        return dict(params)
    annotations, texts = annotations_of(flow.fn), getattr(params, "texts", {})
    return {
        name: converted(flow.fn.__name__, name, annotations[name], value, texts.get(name))
        if name in annotations
        else value
        for name, value in params.items()
    }


@contextmanager
def _own_server() -> Iterator[None]:
    """Run Prefect's own server beside the flow, for the runner only: it has no authentication."""
    from prefect import settings
    from prefect.events.clients import NullEventsClient
    from prefect.events.worker import EventsWorker
    from prefect.server.api.server import SubprocessASGIServer

    started = time.monotonic()
    names = ("LOGGING_TO_API_ENABLED", "SERVER_ANALYTICS_ENABLED", "CLIENT_SERVER_VERSION_CHECK_ENABLED")
    quiet = {getattr(settings, f"PREFECT_{name}"): False for name in names}
    with settings.temporary_settings(quiet):
        server = SubprocessASGIServer()
        try:
            server.start()
        except Exception as error:
            server.stop()
            raise StartupError(f"Prefect's server could not start: {described(error)}") from error
    log.info("Prefect's server started (%.2f s)", time.monotonic() - started)
    EventsWorker.set_client_override(NullEventsClient)
    try:
        # These travel to the workers with each task.
        with settings.temporary_settings({**quiet, settings.PREFECT_API_URL: server.api_url}):
            yield
    finally:
        EventsWorker.set_client_override(None)
        server.stop()


def _need_no_api() -> None:
    """Have a worker ask nothing of the API, which it could not reach: no events, no limits on tags, as there are none."""
    from contextlib import asynccontextmanager, contextmanager

    from prefect import task_engine
    from prefect.events.clients import NullEventsClient
    from prefect.events.worker import EventsWorker

    @contextmanager
    def unlimited(*args: Any, **options: Any) -> Iterator[None]:
        yield

    @asynccontextmanager
    async def unlimited_too(*args: Any, **options: Any) -> Any:
        yield

    EventsWorker.set_client_override(NullEventsClient)
    task_engine._concurrency, task_engine._aconcurrency = unlimited, unlimited_too
