"""The kinds of cluster that a run can use, one small module each."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Protocol, cast

from dask_flow.errors import DaskFlowError

if TYPE_CHECKING:
    from distributed import Client

    from dask_flow.history import History
    from dask_flow.settings import RunSettings

__all__ = ["OnLost", "OpenCluster", "cluster_mode"]

OnLost = Callable[[DaskFlowError], None]
"""Called, from any thread, when the cluster is lost while the flow runs."""


class OpenCluster(Protocol):
    """A mode's function `cluster`: it opens a cluster with a worker, and returns a client.

    It puts on `stack` what closes the cluster: afterwards nothing that it made remains, whatever the start met. In
    Kubernetes, raises StartupError if there is no worker within `settings.startup_timeout`.
    """

    def __call__(self, stack: ExitStack, settings: RunSettings, history: History, on_lost: OnLost) -> Client:
        """Open the cluster."""


def cluster_mode(name: str) -> OpenCluster:
    """Return the function that opens a cluster of this mode, such as `pods`."""
    return cast("OpenCluster", importlib.import_module(f"dask_flow.clusters.{name}").cluster)
