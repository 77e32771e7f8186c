"""Run a Prefect 1 flow, as it is, with its own engine and DaskExecutor on a client's cluster."""

# mypy: disable-error-code="import-not-found"
from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from dask_flow.errors import InputError
from dask_flow.flows import FlowResult, short
from dask_flow.flows.ended import error_of, was_not_run
from dask_flow.flows.given import check_names
from dask_flow.log import described, listed

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["check", "run"]

log = logging.getLogger(__name__)

NOT_USED = {
    "executor": "the flow runs on the run's cluster",
    "run_config": "the chart's values and the options of the command say where it runs",
    "environment": "the chart's values and the options of the command say where it runs",
    "schedule": "it runs once, now; the chart's value run.schedule makes a CronJob of it",
}
"""What a flow may declare that has no effect here, and why."""


def check(flow: Any, params: Mapping[str, Any]) -> None:
    """Raise InputError for a flow that is not valid, or parameters that it does not have or lacks."""
    try:
        flow.validate()
    except ValueError as error:
        raise InputError(f"the flow {flow.name} is not valid: {described(error)}") from error
    parameters = sorted(flow.parameters(), key=lambda each: str(each.name))
    required = [each.name for each in parameters if each.required]
    check_names(flow.name, params, [each.name for each in parameters], required)


def run(flow: Any, client: Client, params: Mapping[str, Any]) -> FlowResult:
    """Run the flow once, whatever its schedule, and wait for it."""
    from prefect.executors import DaskExecutor

    from dask_flow.flows.worker_logs import worker_logs

    for name, why in NOT_USED.items():
        if getattr(flow, name, None) is not None:
            log.warning("the flow's %s is not used: %s", name, why)
    executor = DaskExecutor(address=client.scheduler.address, client_kwargs={"security": client.security})
    with worker_logs(client, "prefect"):
        state = flow.run(parameters=dict(params), executor=executor, run_on_schedule=False)
    return _result(flow, state)


def _result(flow: Any, state: Any) -> FlowResult:
    from dask_flow.flows.worker_logs import task_that_killed

    if not isinstance(state.result, dict):  # Prefect itself failed, as when workers die; it has logged that
        problem = error_of(state)
        return FlowResult(results={}, errors={task_that_killed(problem) or flow.name: problem}, logged=True)
    terminal = flow.terminal_tasks()
    ended = [(task, state.result[task]) for task in flow.sorted_tasks()]
    results = {
        task.name: short(end.result)
        for task, end in ended
        if task in terminal and end.is_successful() and end.result is not None
    }
    failed = [pair for task, end in ended for pair in _failed(task.name, end)]
    if not state.is_failed():
        if failed:
            log.warning("the flow succeeded in spite of failed tasks: %s", listed([name for name, _ in failed]))
        return FlowResult(results)
    not_run = [name for name, each in failed if was_not_run(each)]
    errors = {name: error_of(each) for name, each in failed if name not in not_run}
    return FlowResult(results, errors or {flow.name: error_of(state)}, tuple(not_run), logged=True)


def _failed(name: str, state: Any) -> Iterator[tuple[str, Any]]:
    """Yield the names and states that failed: the task's own, or those of a mapped task's items."""
    if state.is_mapped() and any(each.is_failed() for each in state.map_states):
        for index, each in enumerate(state.map_states):
            yield from _failed(f"{name}[{index}]", each)
    elif state.is_failed():
        yield name, state
