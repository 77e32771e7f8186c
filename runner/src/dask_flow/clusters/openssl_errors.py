"""One TLS connection that breaks must not break another: https://github.com/python/cpython/issues/148594.

After a system error on one connection, such as a peer that was killed, Python leaves an entry in OpenSSL's queue of
errors of this thread, and takes it for the result of the next operation on any other connection. With OpenSSL 3.4 and
later, the end of one worker then cuts off clients and other workers.
"""

from __future__ import annotations

import functools
import ssl
from collections.abc import Callable
from typing import Any

__all__ = ["keep_connections_apart"]

OPERATIONS = ("read", "send", "do_handshake", "unwrap")


def keep_connections_apart() -> None:
    """From now on, empty OpenSSL's queue of errors in this process after each system error of a TLS connection."""
    if getattr(ssl.SSLSocket, "dask_flow_patched", False):
        return
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)

    def clearing(operation: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(operation)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            try:
                return operation(*args, **kwargs)
            except ssl.SSLError:
                raise
            except OSError:
                # To make a TLS object is the way to empty the queue that Python has.
                context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_side=True)
                raise

        return wrapped

    for name in OPERATIONS:
        setattr(ssl.SSLSocket, name, clearing(getattr(ssl.SSLSocket, name)))
    ssl.SSLSocket.dask_flow_patched = True  # type: ignore[attr-defined]
