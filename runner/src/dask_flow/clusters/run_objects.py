"""The Kubernetes objects of one attempt of a run: made, watched, deleted. Knows Kubernetes, not Dask."""

from __future__ import annotations

import dataclasses
import itertools
import logging
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from dask_flow.clusters.attempt import CLEAN_UP_GRACE_SECONDS, CLEAN_UP_TIMEOUT_SECONDS, Attempt
from dask_flow.kube import ExistsError, Kube
from dask_flow.log import listed
from dask_flow.manifests import RunIdentity, address_at, dask_pod, scheduler_service, tls_secret
from dask_flow.pod_status import Problem
from dask_flow.settings import RunSettings
from dask_flow.specs import Manifest, Templates
from dask_flow.tls import KeyPair

__all__ = ["RunObjects"]

log = logging.getLogger(__name__)

LET_GO = "let go: there was no work for it"


class RunObjects(Attempt):
    """Worker pods by name, and what they share: the Secret of the key pair, the scheduler's pod and Service."""

    def __init__(self, kube: Kube, identity: RunIdentity, settings: RunSettings, templates: Templates) -> None:
        super().__init__(kube, identity, settings, templates)
        self.key_pair = KeyPair.generate() if settings.tls else None
        self._own_secret = f'"{identity.secret_name}"'
        self._numbers = itertools.count()
        self._requested: set[str] = set()

    def create_shared(self) -> None:
        """Create what worker pods need: the Secret and, if the scheduler has a pod of its own, that and its Service."""
        if self.key_pair:
            with suppress(ExistsError):  # a repeated request: the name is this attempt's
                self._kube.create("secrets", tls_secret(self.key_pair, self._identity))
        host = self._identity.pod_ip
        if self._templates.scheduler:
            try:
                host = self._kube.create("services", scheduler_service(self._identity))["spec"]["clusterIP"]
            except ExistsError:  # a repeated request; its name leads there too
                host = f"{self.scheduler_name}.{self._identity.namespace}"
            log.info("scheduler pod requested: %s", self.scheduler_name)
            pod = dask_pod(self._templates.scheduler, self.scheduler_name, self._settings, self._identity)
            self._kube.create_pods([pod])
        self.scheduler_address = address_at(host, self._settings)

    def new_name(self) -> str:
        """Return a worker pod's name that no pod of this run has had."""
        return self._identity.worker_name(next(self._numbers))

    def create_workers(self, *names: str) -> None:
        """Create those worker pods that were not asked for yet. Raises an error if none could be made.

        Those that could not, while others could, are among those that do not run.
        """
        new = [name for name in names if name not in self._requested]
        self._requested.update(new)
        if new and not (self.closing or self.lost):
            log.info("worker pod%s requested: %s", "s" if len(new) > 1 else "", listed(new))
            for name in new:
                self._history.pod(name)
            errors = self._kube.create_pods([self._worker(name) for name in new])
            for name, error in errors.items():
                self.refused(name, error)

    def _worker(self, name: str) -> Manifest:
        return dask_pod(self._templates.worker, name, self._settings, self._identity, self.scheduler_address)

    def delete_worker(self, name: str) -> None:
        """Delete one pod, unless all are being deleted."""
        if not self.closing:
            self._gone.add(name)
            note = self._history.pod(name)
            if not note.ends:
                note.ended(LET_GO)
            if self._logs:
                self._logs.save(name)
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

    def _is_ours(self, name: str) -> bool:
        return name in self._requested or self._is_scheduler(name)

    def _warning_problem(self, event: Mapping[str, Any]) -> Problem | None:
        found = super()._warning_problem(event)
        if found and self._own_secret in found.text:
            # It was there before the pod; a kubelet that has not heard of it yet will soon.
            return dataclasses.replace(found, hopeless=False)
        return found
