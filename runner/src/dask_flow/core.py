"""Flow and task: a graph of Python functions, with the names of Prefect 0.x/1.x. What runs it is in `flows.dag`."""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple, Self, cast, overload

from dask_flow.errors import InputError

if TYPE_CHECKING:
    from types import TracebackType

    from dask_flow.environments import DaskKubernetesEnvironment, Docker

__all__ = ["Edge", "Flow", "FunctionTask", "Parameter", "Task", "task", "tasks_in"]

_open_flow: ContextVar[Flow | None] = ContextVar("open_flow", default=None)


class Edge(NamedTuple):
    """A dependency: `downstream` runs after `upstream`, and gets its result as argument `key`, unless that is None."""

    upstream: Task
    downstream: Task
    key: str | None = None


class Task:
    """A step of a flow. Subclass it and define `run`, or decorate a function with `task`."""

    def __init__(self, name: str | None = None) -> None:
        self.name = name or type(self).__name__

    def run(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the task's result; runs on a worker."""
        raise NotImplementedError(f"{type(self).__name__} does not define run()")

    @property
    def function(self) -> Callable[..., Any]:
        """What a worker calls."""
        return self.run

    def __repr__(self) -> str:
        return f"<Task: {self.name}>"

    def copy(self, **task_args: Any) -> Task:
        """Return an independent copy, with attributes replaced by `task_args`."""
        new = copy.copy(self)
        for name, value in task_args.items():
            if not hasattr(new, name):
                raise InputError(f"task {self.name!r} has no attribute {name!r} to set by task_args")
            setattr(new, name, value)
        return new

    def __call__(
        self,
        *args: Any,
        upstream_tasks: Iterable[Any] | None = None,
        task_args: Mapping[str, Any] | None = None,
        flow: Flow | None = None,
        **kwargs: Any,
    ) -> Task:
        """Add a copy of this task to the flow, bound to these arguments, and return the copy."""
        new = self.copy(**(task_args or {}))
        return new.bind(*args, upstream_tasks=upstream_tasks, flow=flow, **kwargs)

    def bind(
        self, *args: Any, upstream_tasks: Iterable[Any] | None = None, flow: Flow | None = None, **kwargs: Any
    ) -> Task:
        """Give this task its arguments in the flow: constants, tasks, or collections that hold tasks."""
        target = self._flow(flow)
        target.set_dependencies(
            self, upstream_tasks=upstream_tasks, keyword_tasks=_arguments(self.function, self.name, args, kwargs)
        )
        return self

    def set_upstream(self, task: Any, flow: Flow | None = None, key: str | None = None) -> Task:
        """Run `task` before this one; with `key`, its result becomes that argument."""
        self._flow(flow).add_edge(task, self, key=key)
        return self

    def set_downstream(self, task: Task, flow: Flow | None = None, key: str | None = None) -> Task:
        """Run `task` after this one; with `key`, this task's result becomes that argument of it."""
        self._flow(flow).add_edge(self, task, key=key)
        return self

    def set_dependencies(
        self,
        flow: Flow | None = None,
        upstream_tasks: Iterable[Any] | None = None,
        downstream_tasks: Iterable[Task] | None = None,
        keyword_tasks: Mapping[str, Any] | None = None,
    ) -> Task:
        """Set this task's dependencies in the flow, all at once."""
        self._flow(flow).set_dependencies(self, upstream_tasks, downstream_tasks, keyword_tasks)
        return self

    def _flow(self, flow: Flow | None) -> Flow:
        found = flow or _open_flow.get()
        if found is None:
            raise InputError(f"task {self.name!r}: no flow is open; pass flow=… or work inside `with Flow(…):`")
        return found


class FunctionTask(Task):
    """A task made from a function."""

    def __init__(self, fn: Callable[..., Any], name: str | None = None) -> None:
        super().__init__(name or fn.__name__)
        self.fn = fn
        functools.update_wrapper(self, fn, updated=())

    def run(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function."""
        return self.fn(*args, **kwargs)

    @property
    def function(self) -> Callable[..., Any]:
        """The user's function itself: workers need nothing of this package."""
        return self.fn


class Parameter(Task):
    """A value that each run of the flow may set: `--param NAME=VALUE`. Required unless it has a default."""

    def __init__(self, name: str, default: Any = None, required: bool | None = None) -> None:
        super().__init__(name)
        self.default = default
        self.required = default is None if required is None else required


@overload
def task(fn: Callable[..., Any], /) -> FunctionTask: ...
@overload
def task(*, name: str | None = None) -> Callable[[Callable[..., Any]], FunctionTask]: ...
def task(
    fn: Callable[..., Any] | None = None, /, *, name: str | None = None
) -> FunctionTask | Callable[[Callable[..., Any]], FunctionTask]:
    """Make a task from a function, as `@task` or `@task(name=…)`."""
    if fn is None:
        return lambda function: FunctionTask(function, name=name)
    return FunctionTask(fn, name=name)


class Flow:
    """A graph of tasks, built by the functional API (`with Flow(…):`) or the imperative one (`set_upstream`, …)."""

    def __init__(
        self,
        name: str,
        *,
        environment: DaskKubernetesEnvironment | None = None,
        storage: Docker | None = None,
        tasks: Iterable[Task] = (),
        edges: Iterable[Edge] = (),
    ) -> None:
        self.name = name
        self.environment = environment
        self.storage = storage
        self.arguments: dict[Task, dict[str, Any]] = {}
        self._upstream: dict[Task, set[Task]] = {}
        for each in tasks:
            self.add_task(each)
        for edge in edges:
            self.add_edge(*edge)

    def __repr__(self) -> str:
        return f'<Flow: name="{self.name}">'

    def __enter__(self) -> Self:
        self._token = _open_flow.set(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _open_flow.reset(self._token)

    @property
    def tasks(self) -> list[Task]:
        """The tasks, in the order in which they were added."""
        return list(self.arguments)

    @property
    def edges(self) -> list[Edge]:
        """The dependencies; a task inside a collection is an edge with that argument's key."""
        return [
            *(
                Edge(upstream, each, key)
                for each, arguments in self.arguments.items()
                for key, value in arguments.items()
                for upstream in tasks_in(value)
            ),
            *(Edge(upstream, each) for each, before in self._upstream.items() for upstream in before),
        ]

    def parameters(self) -> dict[str, Parameter]:
        """Return the flow's parameters by name."""
        return {each.name: each for each in self.arguments if isinstance(each, Parameter)}

    def get_tasks(self, name: str | None = None) -> list[Task]:
        """Return the tasks of this name, or all."""
        return [each for each in self.arguments if name is None or each.name == name]

    def upstream_tasks(self, task: Task) -> set[Task]:
        """Return the tasks that must finish before this one."""
        return self._upstream[task].union(*(tasks_in(value) for value in self.arguments[task].values()))

    def terminal_tasks(self) -> list[Task]:
        """Return the tasks that no other task waits for."""
        awaited = {upstream for each in self.arguments for upstream in self.upstream_tasks(each)}
        return [each for each in self.arguments if each not in awaited]

    def add_task(self, task: Task) -> Task:
        """Add a task, if it is not yet there."""
        if not isinstance(task, Task):
            raise InputError(f"flow {self.name!r}: {task!r} is not a task; decorate the function with @task")
        if task in self.arguments:
            return task
        if isinstance(task, Parameter) and task.name in self.parameters():
            raise InputError(f"flow {self.name!r}: two parameters have the name {task.name!r}")
        self.arguments[task] = {}
        self._upstream[task] = set()
        return task

    def add_edge(self, upstream_task: Any, downstream_task: Task, key: str | None = None) -> Edge:
        """Run the one task before the other; with `key`, hand its result over as that argument."""
        self.add_task(downstream_task)
        for each in tasks_in(upstream_task):
            self.add_task(each)
        if key is None:
            self._upstream[downstream_task].update(tasks_in(upstream_task))
        elif key in self.arguments[downstream_task]:
            raise InputError(f"flow {self.name!r}: argument {key!r} of task {downstream_task.name!r} is set twice")
        else:
            _check_argument(downstream_task, key)
            self.arguments[downstream_task][key] = upstream_task
        return Edge(upstream_task, downstream_task, key)

    def set_dependencies(
        self,
        task: Task,
        upstream_tasks: Iterable[Any] | None = None,
        downstream_tasks: Iterable[Task] | None = None,
        keyword_tasks: Mapping[str, Any] | None = None,
    ) -> None:
        """Set a task's dependencies, all at once; the values of `keyword_tasks` may be constants too."""
        self.add_task(task)
        for upstream in upstream_tasks or ():
            self.add_edge(upstream, task)
        for downstream in downstream_tasks or ():
            self.add_edge(task, downstream)
        for key, value in (keyword_tasks or {}).items():
            self.add_edge(value, task, key=key)

    def sorted_tasks(self) -> list[Task]:
        """Return the tasks so that each comes after those it waits for. Raises InputError for a cycle."""
        from graphlib import CycleError, TopologicalSorter

        try:
            return list(TopologicalSorter({each: self.upstream_tasks(each) for each in self.arguments}).static_order())
        except CycleError as error:
            cycle = " → ".join(each.name for each in reversed(error.args[1]))
            raise InputError(f"flow {self.name!r} has a cycle: {cycle}") from error


def tasks_in(value: Any) -> Iterator[Task]:
    """Yield the tasks in an argument: itself, or those that a list, tuple, set or dict holds, however deep."""
    if isinstance(value, Task):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from tasks_in(item)
    elif isinstance(value, list | tuple | set):
        for item in value:
            yield from tasks_in(item)


def _arguments(
    function: Callable[..., Any], name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> dict[str, Any]:
    try:
        bound = inspect.signature(function).bind_partial(*args, **kwargs)
    except TypeError as error:
        raise InputError(f"task {name!r}: {error}") from error
    arguments = dict(bound.arguments)
    for parameter in bound.signature.parameters.values():
        if parameter.kind is inspect.Parameter.VAR_POSITIONAL and arguments.pop(parameter.name, ()):
            raise InputError(f"task {name!r}: *{parameter.name} cannot be bound; name each argument, or take a list")
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            arguments.update(cast("dict[str, Any]", arguments.pop(parameter.name, {})))
    return arguments


def _check_argument(task: Task, key: str) -> None:
    parameters = inspect.signature(task.function).parameters
    if key not in parameters and not any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()):
        raise InputError(f"task {task.name!r} has no argument {key!r}; it has {', '.join(parameters) or 'none'}")
