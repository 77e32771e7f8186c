"""Run a function as a flow: its argument `client` is the Dask client, the others are parameters."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from dask_flow.core import Flow
from dask_flow.errors import InputError
from dask_flow.flows import FlowResult, short

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["check", "run"]

CLIENT = "client"


def check(flow: Callable[..., Any], params: Mapping[str, Any]) -> None:
    """Raise InputError for parameters that the function does not have, or needs and does not get."""
    signature, name = inspect.signature(flow), _name(flow)
    if inspect.iscoroutinefunction(flow) or inspect.isgeneratorfunction(flow) or inspect.isasyncgenfunction(flow):
        raise InputError(f"{name}() is a coroutine or a generator; define it by def, with return")
    known = [each for each in signature.parameters if each != CLIENT]
    takes_any = any(each.kind is each.VAR_KEYWORD for each in signature.parameters.values())
    for given in params:
        if given == CLIENT or (given not in known and not takes_any):
            raise InputError(f"{name}() has no parameter {given!r}; it has {', '.join(known) if known else 'none'}")
    missing = [
        each.name
        for each in signature.parameters.values()
        if each.name not in (CLIENT, *params) and each.default is each.empty
        if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)
    ]
    if missing:
        raise InputError(f"{name}() needs a value for {', '.join(missing)}; give --param {missing[0]}=VALUE")


def run(flow: Callable[..., Any], client: Client, params: Mapping[str, Any]) -> FlowResult:
    """Call the function here; the Dask collections and futures that it returns are computed."""
    arguments = dict(params)
    if CLIENT in inspect.signature(flow).parameters:
        arguments[CLIENT] = client
    try:
        value = _computed(flow(**arguments), client)
    except SystemExit as error:
        if error.code:
            return FlowResult(results={}, errors={_name(flow): error})
        return FlowResult(results={})
    except Exception as error:
        return FlowResult(results={}, errors={_name(flow): error})
    return FlowResult(results={} if value is None else {_name(flow): short(value)})


def _computed(value: Any, client: Client) -> Any:
    """Compute the Dask collections and futures in what the function returned, however deep in lists and dicts."""
    import dask

    if isinstance(value, Flow):
        raise TypeError("the function returned a Flow; define it at the top level of the file instead")
    return dask.compute(client.gather(value), scheduler=client)[0]


def _name(flow: Callable[..., Any]) -> str:
    return getattr(flow, "__name__", type(flow).__name__)
