"""Check the names of a run's parameters against those that a flow has."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from dask_flow.errors import InputError

__all__ = ["check_names"]


def check_names(flow: str, params: Mapping[str, Any], known: Collection[str], required: Iterable[str]) -> None:
    """Raise InputError for a parameter that the flow does not have, or that it needs and does not get."""
    for given in params:
        if given not in known:
            there = f"it has {', '.join(known)}" if known else "it has none"
            raise InputError(f"the flow {flow} has no parameter {given!r}; {there}")
    missing = [name for name in required if name not in params]
    if missing:
        raise InputError(f"the flow {flow} needs a value for {', '.join(missing)}; give --param {missing[0]}=VALUE")
