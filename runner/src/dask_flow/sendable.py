"""Errors as workers can send them: an error's own code makes its text and its pickle, and Dask calls it unguarded.

Where that raises, ends the process, takes long or makes a text that is none, the worker loses its connection, or ends:
https://github.com/dask/distributed/blob/2026.8.0/distributed/core.py, `error_message`.
"""

from __future__ import annotations

import contextlib
import functools
from typing import Any

import cloudpickle

from dask_flow.text import printable

__all__ = ["dask_setup", "send_errors_safely", "sendable"]

LONGEST_ERROR, LONGEST_TEXT = 1_000_000, 10_000
"""So many bytes of an error are sent, as there may be one for each item; else so many characters of its text."""

HARMLESS = "harmless"

_namesakes: dict[tuple[str, str], type[RuntimeError]] = {}


def sendable(error: BaseException) -> BaseException:
    """Return an error, or if it cannot be pickled, would be too long or has no text, a RuntimeError shown as it is."""
    with contextlib.suppress(Exception):
        pickled = cloudpickle.dumps(error)
        cloudpickle.loads(pickled)
        if len(pickled) <= LONGEST_ERROR and printable(error, form=_has_texts) == HARMLESS:
            return error
    namesake = _namesake(type(error))(printable(error, LONGEST_TEXT, str))
    return namesake.with_traceback(error.__traceback__)


def _namesake(kind: type) -> type[RuntimeError]:
    """Return a type of error that is shown as `kind` and that cloudpickle sends by value, as no module has it."""
    names = (str(kind.__module__), kind.__qualname__)
    if names not in _namesakes:
        body = {"__module__": names[0], "__qualname__": names[1]}
        _namesakes[names] = type(kind.__name__, (RuntimeError,), body)
    return _namesakes[names]


def _has_texts(error: BaseException) -> str:
    str(error)
    repr(error).encode()
    return HARMLESS


def send_errors_safely() -> None:
    """From now on, have the workers in this process send what tasks raise as `sendable` returns it."""
    from distributed import worker

    plain = worker.error_message
    if hasattr(plain, "__wrapped__"):
        return

    @functools.wraps(plain)
    def error_message(error: BaseException, *args: Any) -> Any:
        return plain(sendable(error), *args)

    worker.error_message = error_message


def dask_setup(_: Any) -> None:
    """Do so in a worker that is told to preload this module."""
    send_errors_safely()
