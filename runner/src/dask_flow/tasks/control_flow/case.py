"""`with case(task, value):` runs what is inside if the task's result equals the value."""

from __future__ import annotations

from typing import Any, Self

from dask_flow.core import Flow, Task
from dask_flow.engine.signals import SKIP
from dask_flow.errors import InputError
from dask_flow.run_context import scope

__all__ = ["CompareValue", "case"]


class CompareValue(Task):
    """Succeeds if what it gets equals `value`, and is skipped if not."""

    def __init__(self, value: Any, **task_args: Any) -> None:
        self.value = value
        super().__init__(**{"name": f'CompareValue: "{value}"', **task_args})

    def run(self, value: Any) -> None:
        """Raise SKIP if the value is another one."""
        if value != self.value:
            raise SKIP(f'Provided value "{value}" did not match "{self.value}"')


class case:  # noqa: N801 - the name that a user types
    """A block of a flow: its tasks run only if the result of `task` equals `value`."""

    def __init__(self, task: Task, value: Any) -> None:
        if isinstance(value, Task):
            raise InputError(f"case({task.name}, …): the value must be a constant, not the task {value.name!r}")
        self.task, self.value = task, value
        self._tasks: dict[Task, None] = {}
        self._flow: Flow | None = None

    def add_task(self, task: Task, flow: Flow) -> None:
        """Take a task into the block; a flow calls this for each that is added to it inside."""
        if self._flow not in (None, flow):
            raise InputError(f"case({self.task.name}, {self.value!r}) has tasks of two flows")
        self._flow = flow
        self._tasks[task] = None

    def __enter__(self) -> Self:
        self._before = scope.get()
        scope.set({**self._before, "case": self})
        return self

    def __exit__(self, *_: object) -> None:
        scope.set(self._before)
        if self._flow is None:
            return
        condition = CompareValue(self.value, name=f"case({self.value})").bind(value=self.task, flow=self._flow)
        for each in self._tasks:
            if not self._flow.upstream_tasks(each).intersection(self._tasks):
                each.set_upstream(condition, flow=self._flow)
