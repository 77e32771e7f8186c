"""The Kubernetes objects of one attempt of a run that the Dask operator makes from a DaskCluster. Knows no Dask."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from dask_flow.clusters.attempt import CLEAN_UP_GRACE_SECONDS, CLEAN_UP_TIMEOUT_SECONDS, Attempt
from dask_flow.clusters.deadline import Deadline
from dask_flow.dask_cluster import address_of, dask_autoscaler, dask_cluster, ignored
from dask_flow.errors import StartupError
from dask_flow.kube import ExistsError, Kube
from dask_flow.kube_refusals import UnknownKindError
from dask_flow.log import listed
from dask_flow.manifests import DASK_AUTOSCALERS, DASK_CLUSTERS, DASK_WORKER_GROUPS, RunIdentity
from dask_flow.pod_status import Problem, ends, refusal
from dask_flow.settings import RunSettings
from dask_flow.specs import Templates

__all__ = ["NOT_INSTALLED", "OperatorObjects"]

log = logging.getLogger(__name__)

TAKEN_UP_SECONDS = 8
NAMESAKE_SECONDS = 0.5
OPERATED = (DASK_CLUSTERS, DASK_WORKER_GROUPS)
# Kubernetes cuts the prefix of generated names to what leaves room for five more characters.
GENERATED_PREFIX_LIMIT = 58
NOT_NORMAL = "type!=Normal"
INSTALL = (
    "helm install --repo https://helm.dask.org --create-namespace -n dask-operator --generate-name "
    "dask-kubernetes-operator, or this chart with operator.enabled=true; --cluster pods needs no operator"
)
NOT_INSTALLED = f"the Dask operator is not installed: this Kubernetes has no DaskCluster. Install it: {INSTALL}"


class OperatorObjects(Attempt):
    """A DaskCluster, and a DaskAutoscaler if it is to scale; the pods are the operator's."""

    def __init__(self, kube: Kube, identity: RunIdentity, settings: RunSettings, templates: Templates) -> None:
        super().__init__(kube, identity, settings, templates)
        self.name = identity.cluster_name
        self.scheduler_log = f"deployment {self.scheduler_name}"
        self.scheduler_address = address_of(identity)
        self._taken_up = threading.Event()
        self._ends: dict[str, int] = {}
        self._workers: dict[str, str] = {}

    def delete_leftovers(self) -> None:
        """Delete what earlier attempts of this run left, and wait until their pods take no room any more."""
        selector = self._identity.leftovers_selector
        left = [each["metadata"]["name"] for kind in self._kinds for each in self._delete(kind, selector)]
        if left:
            log.info("deleting clusters of an earlier attempt: %s", listed(left))
            self._kube.wait_until_deleted(selector, CLEAN_UP_TIMEOUT_SECONDS)

    def wait_for_namesake(self, deadline: Deadline) -> None:
        """Have the cluster of an earlier pod of this name be gone: the operator would take what is left for ours.

        Raises StartupError if it does not go.
        """
        if not self._namesakes():
            return
        log.info("waiting for the end of DaskCluster %s of an earlier run", self.name)
        for kind in self._kinds:
            self._delete(kind, self._identity.selector)
        while self._namesakes():
            if not deadline.left:
                raise StartupError(
                    f"DaskCluster {self.name} of an earlier run is still being deleted after {deadline.seconds:g} s; "
                    "look whether the Dask operator runs"
                )
            time.sleep(NAMESAKE_SECONDS)

    def _namesakes(self) -> list[dict[str, Any]]:
        selector = self._identity.selector
        with suppress(UnknownKindError):
            return [each for kind in OPERATED for each in self._kube.list_all(kind, labelSelector=selector)]
        return []

    def create_cluster(self) -> None:
        """Ask for the cluster. Raises StartupError if Kubernetes knows no such thing, InputError for a bad spec."""
        body = dask_cluster(self._templates, self._settings, self._identity)
        for warning in ignored(self._templates):
            log.warning("%s", warning)
        try:
            # The operator's definition may know fewer fields of a pod than Kubernetes: they must not be lost silently.
            with suppress(ExistsError):  # a repeated request: the name is this attempt's
                self._kube.create(DASK_CLUSTERS, body, strict=True)
        except UnknownKindError as error:
            raise StartupError(NOT_INSTALLED) from error
        log.info("DaskCluster requested: %s", self.name)

    def create_autoscaler(self) -> None:
        """Have the operator scale the cluster from now on."""
        with suppress(ExistsError):
            self._kube.create(DASK_AUTOSCALERS, dask_autoscaler(self._settings, self._identity))

    def wait_until_taken_up(self, deadline: Deadline) -> None:
        """Wait until there is a sign of the operator. Raises StartupError if nobody takes the DaskCluster up."""
        seconds = min(TAKEN_UP_SECONDS, deadline.seconds)
        if self._taken_up.wait(min(seconds, deadline.left)):
            return
        if not self._kube.get(DASK_CLUSTERS, self.name).get("status", {}).get("phase"):
            raise StartupError(
                f"no Dask operator took up DaskCluster {self.name} within {seconds:g} s: it does not run, or does not "
                f"watch namespace {self._identity.namespace}. Look for it, or install it: {INSTALL}"
            )

    def worker_of(self, pod: str) -> str:
        """Return the name of a pod's worker, as the operator gave it."""
        return self._workers.get(pod, pod)

    def _seen(self, event: str, pod: Mapping[str, Any]) -> None:
        self._taken_up.set()
        name = pod["metadata"]["name"]
        self._workers[name] = _worker_name(pod)
        if not self._is_scheduler(name):
            self._history.pod(name).worker = self._workers[name]
        count, last = ends(pod)
        if last and count > self._ends.get(name, 0):
            self._ends[name] = count
            self._report(name, last)
        super()._seen(event, pod)

    def _report(self, name: str, found: Problem) -> None:
        self._taken_up.set()
        # Of a pod that is started again and again, much is heard many times.
        if self._problems.get(name) != found:
            super()._report(name, found)

    def _warnings(self) -> Iterator[dict[str, Any]]:
        return self._kube.watch_warnings(self._stop_watch, NOT_NORMAL)

    def _warning_problem(self, event: Mapping[str, Any]) -> Problem | None:
        return super()._warning_problem(event) or refusal(event)

    def _is_scheduler(self, name: str) -> bool:
        return name.startswith(f"{self.scheduler_name}-"[:GENERATED_PREFIX_LIMIT])

    def _is_ours(self, name: str) -> bool:
        return name == self.name or name.startswith(f"{self.name}-")

    def _delete(self, kind: str, selector: str) -> list[dict[str, Any]]:
        # At once, even if the operator is gone, which would have to let go of the cluster.
        with suppress(UnknownKindError):
            return self._kube.delete_all(kind, selector, CLEAN_UP_GRACE_SECONDS, owned_first=True)
        return []


def _worker_name(pod: Mapping[str, Any]) -> str:
    variables = (each for container in pod["spec"]["containers"] for each in container.get("env", []))
    found = next((each["value"] for each in variables if each["name"] == "DASK_WORKER_NAME"), None)
    return found or str(pod["metadata"]["name"])
