"""Ask Dask's scheduler, at the flow's end, what it knows of the tasks and the workers."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from dask_flow.history import WORKER_BEGAN, Seen
from dask_flow.log import described
from dask_flow.text import LONGEST_NAME, one_line

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["ask"]

log = logging.getLogger(__name__)


def ask(client: Client, started: float, timeout_seconds: float) -> Seen:
    """Return what is known since `started`; nothing, and a line in the log, if the scheduler does not answer."""
    if client.status != "running":
        return Seen()
    try:
        seen: Seen = client.sync(_ask, client, started, callback_timeout=timeout_seconds)
    except Exception as error:
        log.warning("the record of the tasks could not be had: %s", described(error))
        return Seen()
    return seen


async def _ask(client: Client, started: float) -> Seen:
    import asyncio  # 30 ms that the request for worker pods would wait for

    scheduler: Any = client.scheduler
    stream, identity, events, began = await asyncio.gather(
        scheduler.get_task_stream(start=started),
        scheduler.identity(n_workers=-1),
        scheduler.events(topic="all"),
        scheduler.events(topic=WORKER_BEGAN),
    )
    workers = identity["workers"]
    names = {address: one_line(f"worker {info['name']}", LONGEST_NAME) for address, info in workers.items()}
    # A temporary cluster's are pods, of which it knows those that are gone too.
    names |= getattr(client.cluster, "worker_names", {})
    return Seen(stream, workers, names, events, {event["worker"]: event["began"] for _, event in began})
