"""Prefect 3 without a server to set up: its own, in the runner, and tasks on workers that need none."""

# mypy: disable-error-code="import-not-found"
from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

from dask_flow.errors import StartupError
from dask_flow.log import described

__all__ = ["own_server", "without_api"]

log = logging.getLogger(__name__)

START_SECONDS = 120
"""Prefect's own default of 20 is too short for a runner with a fraction of a core."""


@contextmanager
def own_server() -> Iterator[None]:
    """Run Prefect's own server beside the flow, for the runner alone: it has no authentication.

    Raises StartupError if it does not start.
    """
    from prefect import settings
    from prefect.server.api.server import SubprocessASGIServer

    started = time.monotonic()
    names = ("LOGGING_TO_API_ENABLED", "SERVER_ANALYTICS_ENABLED", "CLIENT_SERVER_VERSION_CHECK_ENABLED")
    quiet = {getattr(settings, f"PREFECT_{name}"): False for name in names}
    server = SubprocessASGIServer()
    loggers = [logging.getLogger(f"prefect.{name}") for name in ("engine", "flow_runs")]
    for each in loggers:
        each.addFilter(_no_address)
    try:
        with settings.temporary_settings(quiet):
            _start(server)
        log.info("Prefect's server started (%.2f s)", time.monotonic() - started)
        # These travel to the workers with each task.
        with settings.temporary_settings({**quiet, settings.PREFECT_API_URL: server.api_url}), without_api():
            yield
    finally:
        for each in loggers:
            each.removeFilter(_no_address)
        server.stop()


def _start(server: Any) -> None:
    try:
        server.start(START_SECONDS)
    except Exception as error:
        raise StartupError(f"Prefect's server could not start: {described(error)}") from error


def _no_address(record: logging.LogRecord) -> bool:
    """Leave out where to view the run: that is a page of this server, which ends with the run."""
    return getattr(record, "send_to_api", True) is not False


@contextmanager
def without_api() -> Iterator[None]:
    """Have tasks ask nothing of the API, which workers do not reach: send no events, and know no limits of tags."""
    from contextlib import asynccontextmanager, contextmanager

    from prefect import task_engine
    from prefect.events.clients import NullEventsClient
    from prefect.events.worker import EventsWorker

    @contextmanager
    def unlimited(*args: Any, **options: Any) -> Iterator[None]:
        yield

    @asynccontextmanager
    async def unlimited_too(*args: Any, **options: Any) -> AsyncIterator[None]:
        yield

    names = ("_concurrency", "_aconcurrency")
    before = [getattr(task_engine, name) for name in names]
    EventsWorker.set_client_override(NullEventsClient)
    for name, function in zip(names, (unlimited, unlimited_too), strict=True):
        setattr(task_engine, name, function)
    try:
        yield
    finally:
        EventsWorker.set_client_override(None)
        for name, function in zip(names, before, strict=True):
            setattr(task_engine, name, function)
