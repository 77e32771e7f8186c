"""Run a function as a flow: its argument `client` is the Dask client, the others are parameters."""

from __future__ import annotations

import asyncio
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
    """Raise InputError for parameters that the function does not have, or needs and does not get, or of wrong types."""
    parameters, name = inspect.signature(flow).parameters.values(), _name(flow)
    if inspect.isgeneratorfunction(flow) or inspect.isasyncgenfunction(flow):
        raise InputError(f"{name}() is a generator; have it return its result, not yield it")
    takes_any = any(each.kind is each.VAR_KEYWORD for each in parameters)
    named = [each for each in parameters if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)]
    known = [each.name for each in named if each.name != CLIENT]
    for given in params:
        if given == CLIENT or (given not in known and not takes_any):
            raise InputError(f"{name}() has no parameter {given!r}; it has {', '.join(known) if known else 'none'}")
    missing = [each.name for each in named if each.default is each.empty and each.name not in (CLIENT, *params)]
    if missing:
        raise InputError(f"{name}() needs a value for {', '.join(missing)}; give --param {missing[0]}=VALUE")
    _converted(flow, params)


def run(flow: Callable[..., Any], client: Client, params: Mapping[str, Any]) -> FlowResult:
    """Call the function here; the Dask collections and futures that it returns are computed. A coroutine is run."""
    from dask_flow.flows.default_client import as_default

    try:
        with as_default(client):
            value = _computed(_called(flow, client, params), client)
    except SystemExit as error:
        if error.code:
            return FlowResult(results={}, errors={_name(flow): error})
        return FlowResult(results={})
    except Exception as error:
        return FlowResult(results={}, errors={_name(flow): error})
    return FlowResult(results={} if value is None else {_name(flow): short(value)})


def _called(flow: Callable[..., Any], client: Client, params: Mapping[str, Any]) -> Any:
    parameters = inspect.signature(flow).parameters
    arguments = _converted(flow, params)
    if CLIENT in parameters:
        arguments[CLIENT] = client
    by_position = [each.name for each in parameters.values() if each.kind is each.POSITIONAL_ONLY]
    positional = [arguments.pop(name) for name in by_position if name in arguments]
    value = flow(*positional, **arguments)
    return asyncio.run(value) if inspect.iscoroutine(value) else value


def _converted(flow: Callable[..., Any], params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters as the function's annotations want them; those of `**kwargs` are of all that it takes."""
    if not params:
        return {}
    from dask_flow.flows.annotations import annotations_of, converted

    annotations, texts = annotations_of(flow), getattr(params, "texts", {})
    parameters = inspect.signature(flow).parameters
    rest = next((each.name for each in parameters.values() if each.kind is each.VAR_KEYWORD), "")
    values = {}
    for name, value in params.items():
        annotation = annotations.get(name if name in parameters else rest)
        found = annotation is not None
        values[name] = converted(_name(flow), name, annotation, value, texts.get(name)) if found else value
    return values


def _computed(value: Any, client: Client) -> Any:
    """Compute the Dask collections and futures in what the function returned, however deep in lists and dicts."""
    import dask

    if isinstance(value, Flow):
        raise TypeError("the function returned a Flow; define it at the top level of the file instead")
    return dask.compute(client.gather(value), scheduler=client)[0]


def _name(flow: Callable[..., Any]) -> str:
    return getattr(flow, "__name__", type(flow).__name__)
