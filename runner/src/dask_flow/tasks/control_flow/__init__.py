"""Branches of a flow: `case`, `switch`, `ifelse` and `merge`, with the semantics of Prefect 1.x."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dask_flow.core import Flow, Task, tags
from dask_flow.core.task import FunctionTask
from dask_flow.errors import InputError
from dask_flow.run_context import context
from dask_flow.tasks.control_flow.case import CompareValue, case
from dask_flow.triggers import not_all_skipped

__all__ = ["CompareValue", "Merge", "case", "ifelse", "merge", "switch"]


class Merge(Task):
    """The first of its arguments, by name, that is not None; skipped if all before it were."""

    def __init__(self, **task_args: Any) -> None:
        super().__init__(**{"skip_on_upstream_skip": False, "trigger": not_all_skipped, **task_args})

    def run(self, **task_results: Any) -> Any:
        """Return the first result that is not None."""
        return next((value for _, value in sorted(task_results.items()) if value is not None), None)


def switch(condition: Task, cases: Mapping[Any, Any], mapped: bool = False) -> None:
    """Run the task whose key equals the condition's result, and skip the others."""
    with tags("switch"):
        for value, chosen in cases.items():
            if not isinstance(chosen, Task):
                raise InputError(
                    f"flow {context['flow'].name!r}: the branch for {value!r} must be one task, not {chosen!r:.60}; "
                    f"for several of them: `with case(task, {value!r}):`"
                )
            match = CompareValue(value).bind(value=condition, mapped=mapped)
            context["flow"].set_dependencies(chosen, upstream_tasks=[match], mapped=mapped)


def ifelse(condition: Task, true_task: Any, false_task: Any, mapped: bool = False) -> None:
    """Run the one task if the condition's result is true, else the other, and skip the one that is not run."""
    as_bool = FunctionTask(_as_bool, name="as_bool")(condition, mapped=mapped)
    cases = {value: each for value, each in ((True, true_task), (False, false_task)) if each is not None}
    switch(as_bool, cases, mapped=mapped)


def _as_bool(x: Any) -> bool:
    return bool(x)


def merge(*tasks: Any, flow: Flow | None = None, mapped: bool = False, **task_args: Any) -> Task:
    """Return a task whose result is the first that is not None: that of the branch which ran."""
    given = {f"task_{number}": each for number, each in enumerate(tasks, 1)}
    return Merge(**task_args).bind(flow=flow, mapped=mapped, **given)
