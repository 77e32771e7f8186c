"""The kinds of cluster that a run can use, one small module each."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from contextlib import AbstractContextManager
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
    """A mode's function `cluster`: entered, a cluster has a worker; left, nothing that it made remains.

    Yields a client. In Kubernetes, raises StartupError if there is no worker within `settings.startup_timeout`.
    """

    def __call__(self, settings: RunSettings, history: History, on_lost: OnLost) -> AbstractContextManager[Client]:
        """Open the cluster."""


def cluster_mode(name: str) -> OpenCluster:
    """Return the function that opens a cluster of this mode, such as `pods`."""
    return cast("OpenCluster", importlib.import_module(f"dask_flow.clusters.{name}").cluster)
