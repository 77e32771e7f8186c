"""The runner's calls to the Kubernetes API server, with plain dicts in and out."""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import urllib3
from kubernetes import config, watch
from kubernetes.client import ApiClient, ApiException

from dask_flow.errors import StartupError

__all__ = ["Kube", "NotFoundError"]

CONCURRENCY = 8
WATCH_SECONDS = 300
CONNECT_SECONDS = 5
READ_SECONDS = 30
FORBIDDEN = re.compile(
    r'User "(?P<user>[^"]+)" cannot (?P<verb>\w+) resource "(?P<resource>[^"]+)"'
    r'.*in the namespace "(?P<namespace>[^"]+)"'
)
BAD_REQUEST = 400
NOT_FOUND = 404


class NotFoundError(StartupError):
    """The API server has no such object."""


class Kube:
    """Pods of one namespace. Every method raises StartupError, with what was refused and what would allow it.

    The client package's generic calls are used: its classes for each kind of object take 0.3 s to import, which is a
    tenth of the time that a run takes until its first task.
    """

    def __init__(self, api: ApiClient, namespace: str) -> None:
        self._api = api
        self.namespace = namespace

    @classmethod
    def in_cluster(cls) -> Kube:
        """Connect with the service account of the pod that this process runs in."""
        try:
            config.load_incluster_config()
        except config.ConfigException as error:
            raise StartupError(
                "no access to the Kubernetes API: this process has no service account token. Temporary clusters need "
                "a pod with automountServiceAccountToken, as the chart's; elsewhere, use --cluster local"
            ) from error
        namespace = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace").read_text()
        return cls(ApiClient(), namespace.strip())

    def own_pod(self) -> dict[str, Any]:
        """Return the pod that this process runs in; its name is the host name unless DASK_FLOW_POD_NAME says it."""
        name = os.environ.get("DASK_FLOW_POD_NAME") or os.environ["HOSTNAME"]
        return self._call("GET", f"pods/{name}")

    def create_pods(self, pods: Iterable[dict[str, Any]]) -> None:
        """Create pods, some at a time; no thread is left afterwards. After an error no further one is begun."""
        pods = list(pods)
        if len(pods) == 1:
            self._create_pod(pods[0])
            return
        with ThreadPoolExecutor(min(CONCURRENCY, len(pods))) as executor:
            futures = [executor.submit(self._create_pod, pod) for pod in pods]
            try:
                for future in futures:
                    future.result()
            except BaseException:
                executor.shutdown(cancel_futures=True)
                raise

    def _create_pod(self, pod: dict[str, Any]) -> None:
        self._call("POST", "pods", body=pod)

    def delete_pod(self, name: str) -> None:
        """Delete one pod, if it is there."""
        try:
            self._call("DELETE", f"pods/{name}")
        except NotFoundError:
            return

    def delete_pods(self, selector: str, grace_period_seconds: int) -> None:
        """Delete all pods that the label selector matches, in one call."""
        self._call("DELETE", "pods", labelSelector=selector, gracePeriodSeconds=grace_period_seconds)

    def watch_pods(self, selector: str, stop: threading.Event) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield (ADDED, MODIFIED or DELETED, pod) as it happens, across interruptions, until `stop` is set.

        After an interruption, the pods that are there come again as ADDED, those that went meanwhile as DELETED.
        """
        known: dict[str, dict[str, Any]] = {}
        while not stop.is_set():
            try:
                listed, version = self._list_pods(selector)
                for name in known.keys() - listed.keys():
                    yield "DELETED", known.pop(name)
                for name, pod in listed.items():
                    known[name] = pod
                    yield "ADDED", pod
                for event, pod in self._events(selector, version, WATCH_SECONDS):
                    known[pod["metadata"]["name"]] = pod
                    if event == "DELETED":
                        del known[pod["metadata"]["name"]]
                    yield event, pod
            except StartupError:
                stop.wait(1)

    def wait_until_deleted(self, selector: str, timeout_seconds: int) -> set[str]:
        """Wait until no pod matches the label selector; return the names of those that are left at the timeout."""
        listed, version = self._list_pods(selector)
        left = set(listed)
        if left:
            for event, pod in self._events(selector, version, timeout_seconds):
                if event == "DELETED":
                    left.discard(pod["metadata"]["name"])
                if not left:
                    break
        return left

    def _list_pods(self, selector: str) -> tuple[dict[str, dict[str, Any]], str]:
        listed = self._call("GET", "pods", labelSelector=selector)
        return {pod["metadata"]["name"]: pod for pod in listed["items"]}, listed["metadata"]["resourceVersion"]

    def _events(self, selector: str, version: str, seconds: int) -> Iterator[tuple[str, dict[str, Any]]]:
        query: dict[str, Any] = {"labelSelector": selector, "resourceVersion": version, "timeoutSeconds": seconds}

        def request(timeout_seconds: int, **_: Any) -> urllib3.BaseHTTPResponse:
            seconds_to_read = timeout_seconds + READ_SECONDS
            return self._request("GET", "pods", read_seconds=seconds_to_read, watch=True, **query)

        # With a timeout, Watch does not begin anew by itself when the stream ends.
        try:
            for event in watch.Watch(return_type=object).stream(request, timeout_seconds=seconds):
                yield event["type"], event["object"]
        except (ApiException, urllib3.exceptions.HTTPError, OSError) as error:
            raise StartupError(f"the watch of pods broke off: {error}") from error

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None, **query: Any) -> dict[str, Any]:
        response = self._request(method, path, body, **query)
        try:
            return cast("dict[str, Any]", json.loads(response.data))
        except urllib3.exceptions.HTTPError as error:
            raise StartupError(f"the Kubernetes API broke off its answer: {error}") from error

    def _request(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        *,
        read_seconds: float = READ_SECONDS,
        **query: Any,
    ) -> urllib3.BaseHTTPResponse:
        call = self._api.param_serialize(
            method,
            f"/api/v1/namespaces/{self.namespace}/{path}",
            query_params=list(query.items()),
            header_params={"Accept": "application/json", "Content-Type": "application/json"},
            body=body,
            auth_settings=["BearerToken"],
        )
        try:
            answer = self._api.call_api(*call, _request_timeout=(CONNECT_SECONDS, read_seconds))
        except (ApiException, urllib3.exceptions.HTTPError) as error:
            raise StartupError(f"the Kubernetes API cannot be reached: {error}") from error
        response: urllib3.BaseHTTPResponse = answer.response
        if response.status >= BAD_REQUEST:
            raise _refusal(f"{method} {path}", response.status, response.data)
        return response


def _refusal(call: str, status: int, body: bytes) -> StartupError:
    try:
        message = json.loads(body)["message"]
    except (ValueError, KeyError):
        message = body.decode(errors="replace")
    if status == NOT_FOUND:
        return NotFoundError(f"{call}: {message}")
    refused = FORBIDDEN.search(message)
    if refused:
        return StartupError(
            "{user} may not {verb} {resource} in namespace {namespace}; a Role must grant it (chart: rbac.create=true)"
            "".format(**refused.groupdict())
        )
    return StartupError(f"the Kubernetes API refused {call} with status {status}: {message}")
