"""End a run: delete its Job, and wait until all of it is gone."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from dask_flow.errors import StartupError
from dask_flow.log import listed
from dask_flow.remote.releases import JOBS
from dask_flow.remote.runs import JOB_LABEL, RUN_LABEL

if TYPE_CHECKING:
    from dask_flow.user_kube import UserKube

__all__ = ["cancel", "wait_until_gone"]

LOOK_SECONDS = 0.5
GONE_SECONDS = 120


def cancel(kube: UserKube, run: str) -> None:
    """Ask Kubernetes to delete the run's Job and all that belongs to it. The runner cleans up as on any SIGTERM."""
    kube.delete(JOBS, run, owned_first=True)


def wait_until_gone(kube: UserKube, run: str) -> None:
    """Wait until no pod of the run is left. Raises StartupError if that takes too long."""
    until = time.monotonic() + GONE_SECONDS
    left = [""]
    while left and time.monotonic() < until:
        left = [
            pod["metadata"]["name"]
            for label in (JOB_LABEL, RUN_LABEL)
            for pod in kube.list_all("pods", labelSelector=f"{label}={run}")
        ]
        if left:
            time.sleep(LOOK_SECONDS)
    if left:
        raise StartupError(f"still being deleted after {GONE_SECONDS} s: {listed(left)}; kubectl describe says why")
