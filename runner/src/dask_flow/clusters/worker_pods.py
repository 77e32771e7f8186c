"""The worker pods of one run: made, watched, deleted. Knows Kubernetes, not Dask."""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Callable

from dask_flow.errors import DaskFlowError
from dask_flow.kube import Kube
from dask_flow.log import listed
from dask_flow.manifests import Manifest, RunIdentity
from dask_flow.pod_status import Problem, has_ended, problem

__all__ = ["WorkerPods"]

log = logging.getLogger(__name__)

CLEAN_UP_GRACE_SECONDS = 1
CLEAN_UP_TIMEOUT_SECONDS = 20


class WorkerPods:
    """Creates and deletes worker pods by name, and follows them with one watch."""

    def __init__(
        self, kube: Kube, identity: RunIdentity, make_pod: Callable[[str], Manifest], processes: int = 1
    ) -> None:
        self._kube = kube
        self._identity = identity
        self._make_pod = make_pod
        self.processes = processes
        """How many workers each pod has."""
        self.on_end: Callable[[str, Problem], None]
        """Called, from any thread, when a pod cannot run or is gone."""
        self._numbers = itertools.count()
        self._requested: set[str] = set()
        self._problems: dict[str, Problem] = {}
        self._stop_watch = threading.Event()
        self.closing = False

    def new_name(self) -> str:
        """Return a pod's name that no pod of this run has had."""
        return f"{self._identity.worker_prefix}-{next(self._numbers)}"

    def create(self, *names: str) -> None:
        """Create those pods that were not asked for yet."""
        new = [name for name in names if name not in self._requested]
        self._requested.update(new)
        if new and not self.closing:
            log.info("worker pod%s requested: %s", "s" if len(new) > 1 else "", listed(new))
            self._kube.create_pods([self._make_pod(name) for name in new])

    def delete(self, name: str) -> None:
        """Delete one pod, unless all are being deleted."""
        if not self.closing:
            self._kube.delete_pod(name)

    def delete_leftovers(self) -> None:
        """Delete what earlier attempts of this run left."""
        self._kube.delete_pods(self._identity.leftovers_selector, CLEAN_UP_GRACE_SECONDS)

    def follow(self) -> None:
        """Watch the pods in a thread of its own, from which `on_end` is called."""
        threading.Thread(target=self._follow, name="pod-watch", daemon=True).start()

    def _follow(self) -> None:
        for event, pod in self._kube.watch_pods(self._identity.selector, self._stop_watch):
            name = pod["metadata"]["name"]
            if self.closing:
                return
            found = problem(pod)
            if event == "DELETED" and not has_ended(pod):
                found = Problem(f"pod {name} was deleted")
            if found is None:
                self._problems.pop(name, None)
            else:
                self._problems[name] = found
                if found.hopeless:
                    self.on_end(name, found)

    def problems(self) -> list[str]:
        """Return what keeps pods from running now, each in a sentence."""
        return sorted({found.text for found in list(self._problems.values())})

    def delete_all(self) -> None:
        """Ask for the deletion of all pods of this attempt; none is made any more. A failure is logged, not raised."""
        self.closing = True
        self._stop_watch.set()
        try:
            self._kube.delete_pods(self._identity.selector, CLEAN_UP_GRACE_SECONDS)
        except DaskFlowError as error:
            log.warning("worker pods could not be deleted; they go with the runner's pod: %s", error)

    def wait_until_gone(self) -> None:
        """Delete all pods, those too that were being made at the first deletion, and wait until there are none."""
        self.delete_all()
        try:
            left = self._kube.wait_until_deleted(self._identity.selector, CLEAN_UP_TIMEOUT_SECONDS)
        except DaskFlowError as error:
            log.warning("cannot tell whether the worker pods are gone: %s", error)
        else:
            if left:
                log.warning("still being deleted: %s", listed(sorted(left)))
