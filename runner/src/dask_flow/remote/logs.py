"""The logs of a run: its runners', one for each attempt, and its workers' while they are there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dask_flow.errors import InputError
from dask_flow.log import listed
from dask_flow.remote.runs import RUN_LABEL, has_started, runners_of

if TYPE_CHECKING:
    from dask_flow.user_kube import UserKube

__all__ = ["attempts_of", "worker_of"]


def attempts_of(kube: UserKube, run: str) -> list[str]:
    """Return the pods of the attempts that have a log, the first one first. Raises InputError if there is none yet."""
    pods = [pod["metadata"]["name"] for pod in runners_of(kube, run) if has_started(pod)]
    if not pods:
        raise InputError(f"run {run} has no log: no runner has started, or its pod is deleted; see dask-flow list")
    return pods


def worker_of(kube: UserKube, run: str, worker: str) -> str:
    """Return the name of a worker's pod: its own, the end of it, or a worker's name, as in the runner's log.

    Raises InputError with those that there are.
    """
    pods = [pod["metadata"]["name"] for pod in kube.list_all("pods", labelSelector=f"{RUN_LABEL}={run}")]
    found = [name for name in pods if name == worker or worker.startswith(f"{name}-")]
    found = found or [name for name in pods if name.endswith(f"-{worker}")]
    if len(found) == 1:
        return str(found[0])
    if not pods:
        raise InputError(f"run {run} has no worker pods now: they are deleted at its end, and their logs with them")
    raise InputError(
        f"--worker {worker} is {'several' if found else 'none'} of this run's pods: {listed(found or pods, 20)}"
    )
