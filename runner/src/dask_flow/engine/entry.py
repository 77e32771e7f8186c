"""From a flow and its parameters to its state."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from typing import Any

from dask_flow.core import Flow, Parameter, Task
from dask_flow.engine import signals
from dask_flow.engine.backends import Backend
from dask_flow.engine.flow_run import FlowRun
from dask_flow.engine.state import Failed, Mapped, Pending, Running, State, Success
from dask_flow.engine.work import handled
from dask_flow.errors import InputError
from dask_flow.run_context import scope

__all__ = ["check", "failed_states", "flow_state", "run_flow", "run_on"]

log = logging.getLogger(__name__)


def check(flow: Flow, parameters: Mapping[str, Any]) -> None:
    """Raise InputError for an empty flow, a cycle, a missing argument, and parameters that are unknown or missing."""
    known = {each.name: each for each in flow.parameters()}
    if not flow.tasks:
        raise InputError(f"flow {flow.name!r} has no tasks")
    unknown = [name for name in parameters if name not in known]
    if unknown:
        raise InputError(
            f"flow {flow.name!r} has no parameter {unknown[0]!r}; it has {', '.join(known) if known else 'none'}"
        )
    missing = [name for name, parameter in known.items() if parameter.required and name not in parameters]
    if missing:
        raise InputError(f"flow {flow.name!r} needs a value for {', '.join(missing)}; give --param {missing[0]}=VALUE")
    flow.validate()
    _check_mapped(flow, {name: parameters.get(name, each.default) for name, each in known.items()})


def _check_mapped(flow: Flow, values: Mapping[str, Any]) -> None:
    """Raise InputError if a parameter is mapped over whose value has no items."""
    from dask_flow.core.edge import mappable

    for task, inputs in flow.inputs.items():
        for given in (*inputs.values(), *flow.order_only.get(task, {}).values()):
            if given.mapped and isinstance(given.value, Parameter):
                name = given.value.name
                mappable(values[name], f"parameter {name!r}, which task {task.name!r} maps over,")


def run_flow(flow: Flow, parameters: Mapping[str, Any], executor: Any, context: Mapping[str, Any]) -> State:
    """Run a flow from Python: `Flow.run`. All tasks' results are fetched before the executor closes."""
    from dask_flow.executors import executor_of, report_of

    if scope.get().get("flow") is not None:
        raise InputError(f"flow {flow.name!r}: run() inside `with Flow(…):`; call it after the block")
    check(flow, parameters)
    _show_log()
    chosen = executor if executor is not None else executor_of(flow)
    with chosen.open() as backend, report_of(chosen, getattr(backend, "client", None)):
        run, state = run_on(backend, flow, parameters, context)
        if isinstance(state.result, dict):
            run.results.fetch_all(run.nodes)
        run.release()
    log.info("flow %s: %s", flow.name, state.message)
    return state


def run_on(
    backend: Backend,
    flow: Flow,
    parameters: Mapping[str, Any],
    context: Mapping[str, Any] | None = None,
    keep: Collection[Task] | None = None,
) -> tuple[FlowRun, State]:
    """Run a flow on a backend, and return the run and the flow's state."""
    run = FlowRun(flow, backend, parameters, context, keep)
    state = handled(flow, Pending(), Running("Running flow."))
    if not state.is_running():
        return run, state
    states = run.run()
    return run, handled(flow, state, flow_state(flow, states))


def flow_state(flow: Flow, states: dict[Task, State]) -> State:
    """Return the state that the reference tasks' make."""
    reference = [states[each] for each in flow.reference_tasks()]
    state: State = Success("All reference tasks succeeded.", states)
    if any(failed_states(each) for each in reference):
        state = Failed("Some reference tasks failed.", states)
    if flow.terminal_state_handler is not None:
        ends = {child for each in reference for child in [each, *getattr(each, "map_states", ())]}
        try:
            state = flow.terminal_state_handler(flow, state, ends) or state
        except signals.PrefectStateSignal as signal:
            state = signal.state
    return state


def failed_states(state: State) -> dict[int | None, State]:
    """Return a task's state if that is a failure, under None; of a mapped task those of its items, by their numbers."""
    of_task: dict[int | None, State] = {None: state}
    states = {**state.unsuccessful} if isinstance(state, Mapped) else of_task
    return {number: each for number, each in states.items() if each.is_failed()}


def _show_log() -> None:
    """Show the log's lines if nobody set up logging: a flow's own are at level INFO."""
    if not logging.getLogger().handlers and not logging.getLogger("dask_flow").handlers:
        from dask_flow.log import configure

        configure("text")
