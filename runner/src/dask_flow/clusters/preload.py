"""What a static cluster's processes load as they start: `dask worker --preload dask_flow.clusters.preload`, and so on.

A temporary cluster's learn the same by plugins from its runner.
"""

from __future__ import annotations

from distributed import Nanny, Scheduler, Worker

from dask_flow.clusters.drain import drain_on_sigterm, forward_sigterm
from dask_flow.clusters.openssl_errors import keep_connections_apart

__all__ = ["dask_setup"]


def dask_setup(server: Scheduler | Worker | Nanny) -> None:
    """Have a worker hand over what it has when it is told to end; keep TLS connections apart in each process.

    Dask calls this, by this name, once the process has its event loop.
    """
    keep_connections_apart()
    if isinstance(server, Worker):
        drain_on_sigterm(server)
    elif isinstance(server, Nanny):
        forward_sigterm(server)
