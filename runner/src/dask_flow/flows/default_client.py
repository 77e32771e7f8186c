"""Have `Client()` without arguments connect to the run's cluster, in this process and in those that it starts."""

from __future__ import annotations

import inspect
import logging
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["as_default"]

log = logging.getLogger(__name__)

ADDRESS = "scheduler-address"


@contextmanager
def as_default(client: Client) -> Iterator[None]:
    """While the flow's code runs: configure Dask for the client's cluster, and keep the code from stopping that.

    Clients that the code leaves open are closed.
    """
    import dask
    from distributed import Client as AnyClient

    known = set(AnyClient._instances)  # noqa: SLF001 # there is no other list of them
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dask-flow-")))  # of mode 0700
        configuration = {ADDRESS: client.scheduler.address, **_tls(client, folder)}
        stack.enter_context(_environment(configuration))
        stack.enter_context(dask.config.set(configuration))
        stack.enter_context(_guests(AnyClient, client.scheduler.address))
        try:
            yield
        finally:
            for each in set(AnyClient._instances) - known:  # noqa: SLF001
                if each.status == "running" and not each.id.startswith("Client-worker"):  # Dask's own, of a worker
                    each.close()


def _tls(client: Client, folder: Path) -> Mapping[str, str]:
    """Return Dask's configuration for the client's TLS, whose PEM texts are written into the folder."""
    security = client.security
    given = {
        "ca-file": security.tls_ca_file,
        "client.cert": security.tls_client_cert,
        "client.key": security.tls_client_key,
    }
    return {f"distributed.comm.tls.{name}": _file(value, folder / name) for name, value in given.items() if value}


def _file(value: str, path: Path) -> str:
    if "\n" not in value:
        return value
    path.touch(mode=0o600)
    path.write_text(value)
    return str(path)


@contextmanager
def _environment(configuration: Mapping[str, Any]) -> Iterator[None]:
    """Set Dask's configuration as environment variables, which other processes read when they start."""
    names = {
        "DASK_" + key.replace(".", "__").replace("-", "_").upper(): str(value) for key, value in configuration.items()
    }
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(names)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def _guests(kind: Any, address: str) -> Iterator[None]:
    """Have clients neither make a cluster, as `Client(n_workers=4)` would, nor stop that of this address."""
    init, shutdown = kind.__init__, kind.shutdown
    known = inspect.signature(init).parameters

    def joined(client: Client, where: Any = None, *args: Any, **options: Any) -> None:
        for name in [] if where or "address" in options else sorted(options.keys() - known):
            log.warning("Client(%s=…) has no effect here: this is a client of the run's cluster", name)
            del options[name]
        init(client, where, *args, **options)

    def closed(client: Client) -> Any:
        if client.cluster is not None or client.scheduler.address != address:
            return shutdown(client)
        log.warning("client.shutdown() only closes the client here; the cluster is not the flow's to stop")
        return client.close()

    kind.__init__, kind.shutdown = joined, closed
    try:
        yield
    finally:
        kind.__init__, kind.shutdown = init, shutdown
