"""What a static cluster's processes load as they start: `dask worker --preload dask_flow.clusters.preload`, and so on.

A temporary cluster's learn the same by plugins from its runner.
"""

from __future__ import annotations

from distributed import Nanny, Scheduler, Worker
from distributed.http.utils import RequestHandler

from dask_flow.clusters.drain import drain_on_sigterm, forward_sigterm, has_joined, warn_once
from dask_flow.clusters.memory import take_whole_memory, watch_for_oom_kills
from dask_flow.clusters.openssl_errors import keep_connections_apart
from dask_flow.sendable import send_errors_safely

__all__ = ["dask_setup"]


class Ready(RequestHandler):  # type: ignore[misc]
    """Answers whether the worker has joined its scheduler, which /health does not: it is there before."""

    def get(self) -> None:
        """Answer with status 200 or 503."""
        self.set_status(200 if has_joined(self.server) else 503)


def dask_setup(server: Scheduler | Worker | Nanny) -> None:
    """Have a worker say at /ready whether it has joined, hand over what it has when told to end, and use all memory.

    Dask calls this, by this name, once the process has its event loop.
    """
    keep_connections_apart()
    if isinstance(server, Worker):
        send_errors_safely()
        drain_on_sigterm(server)
        take_whole_memory(server)
        server.http_application.add_handlers(".*", [("/ready", Ready, {"dask_server": server})])
    elif isinstance(server, Nanny):
        forward_sigterm(server)
        take_whole_memory(server)
        watch_for_oom_kills(server)
    else:
        warn_once()
