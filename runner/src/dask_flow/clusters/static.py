"""A cluster that is there already: connect, and never stop or delete anything."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import threading
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from dask_flow.clusters import OnLost
from dask_flow.clusters.deadline import Deadline
from dask_flow.errors import ClusterLostError, InputError, StartupError, causes_of

if TYPE_CHECKING:
    from distributed import Client

    from dask_flow.history import History
    from dask_flow.settings import RunSettings

__all__ = ["cluster"]

log = logging.getLogger(__name__)

TRY_SECONDS = 3
PAUSE_SECONDS = 0.5
WATCH_SECONDS = 0.5
TLS_VARIABLES = ", ".join(f"DASK_DISTRIBUTED__COMM__TLS__{name}" for name in ("CA_FILE", "CLIENT__CERT", "CLIENT__KEY"))


def cluster(stack: ExitStack, settings: RunSettings, history: History, on_lost: OnLost) -> Client:
    """Connect to `settings.address` and wait for `settings.min_workers` workers, both within the startup timeout.

    Raises InputError for a lack of keys or versions that do not fit, StartupError with what was seen at the address.
    """
    deadline = Deadline(settings.startup_timeout)
    with history(f"connected to {settings.address}"):
        from distributed import Client

        from dask_flow.clusters.dask_logs import saved_at_the_end
        from dask_flow.clusters.openssl_errors import keep_connections_apart
        from dask_flow.clusters.versions import check_versions

        keep_connections_apart()
        _wait_for_scheduler(settings, deadline)
        client = stack.enter_context(Client(settings.address))
    with history("workers there"):
        _wait_for_workers(client, settings, deadline)
    check_versions(client)
    log.info("dashboard: %s", client.dashboard_link)
    saved_at_the_end(client, history)
    over = threading.Event()
    threading.Thread(target=_watch, args=(client, over, on_lost), name="scheduler-watch", daemon=True).start()
    stack.callback(over.set)
    return client


def _watch(client: Client, over: threading.Event, on_lost: OnLost) -> None:
    """Tell of a scheduler that did not come back: its client gives up, and what waits for it may do so for ever."""
    connecting = False
    while not over.wait(WATCH_SECONDS):
        if connecting and client.status in {"closing", "closed"}:  # if it was not, the flow itself closed it
            on_lost(
                ClusterLostError("the connection to the Dask scheduler was lost while the flow ran; it is not back")
            )
            return
        connecting = client.status == "connecting"


def _wait_for_scheduler(settings: RunSettings, deadline: Deadline) -> None:
    """Wait until a Dask scheduler answers. Raises StartupError at the deadline, at once where waiting does not help."""
    arguments, said = _connection_arguments(settings), ""
    while True:
        try:
            asyncio.run(_knock(settings.address, min(deadline.left, TRY_SECONDS), arguments))
        except Exception as error:  # what is no Dask scheduler may answer anything, and be read as anything
            log.debug("no connection", exc_info=error)
            seen, hopeless = _seen(error, settings)
            seen = seen or _unreachable(settings) or said or "nothing answers there as a Dask scheduler does"
        else:
            return
        if hopeless or deadline.left < PAUSE_SECONDS:
            after = "" if hopeless else f" after {deadline.seconds:g} s"
            raise StartupError(f"no Dask scheduler at {settings.address}{after}: {seen}")
        if seen != said:
            log.info("waiting for %s: %s", settings.address, seen)
            said = seen
        time.sleep(PAUSE_SECONDS)


def _connection_arguments(settings: RunSettings) -> dict[str, Any]:
    """Return how Dask's configuration has a client identify itself. Raises InputError if there is no key for TLS."""
    from distributed import Security

    try:
        arguments: dict[str, Any] = Security().get_connection_args("client")
    except OSError as error:  # an SSLError too
        raise InputError(f"the key pair for {settings.address} cannot be used, see {TLS_VARIABLES}: {error}") from error
    if settings.tls and not arguments["ssl_context"]:
        raise InputError(f"{settings.address} needs a key pair; name its files in {TLS_VARIABLES}")
    return arguments


async def _knock(address: str | None, seconds: float, arguments: dict[str, Any]) -> None:
    """Connect as a client would, and leave. Raises whatever prevents it."""
    from distributed.comm import connect

    async with asyncio.timeout(seconds + 1):  # a server of another kind may never answer, and connect then waits on
        comm = await connect(address, timeout=seconds, **arguments)
        await comm.close()


def _seen(error: BaseException, settings: RunSettings) -> tuple[str | None, bool]:
    """Return what an error says of the address, if anything, and whether it is hopeless to wait for a change."""
    for cause in causes_of(error):
        hopeless = _refused_by_tls(cause)
        if hopeless:
            return hopeless, True
        passing = _not_reached(cause, settings)
        if passing:
            return passing, False
    return None, False


def _unreachable(settings: RunSettings) -> str | None:
    """Return why not even a plain connection comes about; Dask's error is of its last try, which time may have cut."""
    host, _, port = str(settings.address).rpartition("://")[2].rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), PAUSE_SECONDS).close()
    except OSError as error:
        return _not_reached(error, settings)
    return None


def _refused_by_tls(cause: BaseException) -> str | None:
    from distributed.comm.core import FatalCommClosedError

    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"its certificate is not from the CA of this client: {cause.verify_message}"
    if isinstance(cause, ssl.SSLError):
        return f"TLS failed ({cause.reason}): does the scheduler speak plain tcp://, or refuse this key?"
    return str(cause) or None if isinstance(cause, FatalCommClosedError) and not cause.__cause__ else None


def _not_reached(cause: BaseException, settings: RunSettings) -> str | None:
    if isinstance(cause, socket.gaierror):
        host = str(settings.address).rpartition("://")[2].rpartition(":")[0]
        return f"the name {host} cannot be resolved ({cause.strerror})"
    if isinstance(cause, ConnectionRefusedError):
        return "the connection was refused: nothing listens there"
    if isinstance(cause, ConnectionError):
        return "the other side closed the connection" + ("" if settings.tls else "; does it speak tls://?")
    return None


def _wait_for_workers(client: Client, settings: RunSettings, deadline: Deadline) -> None:
    try:
        client.wait_for_workers(settings.min_workers, timeout=max(deadline.left, 1))
    except TimeoutError as error:
        count = len(client.nthreads())
        raise StartupError(
            f"{settings.address} has {count} of {settings.min_workers} workers after {deadline.seconds:g} s; "
            "start workers there, or lower --min-workers"
        ) from error
