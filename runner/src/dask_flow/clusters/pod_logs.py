"""Save the logs of an attempt's pods before they go: those that end while the run goes on, the others at its end."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

from dask_flow import interrupts
from dask_flow.kube import CONCURRENCY, Kube
from dask_flow.kube_refusals import ForbiddenError
from dask_flow.pod_status import container_status, has_ended

__all__ = ["PodLogs"]

log = logging.getLogger(__name__)

SAVE_SECONDS = 8


class PodLogs:
    """Each log is a file of its pod's name. Nothing here raises: a log that cannot be had is missing.

    A pod's log is asked for once it is told to end, as it may go before it has ended, and again when it has.
    """

    def __init__(self, kube: Kube, folder: Path) -> None:
        self._kube = kube
        self._folder = folder
        self._threads = ThreadPoolExecutor(CONCURRENCY, thread_name_prefix="pod-logs")
        self._saving: dict[tuple[str, int, bool], Future[None]] = {}
        self._pods: dict[str, Mapping[str, Any]] = {}
        self._refused = False

    def seen(self, event: str, pod: Mapping[str, Any]) -> None:
        """Save what may not be there for long: the log of a pod that ends, or that its next container replaces."""
        name, restarts = pod["metadata"]["name"], container_status(pod).get("restartCount", 0)
        if event == "DELETED":
            self._pods.pop(name, None)
            return
        self._pods[name] = pod
        if restarts:
            self._soon((name, restarts, True), pod, restarts)
        ended = has_ended(pod)
        if ended or "deletionTimestamp" in pod["metadata"]:
            self._soon((name, restarts, ended), pod)

    def save(self, name: str) -> None:
        """Save a pod's log as it is now."""
        if name in self._pods:
            self._save(self._pods[name])

    def save_all(self) -> None:
        """Save the logs of all pods that are there, some at a time; what takes too long is left out."""
        try:
            rest = [self._threads.submit(self._save, pod) for pod in list(self._pods.values())]
        except RuntimeError:  # it was done before
            return
        saving = [*rest, *self._saving.values()]
        interrupts.unless_hurried(lambda: wait(saving, SAVE_SECONDS))
        late = [each for each in saving if not each.done()]
        self._threads.shutdown(wait=False, cancel_futures=True)
        if late:
            log.warning("%d logs of pods are not in the report: they took more than %d s", len(late), SAVE_SECONDS)

    def _soon(self, what: tuple[str, int, bool], pod: Mapping[str, Any], previous: int = 0) -> None:
        try:
            if what not in self._saving:
                self._saving[what] = self._threads.submit(self._save, pod, previous)
        except RuntimeError:  # it is being closed
            return

    def _save(self, pod: Mapping[str, Any], previous: int = 0) -> None:
        name = pod["metadata"]["name"]
        try:
            text = self._kube.log(name, container_status(pod).get("name"), previous=bool(previous))
            path = self._folder / (f"{name}.{previous}.log" if previous else f"{name}.log")
            if text or not path.exists():
                path.write_bytes(text)
        except ForbiddenError as error:
            if not self._refused:
                log.warning("the logs of pods are not in the report: %s", error)
            self._refused = True
        except Exception as error:  # such as a container that never ran
            log.debug("no log of pod %s: %s", name, error)
