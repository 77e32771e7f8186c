"""The Kubernetes objects of one attempt of a run: made, watched, deleted. Knows Kubernetes, not Dask."""

from __future__ import annotations

import dataclasses
import itertools
import logging
import threading
from collections.abc import Callable
from contextlib import suppress

from dask_flow.errors import DaskFlowError
from dask_flow.kube import ExistsError, Kube
from dask_flow.log import listed
from dask_flow.manifests import RunIdentity, address_at, dask_pod, permissions, scheduler_service, tls_secret
from dask_flow.pod_status import Problem, has_ended, is_ready, mount_problem, problem
from dask_flow.settings import RunSettings
from dask_flow.specs import Manifest, Templates
from dask_flow.tls import KeyPair

__all__ = ["RunObjects"]

log = logging.getLogger(__name__)

CLEAN_UP_GRACE_SECONDS = 1
CLEAN_UP_TIMEOUT_SECONDS = 20
# An API server that is away when the flow ends may come back; the Job's pod, told to end, has 30 seconds at most.
CLEAN_UP_PATIENCE_SECONDS = 90


class RunObjects:
    """Worker pods by name, and what they share: the Secret of the key pair, the scheduler's pod and Service."""

    def __init__(self, kube: Kube, identity: RunIdentity, settings: RunSettings, templates: Templates) -> None:
        self._kube = kube
        self._identity = identity
        self._settings = settings
        self._templates = templates
        self._kinds = [kind for kind, verbs in permissions(settings).items() if "create" in verbs]
        self.key_pair = KeyPair.generate() if settings.tls else None
        self.scheduler_name = identity.scheduler_name
        self._own_secret = f'"{identity.secret_name}"'
        self.scheduler_address = ""
        self.on_scheduler: Callable[[Problem | None], None]
        """Called, from any thread, with what ended the scheduler's pod, or None when it is ready."""
        self._on_end: Callable[[str, Problem], None] | None = None
        self._numbers = itertools.count()
        self._requested: set[str] = set()
        self._problems: dict[str, Problem] = {}
        self._stop_watch = threading.Event()
        self.closing = False

    @property
    def processes(self) -> int:
        """How many workers each worker pod has."""
        return self._templates.worker.processes

    def create_shared(self) -> None:
        """Create what worker pods need: the Secret and, if the scheduler has a pod of its own, that and its Service."""
        if self.key_pair:
            with suppress(ExistsError):  # a repeated request: the name is this attempt's
                self._kube.create("secrets", tls_secret(self.key_pair, self._identity))
        host = self._identity.pod_ip
        if self._templates.scheduler:
            host = self._kube.create("services", scheduler_service(self._identity))["spec"]["clusterIP"]
            log.info("scheduler pod requested: %s", self.scheduler_name)
            pod = dask_pod(self._templates.scheduler, self.scheduler_name, self._settings, self._identity)
            self._kube.create_pods([pod])
        self.scheduler_address = address_at(host, self._settings)

    def new_name(self) -> str:
        """Return a worker pod's name that no pod of this run has had."""
        return self._identity.worker_name(next(self._numbers))

    def create_workers(self, *names: str) -> None:
        """Create those worker pods that were not asked for yet."""
        new = [name for name in names if name not in self._requested]
        self._requested.update(new)
        if new and not self.closing:
            log.info("worker pod%s requested: %s", "s" if len(new) > 1 else "", listed(new))
            self._kube.create_pods([self._worker(name) for name in new])

    def _worker(self, name: str) -> Manifest:
        return dask_pod(self._templates.worker, name, self._settings, self._identity, self.scheduler_address)

    def delete_worker(self, name: str) -> None:
        """Delete one pod, unless all are being deleted."""
        if not self.closing:
            self._kube.delete_pod(name)

    def delete_leftover_pods(self) -> None:
        """Delete the pods that earlier attempts of this run left, and wait until they take no room any more."""
        selector = self._identity.leftovers_selector
        left = self._kube.delete_all("pods", selector, CLEAN_UP_GRACE_SECONDS)
        if left:
            log.info("deleting pods of an earlier attempt: %s", listed([pod["metadata"]["name"] for pod in left]))
            self._kube.wait_until_deleted(selector, CLEAN_UP_TIMEOUT_SECONDS)

    def delete_other_leftovers(self) -> None:
        """Delete what else earlier attempts of this run left."""
        for kind in self._kinds:
            if kind != "pods":
                self._kube.delete_all(kind, self._identity.leftovers_selector, CLEAN_UP_GRACE_SECONDS)

    def follow(self) -> None:
        """Watch the pods, and warnings about them, in threads of their own, from which the callbacks are called."""
        threading.Thread(target=self._follow_pods, name="pod-watch", daemon=True).start()
        threading.Thread(target=self._follow_warnings, name="warning-watch", daemon=True).start()

    def on_end(self, callback: Callable[[str, Problem], None]) -> None:
        """Call back, from any thread, with the name of each worker pod that cannot run or is gone; past ones too."""
        self._on_end = callback
        for name, found in list(self._problems.items()):
            self._report(name, found)

    def _follow_pods(self) -> None:
        for event, pod in self._kube.watch_pods(self._identity.selector, self._stop_watch):
            name = pod["metadata"]["name"]
            if self.closing:
                return
            found = problem(pod)
            if event == "DELETED" and not (found and has_ended(pod)):
                found = Problem(f"pod {name} was deleted", "deleted", disruption=True)
            if found is not None:
                self._report(name, found)
                continue
            self._problems.pop(name, None)
            if name == self.scheduler_name and is_ready(pod):
                self.on_scheduler(None)

    def _follow_warnings(self) -> None:
        for event in self._kube.watch_warnings(self._stop_watch):
            name = event["involvedObject"]["name"]
            found = mount_problem(event)
            if self.closing:
                return
            if found and self._own_secret in found.text:
                # It was there before the pod; a kubelet that has not heard of it yet will soon.
                found = dataclasses.replace(found, hopeless=False)
            if found and (name in self._requested or name == self.scheduler_name):
                self._report(name, found)

    def _report(self, name: str, found: Problem) -> None:
        self._problems[name] = found
        if not found.hopeless:
            return
        if name == self.scheduler_name:
            self.on_scheduler(found)
        elif self._on_end:
            self._on_end(name, found)

    def problems(self) -> list[str]:
        """Return what keeps pods from running now, each in a sentence."""
        return sorted({found.text for found in list(self._problems.values())})

    def delete_all(self) -> None:
        """Ask for the deletion of all objects of this attempt, and make no more. Failures are logged, not raised."""
        if not self.closing:
            self._kube.give_up_in(CLEAN_UP_PATIENCE_SECONDS)
        self.closing = True
        self._stop_watch.set()
        for kind in self._kinds:
            try:
                self._kube.delete_all(kind, self._identity.selector, CLEAN_UP_GRACE_SECONDS)
            except DaskFlowError as error:
                log.warning("the run's %s could not be deleted; they go with the runner's pod: %s", kind, error)

    def wait_until_gone(self) -> None:
        """Delete all, those pods too that were being made at the first deletion, and wait until there are none."""
        self.delete_all()
        try:
            left = self._kube.wait_until_deleted(self._identity.selector, CLEAN_UP_TIMEOUT_SECONDS)
        except DaskFlowError as error:
            log.warning("cannot tell whether the worker pods are gone: %s", error)
        else:
            if left:
                log.warning("still being deleted: %s", listed(sorted(left)))
