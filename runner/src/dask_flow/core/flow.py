"""Flow and task: a graph of Python functions, with the names and semantics of Prefect 1.x. `engine` runs it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, KeysView, Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Never, Self

from dask_flow.core.edge import Edge, Input, accepts, check_calls, check_mappable, has_tasks, tasks_in
from dask_flow.core.task import Parameter, Task
from dask_flow.errors import InputError
from dask_flow.not_here import SCHEDULE, NotHere
from dask_flow.run_context import context as context_here
from dask_flow.run_context import on_failure_handlers, scope

if TYPE_CHECKING:
    from types import TracebackType

    from dask_flow.engine.state import State

__all__ = ["Flow"]

log = logging.getLogger(__name__)

MAIN = 'if __name__ == "__main__":'


class Flow:
    """A graph of tasks, built by the functional API (`with Flow(…):`) or the imperative one (`set_upstream`, …).

    `state_handlers` are called with the flow, its old and its new state, and may return another one.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - as in Prefect
        self,
        name: str,
        schedule: None = None,
        executor: Any = None,
        environment: Any = None,
        run_config: Any = None,
        storage: Any = None,
        tasks: Iterable[Task] = (),
        edges: Iterable[Edge] = (),
        reference_tasks: Iterable[Task] | None = None,
        state_handlers: Iterable[Callable[[Flow, State, State], State | None]] = (),
        on_failure: Callable[[Flow, State], Any] | None = None,
        validate: bool | None = None,
        result: None = None,
        terminal_state_handler: Callable[[Flow, State, set[State]], State | None] | None = None,
    ) -> None:
        if schedule is not None:
            raise NotHere("Flow(schedule=…)")
        if result is not None:
            raise NotHere("Flow(result=…)")
        if not name:
            raise InputError("a flow needs a name: Flow(name)")
        self.name = name
        self.executor, self.environment, self.run_config, self.storage = executor, environment, run_config, storage
        self.state_handlers = [*state_handlers, *on_failure_handlers(on_failure)]
        self.terminal_state_handler = terminal_state_handler
        self.inputs: dict[Task, dict[str, Input]] = {}
        self.order_only: dict[Task, dict[Task, Input]] = {}
        self._reference_tasks: set[Task] | None = None
        for each in tasks:
            self.add_task(each)
        for edge in edges:
            self.add_edge(*edge)
        if reference_tasks:
            self.set_reference_tasks(reference_tasks)
        if validate:
            self.validate()

    def __repr__(self) -> str:
        return f'<Flow: name="{self.name}">'

    def __iter__(self) -> Iterator[Task]:
        return iter(self.sorted_tasks())

    def __getattr__(self, name: str) -> Any:
        raise NotHere(f"Flow.{name}") if NotHere.knows(f"Flow.{name}") else AttributeError(f"a Flow has no {name!r}")

    @classmethod
    def load(cls, *_: Any, **__: Any) -> Never:
        """Raise NotHere: flows come from files, images and URLs."""
        raise NotHere("Flow.load")

    @property
    def schedule(self) -> None:
        """None: schedules are the chart's. Setting one raises NotHere."""

    @schedule.setter
    def schedule(self, value: Any) -> None:
        if value is not None:
            raise NotHere("Flow.schedule")

    def __enter__(self) -> Self:
        self._before = scope.get()
        scope.set({**self._before, "flow": self})
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        scope.set(self._before)

    @property
    def tasks(self) -> KeysView[Task]:
        """The tasks, a set in the order in which they were added."""
        return self.inputs.keys()

    @property
    def edges(self) -> KeysView[Edge]:
        """The dependencies, a set; a task inside a collection is an edge with that argument's key."""
        return dict.fromkeys(edge for each in self.inputs for edge in self._edges_to(each)).keys()

    def _edges_to(self, task: Task) -> Iterator[Edge]:
        for key, given in self.inputs[task].items():
            for upstream in tasks_in(given.value):
                yield Edge(upstream, task, key, given.mapped, given.flattened)
        for upstream, given in self.order_only.get(task, {}).items():
            yield Edge(upstream, task, None, given.mapped, given.flattened)

    def edges_to(self, task: Task) -> set[Edge]:
        """Return the dependencies of this task."""
        return set(self._edges_to(task))

    def edges_from(self, task: Task) -> set[Edge]:
        """Return the dependencies on this task."""
        return {edge for edge in self.edges if edge.upstream_task is task}

    def parameters(self) -> KeysView[Parameter]:
        """Return the flow's parameters, a set in the order in which they were added."""
        return {each: None for each in self.inputs if isinstance(each, Parameter)}.keys()

    def get_tasks(
        self, name: str | None = None, slug: None = None, tags: Iterable[str] = (), task_type: type = Task
    ) -> list[Task]:
        """Return the tasks of this name, that have these tags, and are of this type."""
        if slug is not None:
            raise NotHere("get_tasks(slug=…)")
        return [
            each
            for each in self.inputs
            if (name is None or each.name == name) and each.tags.issuperset(tags) and isinstance(each, task_type)
        ]

    def upstream_tasks(self, task: Task) -> set[Task]:
        """Return the tasks that must finish before this one."""
        return {edge.upstream_task for edge in self._edges_to(task)}

    def downstream_tasks(self, task: Task) -> set[Task]:
        """Return the tasks that wait for this one."""
        return {edge.downstream_task for edge in self.edges_from(task)}

    def root_tasks(self) -> set[Task]:
        """Return the tasks that wait for no other."""
        return {each for each in self.inputs if not self.upstream_tasks(each)}

    def terminal_tasks(self) -> set[Task]:
        """Return the tasks that no other task waits for."""
        return set(self.inputs) - {edge.upstream_task for edge in self.edges}

    def reference_tasks(self) -> set[Task]:
        """Return the tasks whose states make the flow's: those that were set, else the terminal ones."""
        return self._reference_tasks if self._reference_tasks is not None else self.terminal_tasks()

    def set_reference_tasks(self, tasks: Iterable[Task]) -> None:
        """Let these tasks' states make the flow's; none: the terminal ones."""
        given = set(tasks)
        for each in given - set(self.inputs):
            raise InputError(f"flow {self.name!r}: the reference task {_name(each)!r} is not in the flow")
        self._reference_tasks = given or None

    def add_task(self, task: Task) -> Task:
        """Add a task, if it is not yet there."""
        if not isinstance(task, Task):
            raise InputError(f"flow {self.name!r}: {task!r} is not a task; decorate the function with @task")
        if task in self.inputs:
            return task
        if isinstance(task, Parameter) and any(each.name == task.name for each in self.parameters()):
            raise InputError(f"flow {self.name!r}: two parameters have the name {task.name!r}")
        self.inputs[task] = {}
        case = scope.get().get("case")
        if case is not None and not isinstance(task, Parameter):
            case.add_task(task, self)
        return task

    def add_edge(  # noqa: PLR0913, PLR0917 - as in Prefect
        self,
        upstream_task: Any,
        downstream_task: Task,
        key: str | None = None,
        mapped: bool = False,
        flattened: bool = False,
        validate: bool | None = None,
    ) -> Edge:
        """Run the one task before the other; with `key`, hand its result over as that argument."""
        given = Input.of(upstream_task, mapped=mapped, flattened=flattened)
        if isinstance(downstream_task, Parameter):
            raise InputError(f"flow {self.name!r}: parameter {downstream_task.name!r} cannot wait for a task")
        if key is None and not has_tasks(given.value):
            raise InputError(
                f"flow {self.name!r}: what {_name(downstream_task)!r} waits for must be a task, not {given.value!r}"
            )
        self.add_task(downstream_task)
        for each in tasks_in(given.value):
            self.add_task(each)
        if key is None:
            self.order_only.setdefault(downstream_task, {}).update((each, given) for each in tasks_in(given.value))
        elif key in self.inputs[downstream_task]:
            raise InputError(f"flow {self.name!r}: argument {key!r} of task {downstream_task.name!r} is set twice")
        else:
            accepts(downstream_task, key)
            check_mappable(downstream_task, key, given)
            self.inputs[downstream_task][key] = given
        if validate:
            self.validate()
        return Edge(given.value, downstream_task, key, given.mapped, given.flattened)

    def chain(self, *tasks: Task, validate: bool | None = None) -> list[Edge]:
        """Run these tasks one after the other."""
        return [self.add_edge(*pair, validate=validate) for pair in pairwise(tasks)]

    def set_dependencies(  # noqa: PLR0913, PLR0917 - as in Prefect
        self,
        task: Task,
        upstream_tasks: Iterable[Any] | None = None,
        downstream_tasks: Iterable[Task] | None = None,
        keyword_tasks: Mapping[str, Any] | None = None,
        mapped: bool = False,
        validate: bool | None = None,
    ) -> None:
        """Set a task's dependencies, all at once; the values of `keyword_tasks` may be constants too."""
        self.add_task(task)
        for upstream in upstream_tasks or ():
            self.add_edge(upstream, task, mapped=mapped)
        for downstream in downstream_tasks or ():
            self.add_edge(task, downstream)
        for key, value in (keyword_tasks or {}).items():
            self.add_edge(value, task, key=key, mapped=mapped)
        if validate:
            self.validate()

    def update(self, flow: Flow, merge_parameters: bool = False, validate: bool | None = None) -> None:
        """Add another flow's tasks and dependencies; with `merge_parameters`, parameters of one name become one."""
        ours = {each.name: each for each in self.parameters()} if merge_parameters else {}
        same: dict[Task, Task] = {each: ours[each.name] for each in flow.parameters() if each.name in ours}
        for each in flow.tasks - same.keys():
            self.add_task(each)
        for each, inputs in flow.inputs.items():
            for key, given in inputs.items():
                self.inputs[each][key] = given.replaced(same)
            for upstream, given in flow.order_only.get(each, {}).items():
                order = self.order_only.setdefault(same.get(each, each), {})
                order[same.get(upstream, upstream)] = given.replaced(same)
        if validate:
            self.validate()

    def sorted_tasks(self) -> list[Task]:
        """Return the tasks so that each comes after those it waits for. Raises InputError for a cycle."""
        from graphlib import CycleError, TopologicalSorter

        try:
            return list(TopologicalSorter({each: self.upstream_tasks(each) for each in self.inputs}).static_order())
        except CycleError as error:
            cycle = " → ".join(each.name for each in reversed(error.args[1]))
            raise InputError(f"flow {self.name!r} has a cycle: {cycle}") from error

    def validate(self) -> None:
        """Raise InputError for a cycle, and for a task that lacks an argument."""
        check_calls(self.name, {each: self.inputs[each] for each in self.sorted_tasks()})

    def run(
        self,
        parameters: Mapping[str, Any] | None = None,
        run_on_schedule: bool | None = None,
        runner_cls: None = None,
        executor: Any = None,
        context: Mapping[str, Any] | None = None,
        **parameters_by_name: Any,
    ) -> Any:
        """Run the flow here and return its state; `state.result[task]` is a task's. None while the file is loaded.

        `executor` is one of `dask_flow.executors`, by default the flow's own, else a LocalExecutor: in this process, a
        task after the other. Raises InputError for bad parameters, a cycle, and an empty flow.
        """
        if context_here.get("loading_flow"):
            log.warning(
                "flow %r: run() does nothing while dask-flow loads the file; it belongs below `%s`", self.name, MAIN
            )
            return None
        from dask_flow.engine.entry import run_flow

        if runner_cls is not None:
            raise NotHere("Flow.run(runner_cls=…)")
        if run_on_schedule:
            log.warning("flow %r: run_on_schedule has no effect here; %s", self.name, SCHEDULE)
        return run_flow(self, {**(parameters or {}), **parameters_by_name}, executor, dict(context or {}))

    def visualize(
        self,
        flow_state: State | None = None,
        filename: str | None = None,
        format: str | None = None,  # noqa: A002
    ) -> Any:
        """Draw the flow, and with `flow_state` what became of it; see `dask-flow graph`."""
        from dask_flow.graph import visualize

        return visualize(self, flow_state=flow_state, filename=filename, format=format)


def _name(value: Any) -> str:
    return str(getattr(value, "name", value))
