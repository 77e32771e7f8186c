"""Run a Prefect 3 flow, as it is, with its own engine and prefect-dask's task runner on a client's cluster."""

# mypy: disable-error-code="import-not-found"
from __future__ import annotations

import asyncio
import importlib.util
import inspect
import logging
from collections.abc import Mapping
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from dask_flow.errors import InputError
from dask_flow.flows import FlowResult, short
from dask_flow.flows.given import check_names
from dask_flow.text import printable

if TYPE_CHECKING:
    from distributed import Client

    from dask_flow.flows.worker_logs import LoggedFailures

__all__ = ["check", "run"]

log = logging.getLogger(__name__)

VERSION = 3


def check(flow: Any, params: Mapping[str, Any]) -> None:
    """Raise InputError for what cannot run here, and for parameters that are unknown, missing or of wrong types."""
    import prefect

    if int(prefect.__version__.partition(".")[0]) != VERSION:
        raise InputError(
            f"{flow.name} is a flow of Prefect {prefect.__version__}; Prefect 3 and 1.4.1 run here: install prefect>=3"
        )
    if importlib.util.find_spec("prefect_dask") is None:
        raise InputError(
            f"{flow.name} is a Prefect 3 flow, which needs the package prefect-dask: pip install 'dask-flow[prefect]', "
            "in the image too"
        )
    if flow.isgenerator:
        raise InputError(f"the flow {flow.name} is a generator; have it return its result, not yield it")
    _converted(flow, params)


def run(flow: Any, client: Client, params: Mapping[str, Any]) -> FlowResult:
    """Run the flow and wait for it: with the API of PREFECT_API_URL, else with a server of this run alone."""
    from prefect.settings import PREFECT_API_URL
    from prefect_dask import DaskTaskRunner

    from dask_flow.flows.default_client import as_default
    from dask_flow.flows.prefect3_server import own_server, without_api
    from dask_flow.flows.worker_logs import worker_logs

    runner = type(flow.task_runner).__name__
    if runner != "ThreadPoolTaskRunner":  # the default
        log.info("the flow's %s is not used: its tasks run on the run's cluster", runner)
    ours = DaskTaskRunner(address=client.scheduler.address, client_kwargs={"security": client.security})
    own_api = bool(PREFECT_API_URL.value())
    with (
        as_default(client),
        worker_logs(client, "prefect.main", None if own_api else without_api) as failures,
        nullcontext() if own_api else own_server(),
    ):
        state = flow.with_options(task_runner=ours)(**_converted(flow, params), return_state=True)
        if inspect.iscoroutine(state):
            state = asyncio.run(state)
        try:
            value = _values(state.result())
        except BaseException as error:
            problem = error
        else:
            return FlowResult(results={} if value is None else {flow.name: short(value)})
    return FlowResult(results={}, errors=_errors(flow.name, problem, failures), logged=True)


def _values(value: Any) -> Any:
    """Return what a flow returned, with the results of the tasks whose futures are in it."""
    from prefect.states import State
    from prefect.utilities.collections import visit_collection

    def result_of(each: Any) -> Any:
        return each.result() if isinstance(each, State) else each

    return visit_collection(value, visit_fn=result_of, return_data=True)


def _errors(flow: str, problem: BaseException, failures: LoggedFailures) -> dict[str, BaseException]:
    """Return why the flow failed by the name of the task run that raised it, with those that failed too.

    An exception does not say whose it is; the log does. What no task raised is the flow's own.
    """
    from dask_flow.flows.worker_logs import task_that_killed

    names = [
        name for name, (error, text) in failures.items() if error == printable(problem) or _timed_out(problem, text)
    ]
    if not names:
        return {task_that_killed(problem) or flow: problem}
    others = {name: RuntimeError(text.partition("\n")[0]) for name, (_, text) in failures.items() if name not in names}
    return {**dict.fromkeys(names, problem), **others}


def _timed_out(problem: BaseException, text: str) -> bool:
    return isinstance(problem, TimeoutError) and text.startswith("Task run exceeded timeout")


def _converted(flow: Any, params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters as the annotations of the flow's function want them. Raises InputError."""
    from dask_flow.flows.annotations import annotations_of, converted

    parameters = inspect.signature(flow.fn).parameters.values()
    named = [each for each in parameters if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)]
    takes_any = any(each.kind is each.VAR_KEYWORD for each in parameters)
    known = [each.name for each in named] + (list(params) if takes_any else [])
    check_names(flow.name, params, known, [each.name for each in named if each.default is each.empty])
    if not flow.should_validate_parameters:
        return dict(params)
    annotations, texts = annotations_of(flow.fn), getattr(params, "texts", {})
    return {
        name: converted(flow.fn.__name__, name, annotations[name], value, texts.get(name))
        if name in annotations
        else value
        for name, value in params.items()
    }
