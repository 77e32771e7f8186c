"""Send the code of a flow's own modules to workers along with what uses it, instead of the modules' names."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any

import cloudpickle
from distributed.protocol import pickle as dask_pickle

__all__ = ["send_by_value"]

_names: set[bytes] = set()
_plain_dumps: Callable[..., bytes] = dask_pickle.dumps


def send_by_value(modules: Iterable[ModuleType]) -> None:
    """From now on, send functions and classes of these modules to schedulers and workers by value.

    distributed tries plain pickle first, and asks cloudpickle's registry for the outermost object only: a function
    inside a graph would go by name. So its result is searched for the modules, as it does itself for `__main__`.
    """
    for module in modules:
        cloudpickle.register_pickle_by_value(module)
        _names.add(_as_pickled(module.__name__))
    dask_pickle.dumps = _dumps


def _as_pickled(name: str) -> bytes:
    """Return a name as pickle's protocol 4 and later writes it: an opcode, its length in a byte, its text."""
    text = name.encode()
    return pickle.SHORT_BINUNICODE + len(text).to_bytes(1, "little") + text


def _dumps(
    x: Any,
    *,
    buffer_callback: Callable[[pickle.PickleBuffer], Any] | None = None,
    protocol: int | None = dask_pickle.HIGHEST_PROTOCOL,
) -> bytes:
    buffers: list[pickle.PickleBuffer] = []
    options: dict[str, Any] = {"protocol": protocol or dask_pickle.HIGHEST_PROTOCOL}
    if buffer_callback is not None:
        options["buffer_callback"] = buffers.append
    result = _plain_dumps(x, **options)
    if any(name in result for name in _names):
        buffers.clear()
        result = cloudpickle.dumps(x, **options)
    if buffer_callback is not None:
        for buffer in buffers:
            buffer_callback(buffer)
    return result
