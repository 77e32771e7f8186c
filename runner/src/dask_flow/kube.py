"""The runner's calls to the Kubernetes API server, with plain dicts in and out."""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import urllib3
from kubernetes import client, config, watch

from dask_flow.errors import StartupError

__all__ = ["Kube", "NotFoundError"]

CONCURRENCY = 8
WATCH_SECONDS = 300
FORBIDDEN = re.compile(
    r'User "(?P<user>[^"]+)" cannot (?P<verb>\w+) resource "(?P<resource>[^"]+)"'
    r'.*in the namespace "(?P<namespace>[^"]+)"'
)
BAD_REQUEST = 400
NOT_FOUND = 404


class NotFoundError(StartupError):
    """The API server has no such object."""


class Kube:
    """Pods of one namespace. Every method raises StartupError, with what was refused and what would allow it."""

    def __init__(self, api: client.CoreV1Api, namespace: str) -> None:
        self._api = api
        self.namespace = namespace

    @classmethod
    def in_cluster(cls) -> Kube:
        """Connect with the service account of the pod that this process runs in."""
        try:
            config.load_incluster_config()
        except config.ConfigException as error:
            raise StartupError(
                "no access to the Kubernetes API: this process has no service account token. Make temporary clusters from "
                "a pod with automountServiceAccountToken, as the chart's; elsewhere, use --cluster local"
            ) from error
        namespace = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace").read_text()
        return cls(client.CoreV1Api(), namespace.strip())

    def own_pod(self) -> dict[str, Any]:
        """Return the pod that this process runs in; its name is the host name unless DASK_FLOW_POD_NAME says it."""
        name = os.environ.get("DASK_FLOW_POD_NAME") or os.environ["HOSTNAME"]
        return cast("dict[str, Any]", self._json(self._api.read_namespaced_pod, name))

    def create_pods(self, pods: Iterable[dict[str, Any]]) -> None:
        """Create pods, some at a time; no thread is left afterwards. After an error no further one is begun."""
        pods = list(pods)
        if len(pods) == 1:
            self.create_pod(pods[0])
            return
        with ThreadPoolExecutor(min(CONCURRENCY, len(pods))) as executor:
            futures = [executor.submit(self.create_pod, pod) for pod in pods]
            try:
                for future in futures:
                    future.result()
            except BaseException:
                executor.shutdown(cancel_futures=True)
                raise

    def create_pod(self, pod: dict[str, Any]) -> None:
        """Create one pod."""
        self._json(self._api.create_namespaced_pod, body=pod)

    def delete_pod(self, name: str, grace_period_seconds: int | None = None) -> None:
        """Delete one pod, if it is there."""
        options = {} if grace_period_seconds is None else {"grace_period_seconds": grace_period_seconds}
        try:
            self._json(self._api.delete_namespaced_pod, name, **options)
        except NotFoundError:
            return

    def delete_pods(self, selector: str, grace_period_seconds: int | None = None) -> None:
        """Delete all pods that the label selector matches, in one call."""
        options = {} if grace_period_seconds is None else {"grace_period_seconds": grace_period_seconds}
        self._json(self._api.delete_collection_namespaced_pod, label_selector=selector, **options)

    def watch_pods(self, selector: str, stop: threading.Event) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield (ADDED, MODIFIED or DELETED, pod) as it happens, across interruptions, until `stop` is set.

        After an interruption, the pods that are there come again as ADDED.
        """
        while not stop.is_set():
            try:
                yield from self._events(selector, timeout_seconds=WATCH_SECONDS)
            except (client.ApiException, urllib3.exceptions.HTTPError, OSError):
                stop.wait(1)

    def wait_until_deleted(self, selector: str, timeout_seconds: int) -> set[str]:
        """Wait until no pod matches the label selector; return the names of those that are left at the timeout."""
        listed = self._json(self._api.list_namespaced_pod, label_selector=selector)
        left = {pod["metadata"]["name"] for pod in listed["items"]}
        if left:
            version = listed["metadata"]["resourceVersion"]
            for event, pod in self._events(selector, timeout_seconds=timeout_seconds, resource_version=version):
                if event == "DELETED":
                    left.discard(pod["metadata"]["name"])
                if not left:
                    break
        return left

    def _events(self, selector: str, **kwargs: Any) -> Iterator[tuple[str, dict[str, Any]]]:
        for event in watch.Watch(return_type=object).stream(
            self._api.list_namespaced_pod, self.namespace, label_selector=selector, **kwargs
        ):
            yield event["type"], event["object"]

    def _json(self, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        # The client's models cost more to fill than the call itself; plain JSON is all that is needed.
        name = {"name": args[0]} if args else {}
        try:
            response = method(namespace=self.namespace, _preload_content=False, **name, **kwargs)
            status, body = response.status, response.data
        except client.ApiException as error:
            status, body = error.status, error.body
        except urllib3.exceptions.HTTPError as error:
            raise StartupError(f"the Kubernetes API cannot be reached: {error}") from error
        if status >= BAD_REQUEST:
            raise _refusal(method.__name__, status, body)
        return json.loads(body)


def _refusal(call: str, status: int, body: bytes | str | None) -> StartupError:
    try:
        message = json.loads(body or "")["message"]
    except (ValueError, KeyError):
        message = str(body)
    if status == NOT_FOUND:
        return NotFoundError(f"{call}: {message}")
    refused = FORBIDDEN.search(message)
    if refused:
        return StartupError(
            "{user} may not {verb} {resource} in namespace {namespace}; a Role must grant it (chart: rbac.create=true)"
            "".format(**refused.groupdict())
        )
    return StartupError(f"the Kubernetes API refused {call.replace('_', ' ')} with status {status}: {message}")
