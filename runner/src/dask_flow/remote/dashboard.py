"""Bring a run's Dask dashboard to this machine: through the API server, from a local port to its scheduler's pod."""

from __future__ import annotations

import logging
import re
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from dask_flow.errors import DaskFlowError, InputError
from dask_flow.kube_refusals import NotFoundError
from dask_flow.log import described
from dask_flow.remote.given import address_of, runner_of
from dask_flow.remote.releases import JOBS
from dask_flow.remote.runs import RUN_LABEL, condition_of, is_running, runners_of

if TYPE_CHECKING:
    from dask_flow.user_kube import UserKube

__all__ = ["forwarded", "scheduler_pod", "scheduler_pods"]

log = logging.getLogger(__name__)

PORT = 8787
LOOK_SECONDS = 2
CHUNK_BYTES = 65536
HOST = re.compile(r"\w+://(?P<service>[^.:/]+)(\.(?P<namespace>[^.:/]+)(\.svc[^:/]*)?)?:\d+")


def scheduler_pods(kube: UserKube, run: str) -> Iterator[str | None]:
    """Yield the pod that serves the dashboard of a run, as often as that is another; None while no attempt runs."""
    last: str | None = ""
    with suppress(NotFoundError):  # it was cancelled
        while not condition_of(job := kube.get(JOBS, run)):
            pod = scheduler_pod(kube, job)
            if pod != last:
                yield pod
            last = pod
            time.sleep(LOOK_SECONDS)


def scheduler_pod(kube: UserKube, job: Mapping[str, Any]) -> str | None:
    """Return the pod that serves the dashboard of a run, None if none does now.

    Raises InputError if it is another cluster's.
    """
    run = job["metadata"]["name"]
    runners = [pod for pod in runners_of(kube, run) if is_running(pod)]
    if not runners:
        return None
    address = address_of(runner_of(job))
    if address:
        return _behind(kube, address)
    selector = f"{RUN_LABEL}={run},app.kubernetes.io/component=scheduler"
    own = [pod["metadata"]["name"] for pod in kube.list_all("pods", labelSelector=selector)]
    return own[-1] if own else str(runners[-1]["metadata"]["name"])


def _behind(kube: UserKube, address: str) -> str:
    """Return the pod behind the Service that a static cluster's address names."""
    found = HOST.fullmatch(address)
    try:
        if not found or found["namespace"] not in {None, kube.namespace}:
            raise InputError(
                f"the run uses the cluster at {address}; its dashboard is that cluster's, not in this namespace"
            )
        selector = kube.get("services", found["service"])["spec"]["selector"]
        pods = kube.list_all("pods", labelSelector=",".join(f"{key}={value}" for key, value in selector.items()))
        return str(pods[0]["metadata"]["name"])
    except (NotFoundError, KeyError, IndexError) as error:
        raise InputError(
            f"the run uses the cluster at {address}, and there is no pod behind that Service here"
        ) from error


@contextmanager
def forwarded(kube: UserKube, pod: str, port: int) -> Iterator[int]:
    """While it is open, have connections to a port of this machine reach the pod's dashboard; yields the local port.

    0 is any free one. Raises InputError if it is taken.
    """
    kube.port(pod, PORT).close()  # to know at once whether that can be
    try:
        listener = socket.create_server(("127.0.0.1", port))
    except OSError as error:
        raise InputError(
            f"port {port} of this machine cannot be used: {error.strerror}; give another --port"
        ) from error
    threading.Thread(target=_accept, args=(listener, kube, pod), name="dashboard", daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)  # or the port stays taken, by who waits there to accept
        listener.close()


def _accept(listener: socket.socket, kube: UserKube, pod: str) -> None:
    with suppress(OSError):  # it was closed
        while True:
            near, _ = listener.accept()
            threading.Thread(target=_join, args=(near, kube, pod), daemon=True).start()


def _join(near: socket.socket, kube: UserKube, pod: str) -> None:
    """Join a connection of this machine with a new one to the pod, until either ends."""
    with near:
        try:
            far = kube.port(pod, PORT)
        except DaskFlowError as error:
            log.warning("%s", described(error))
            return
        answers = threading.Thread(target=_copy, args=(far, near), daemon=True)
        answers.start()
        _copy(near, far)
        answers.join()
        far.close()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(CHUNK_BYTES):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)
