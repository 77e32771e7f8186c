"""Dask's own performance report of what a client's cluster did."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from dask_flow.log import described

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["page_of", "saved"]

log = logging.getLogger(__name__)

SECONDS = 60


def page_of(client: Client, started: float, timeout_seconds: float = SECONDS) -> str | None:
    """Return the page, which needs no network, of what was done since `started`; None if it cannot be had.

    The scheduler makes it, and needs Bokeh for that.
    """
    if client.status != "running":
        return None
    try:
        page: str = client.sync(
            client.scheduler.performance_report,
            start=started,
            last_count=0,
            mode="inline",
            callback_timeout=timeout_seconds,
        )
    except ImportError as error:
        log.warning("there is no performance report of Dask's: the scheduler's image has no Bokeh (%s)", error)
        return None
    except Exception as error:
        log.warning("there is no performance report of Dask's: %s", described(error))
        return None
    return page


@contextmanager
def saved(client: Client, path: str) -> Iterator[None]:
    """Write the page of what runs inside to a file, or to a URL that fsspec opens."""
    import fsspec  # type: ignore[import-untyped]

    started = time.time()
    client.get_task_stream(start=0, stop=0)  # from its first call on, the scheduler keeps a record of each task
    try:
        yield
    finally:
        page = page_of(client, started)
        if page is not None:
            with fsspec.open(path, "w") as file:
                file.write(page)
