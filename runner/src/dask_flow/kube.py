"""The runner's calls to the Kubernetes API server, with plain dicts in and out."""

from __future__ import annotations

import dataclasses
import itertools
import json
import logging
import math
import os
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlencode

import urllib3

from dask_flow.errors import DaskFlowError, StartupError
from dask_flow.kube_refusals import (
    BAD_REQUEST,
    ConflictError,
    ExistsError,
    ForbiddenError,
    NotFoundError,
    UnreachableError,
    refusal_of,
)

__all__ = ["ExistsError", "Kube", "NotFoundError", "Server"]

log = logging.getLogger(__name__)

CONCURRENCY = 8
# For how long a request is repeated: an API server that is upgraded or overloaded is back by then.
PATIENCE_SECONDS = 60
PAUSES_SECONDS = (0.2, 0.5, 1, 2, 4, 8)
AWAY = (408, 429, 502, 503, 504)
# So long while it says that it is at fault itself: its storage elects a leader, or a webhook is not there.
FAULT = 500
FAULT_SECONDS = 15
# An API server that has just started refuses everything until it has read the Roles.
ROLES_SECONDS = 3
ROLES_PAUSE_SECONDS = 0.5
WATCH_SECONDS = 300
CONNECT_SECONDS = 5
READ_SECONDS = 30
LEAST_READ_SECONDS = 1
LOG_READ_SECONDS = 5
LOG_LINES = 20_000
LOG_BYTES = 8 * 2**20
# A watch of which nothing comes any more is noticed within a minute, not when its time is over.
KEEPALIVE = [
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 20),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
]
SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


@dataclasses.dataclass(frozen=True)
class Server:
    """An API server: how to reach it, and what to show it, which may change with time."""

    http: urllib3.PoolManager
    url: str
    authorization: Callable[[], str | None]

    def ask(
        self, method: str, path: str, query: Mapping[str, Any], body: Any, read_seconds: float
    ) -> urllib3.BaseHTTPResponse:
        """Return the answer, of any status; its body is not read yet."""
        headers = {"Accept": "application/json"}
        if method == "PATCH":
            headers["Content-Type"] = "application/merge-patch+json"
        authorization = self.authorization()
        if authorization:
            headers["Authorization"] = authorization
        return self.http.request(
            method,
            f"{self.url}{path}{'?' if query else ''}{urlencode(query)}",
            json=body,
            headers=headers,
            timeout=urllib3.Timeout(connect=CONNECT_SECONDS, read=read_seconds),
            retries=False,
            preload_content=False,
        )


class Kube:
    """Objects of one namespace, each kind by its plural name: `pods`, with a group `daskclusters.kubernetes.dask.org`.

    Every method raises StartupError, with what was refused and what would allow it, or InputError for an object that
    is not valid. Requests are repeated for a minute while the API server is away or overloaded.

    The requests are plain ones: to import Kubernetes' client package takes 0.15 s, a tenth of the time that a run takes
    until its first task.
    """

    def __init__(self, server: Server, namespace: str, patience_seconds: float = PATIENCE_SECONDS) -> None:
        self._server = server
        self._patience_seconds = patience_seconds
        self._deadline = math.inf
        self.namespace = namespace

    @classmethod
    def in_cluster(cls) -> Kube:
        """Connect with the service account of the pod that this process runs in."""
        host, port = (os.environ.get(f"KUBERNETES_SERVICE_{name}", "") for name in ("HOST", "PORT"))
        if not host or not (SERVICE_ACCOUNT / "token").exists():
            raise StartupError(
                "no access to the Kubernetes API: this process has no service account token. Temporary clusters need "
                "a pod with automountServiceAccountToken, as the chart's; elsewhere, use --cluster local"
            )
        ca_certs = str(SERVICE_ACCOUNT / "ca.crt")
        http = urllib3.PoolManager(maxsize=CONCURRENCY, ca_certs=ca_certs, socket_options=KEEPALIVE)
        url = f"https://{f'[{host}]' if ':' in host else host}:{port}"
        # Kubernetes renews the token, so it is read each time.
        server = Server(http, url, lambda: f"Bearer {(SERVICE_ACCOUNT / 'token').read_text()}")
        return cls(server, (SERVICE_ACCOUNT / "namespace").read_text().strip())

    def give_up_in(self, seconds: float) -> None:
        """From now on, wait for no answer, and repeat no request, for longer than this from now."""
        self._deadline = time.monotonic() + seconds

    def version(self) -> str:
        """Return the API server's version."""
        return str(self._call("GET", "/version")["gitVersion"])

    def own_pod(self) -> dict[str, Any]:
        """Return the pod that this process runs in; its name is the host name unless DASK_FLOW_POD_NAME says it."""
        name = os.environ.get("DASK_FLOW_POD_NAME") or os.environ["HOSTNAME"]
        return self._call("GET", f"pods/{name}")

    def list_all(self, resource: str, **query: Any) -> list[dict[str, Any]]:
        """Return all objects of a kind, or those that the query, such as a `labelSelector`, leaves."""
        return list(self._call("GET", resource, **query)["items"])

    def get(self, resource: str, name: str) -> dict[str, Any]:
        """Return one object."""
        return self._call("GET", f"{resource}/{name}")

    def create(
        self, resource: str, body: dict[str, Any], *, dry_run: bool = False, strict: bool = False
    ) -> dict[str, Any]:
        """Create an object and return it as the API server has it.

        With `dry_run`, the API server only checks the object, as strictly as it can. With `strict`, it refuses fields
        that it does not know, rather than leave them out.
        """
        query = {"dryRun": "All"} if dry_run else {}
        query |= {"fieldValidation": "Strict"} if dry_run or strict else {}
        return self._call("POST", resource, body, **query)

    def create_pods(self, pods: Iterable[dict[str, Any]]) -> dict[str, DaskFlowError]:
        """Create pods, some at a time, and return why by the names of those that could not be made.

        Raises the error if that is so of the first few, which is taken for all, or if the API server is not there. No
        thread is left afterwards.
        """
        pods = list(pods)
        first, others = pods[:CONCURRENCY], pods[CONCURRENCY:]
        with ThreadPoolExecutor(len(first)) as executor:
            errors = self._create_some(first, executor)
            if len(errors) == len(first):
                raise errors.popitem()[1]
            return errors | self._create_some(others, executor)

    def _create_some(self, pods: list[dict[str, Any]], executor: ThreadPoolExecutor) -> dict[str, DaskFlowError]:
        futures = {pod["metadata"]["name"]: executor.submit(self._create_pod, pod) for pod in pods}
        errors: dict[str, DaskFlowError] = {}
        try:
            for name, future in futures.items():
                try:
                    future.result()
                except UnreachableError:
                    raise
                except DaskFlowError as error:
                    errors[name] = error
        except BaseException:
            executor.shutdown(cancel_futures=True)
            raise
        return errors

    def _create_pod(self, pod: dict[str, Any]) -> None:
        # A request that got no answer is repeated, and its first attempt may have succeeded.
        with suppress(ExistsError):
            self._call("POST", "pods", pod)

    def may(self, verb: str, resource: str) -> bool:
        """Return whether this client may do this in the namespace."""
        kind, _, subresource = resource.partition("/")
        name, _, group = kind.partition(".")
        attributes = {"namespace": self.namespace, "verb": verb, "group": group, "resource": name}
        attributes |= {"subresource": subresource} if subresource else {}
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        }
        path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
        return bool(self._call("POST", path, review)["status"]["allowed"])

    def log(self, pod: str, container: str | None, *, previous: bool = False) -> bytes:
        """Return the end of a container's log, or of the one that it replaced. The request is not repeated."""
        query: dict[str, Any] = {"tailLines": LOG_LINES, "limitBytes": LOG_BYTES}
        query |= ({"container": container} if container else {}) | ({"previous": "true"} if previous else {})
        path = f"pods/{pod}/log"
        try:
            response = self._server.ask("GET", self._url(path), query, None, LOG_READ_SECONDS)
            data: bytes = response.data
        except urllib3.exceptions.HTTPError as error:
            raise StartupError(f"the log of pod {pod} cannot be had: {error}") from error
        if response.status >= BAD_REQUEST:
            raise refusal_of(f"GET {path}", response.status, data)
        return data

    def delete_pod(self, name: str) -> None:
        """Delete one pod, if it is there."""
        with suppress(NotFoundError):
            self._call("DELETE", f"pods/{name}")

    def delete_all(
        self, resource: str, selector: str, grace_period_seconds: int, *, owned_first: bool = False
    ) -> list[dict[str, Any]]:
        """Delete all objects that the label selector matches, in one call, and return them.

        With `owned_first`, Kubernetes deletes first what they own, at once, whoever else has a finalizer on them.
        """
        query: dict[str, Any] = {"labelSelector": selector, "gracePeriodSeconds": grace_period_seconds}
        query |= {"propagationPolicy": "Foreground"} if owned_first else {}
        return list(self._call("DELETE", resource, **query).get("items") or ())

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
                query = {"labelSelector": selector, "resourceVersion": version}
                for event, pod in self._events("pods", WATCH_SECONDS, query):
                    known[pod["metadata"]["name"]] = pod
                    if event == "DELETED":
                        del known[pod["metadata"]["name"]]
                    yield event, pod
            except Exception as error:  # whatever it is, nobody else looks at the pods
                log.debug("the watch of pods begins again: %s", error)
                stop.wait(1)

    def watch_warnings(self, stop: threading.Event, selector: str = "type=Warning") -> Iterator[dict[str, Any]]:
        """Yield the warnings that are recorded as Events, until `stop` is set or this is refused.

        Each comes once, and again when it happens again, across interruptions.
        """
        version, known = "", dict[str, str]()
        while not stop.is_set():
            query = {"fieldSelector": selector, "allowWatchBookmarks": "true"}
            query |= {"resourceVersion": version} if version else {}
            try:
                for kind, event in self._events("events", WATCH_SECONDS, query):
                    version, uid = event["metadata"]["resourceVersion"], event["metadata"].get("uid", "")
                    if kind == "DELETED":  # by its age
                        known.pop(uid, None)
                    elif kind != "BOOKMARK" and known.get(uid) != version:
                        known[uid] = version
                        yield event
            except ForbiddenError as error:
                log.warning("why volumes cannot be mounted will not be told: %s", error)
                return
            except Exception as error:
                log.debug("the watch of events begins again: %s", error)
                version = ""
                stop.wait(1)

    def wait_until_deleted(self, selector: str, timeout_seconds: int) -> set[str]:
        """Wait until no pod matches the label selector; return the names of those that are left at the timeout."""
        until = time.monotonic() + timeout_seconds
        while True:  # the API server may end a watch at any time
            listed, version = self._list_pods(selector)
            left, rest = set(listed), until - time.monotonic()
            if not left or rest <= 0:
                return left
            query = {"labelSelector": selector, "resourceVersion": version}
            for event, pod in self._events("pods", math.ceil(rest), query):
                if event == "DELETED":
                    left.discard(pod["metadata"]["name"])
                if not left:
                    return left

    def _list_pods(self, selector: str) -> tuple[dict[str, dict[str, Any]], str]:
        listed = self._call("GET", "pods", labelSelector=selector)
        return {pod["metadata"]["name"]: pod for pod in listed["items"]}, listed["metadata"]["resourceVersion"]

    def _events(self, resource: str, seconds: int, query: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
        query = {**query, "watch": "true", "timeoutSeconds": seconds}
        try:
            with self._request("GET", resource, read_seconds=seconds + READ_SECONDS, **query) as response:
                for line in response:
                    event = json.loads(line)
                    if event["type"] == "ERROR":  # such as 410, Gone: the version is too old to go on from
                        raise StartupError(f"the watch of {resource} ended: {event['object'].get('message')}")
                    yield event["type"], event["object"]
        except (urllib3.exceptions.HTTPError, OSError, ValueError, LookupError, TypeError) as error:
            raise StartupError(f"the watch of {resource} broke off: {error}") from error

    def _url(self, path: str) -> str:
        kind, slash, name = path.partition("/")
        resource, _, group = kind.partition(".")
        root = f"/apis/{group}/v1" if group else "/api/v1"
        return f"{root}/namespaces/{self.namespace}/{resource}{slash}{name}"

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None, **query: Any) -> dict[str, Any]:
        response = self._request(method, path, body, **query)
        try:
            return cast("dict[str, Any]", json.loads(response.data))
        except (urllib3.exceptions.HTTPError, ValueError) as error:
            raise StartupError(f"the Kubernetes API's answer to {method} {path} is not whole: {error}") from error

    def _request(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        *,
        read_seconds: float = READ_SECONDS,
        **query: Any,
    ) -> urllib3.BaseHTTPResponse:
        url = path if path.startswith("/") else self._url(path)
        until = min(time.monotonic() + self._patience_seconds, self._deadline)
        pauses: Iterator[float] = itertools.chain(PAUSES_SECONDS, itertools.repeat(PAUSES_SECONDS[-1]))
        while True:
            read_seconds = min(read_seconds, max(self._deadline - time.monotonic(), LEAST_READ_SECONDS))
            try:
                response = self._server.ask(method, url, query, body, read_seconds)
                said = response.data if response.status >= BAD_REQUEST else b""
            except urllib3.exceptions.HTTPError as error:
                refusal: DaskFlowError = UnreachableError(f"the Kubernetes API cannot be reached: {error}")
                refusal.__cause__ = error
            else:
                if response.status < BAD_REQUEST:
                    return response
                refusal = refusal_of(f"{method} {path}", response.status, said)
                if isinstance(refusal, ForbiddenError):
                    until = min(until, time.monotonic() + ROLES_SECONDS)
                    pauses = itertools.repeat(ROLES_PAUSE_SECONDS)
                elif response.status == FAULT:
                    until = min(until, time.monotonic() + FAULT_SECONDS)
                elif response.status not in AWAY and not isinstance(refusal, ConflictError):
                    break
            pause = next(pauses)
            log.debug("asked again in %g s: %s", pause, refusal)
            if time.monotonic() + pause > until:
                break
            time.sleep(pause)
        log.debug("the Kubernetes API refused: %s", refusal)
        raise refusal
