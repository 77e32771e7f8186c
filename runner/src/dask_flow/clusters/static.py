"""A cluster that is there already: connect, and never stop or delete anything."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from dask_flow.clusters import OnLost
from dask_flow.errors import StartupError

if TYPE_CHECKING:
    from distributed import Client

    from dask_flow.log import Steps
    from dask_flow.settings import RunSettings

__all__ = ["cluster"]

log = logging.getLogger(__name__)


@contextmanager
def cluster(settings: RunSettings, steps: Steps, on_lost: OnLost) -> Iterator[Client]:
    """Connect to `settings.address` and wait for `settings.min_workers` workers."""
    from distributed import Client

    timeout = settings.startup_timeout
    with steps(f"connected to {settings.address}"):
        try:
            client = Client(settings.address, timeout=timeout)
        except (OSError, ValueError) as error:
            raise StartupError(f"no Dask scheduler at {settings.address}: {error}") from error
    with client:
        with steps("workers there"):
            try:
                client.wait_for_workers(settings.min_workers, timeout=timeout)
            except TimeoutError as error:
                count = len(client.scheduler_info(n_workers=-1)["workers"])
                raise StartupError(
                    f"{settings.address} has {count} of {settings.min_workers} workers after {timeout:g} s; "
                    "start workers there, or lower --min-workers"
                ) from error
        log.info("dashboard: %s", client.dashboard_link)
        yield client
