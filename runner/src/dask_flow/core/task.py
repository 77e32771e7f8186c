"""Task: a step of a flow, made from a function or a class, with the names and semantics of Prefect 1.x."""

from __future__ import annotations

import datetime as dt
import functools
import typing
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, overload

from dask_flow import triggers
from dask_flow.core.edge import Annotation, bind, mappable, signature_of
from dask_flow.errors import InputError
from dask_flow.not_here import NotHere
from dask_flow.run_context import context, on_failure_handlers, scope, task_logger

if TYPE_CHECKING:
    import logging

    from dask_flow.core.flow import Flow
    from dask_flow.engine.state import State

__all__ = ["FunctionTask", "Parameter", "Task", "tags", "task"]

Seconds = float | dt.timedelta
StateHandler = Callable[[Any, Any, Any], Any]


class Task:
    """A step of a flow. Subclass it and define `run`, or decorate a function with `task`.

    `max_retries` attempts follow a failed one, each after `retry_delay`, for exceptions of the types `retry_on`.
    `timeout` is in seconds. `trigger` says by the states of the tasks before it whether it runs; see `triggers`.
    `state_handlers` are called with the task, its old and its new state, where it runs, and may return another one.
    `log_stdout` makes what it prints lines of the log. `nout` is the number of results that it can be unpacked into.
    Tags such as `dask-resource:GPU=1` ask for a resource of a Dask worker. `batch`: how many items of a map one Dask
    task computes; None has it measured.
    """

    is_dask_flow_task = True
    slug = checkpoint = task_run_name = None

    def __init__(  # noqa: PLR0913, PLR0917 - as in Prefect
        self,
        name: str | None = None,
        slug: str | None = None,
        tags: Iterable[str] | None = None,
        max_retries: int | None = None,
        retry_delay: dt.timedelta | None = None,
        retry_on: type[Exception] | Iterable[type[Exception]] | None = None,
        timeout: Seconds | None = None,
        trigger: triggers.Trigger | None = None,
        skip_on_upstream_skip: bool = True,
        cache_for: None = None,
        cache_validator: None = None,
        cache_key: None = None,
        checkpoint: bool | None = None,
        state_handlers: Sequence[StateHandler] | None = None,
        on_failure: Callable[[Task, State], Any] | None = None,
        log_stdout: bool = False,
        result: None = None,
        target: None = None,
        task_run_name: Any = None,
        nout: int | None = None,
        batch: int | None = None,
    ) -> None:
        _refuse(cache_for=cache_for, cache_validator=cache_validator, cache_key=cache_key, result=result, target=target)
        self.name = str(name or type(self).__name__)
        _without_effect(self.name, checkpoint=checkpoint, task_run_name=task_run_name, slug=slug)
        if isinstance(tags, str):
            raise InputError(f"task {self.name!r}: tags must be a set of tags, not the text {tags!r}")
        self.tags: set[str] = {*(tags or ()), *scope.get().get("tags", ())}
        self.max_retries = max_retries or 0
        self.retry_delay = retry_delay
        self.retry_on = _exceptions(self.name, retry_on)
        self.timeout = timeout.total_seconds() if isinstance(timeout, dt.timedelta) else timeout
        self.trigger = trigger or triggers.all_successful
        self.skip_on_upstream_skip = skip_on_upstream_skip
        self.state_handlers = [*(state_handlers or ()), *on_failure_handlers(on_failure)]
        self.log_stdout = log_stdout
        self.nout = _nout(self) if nout is None else nout
        self.batch = batch
        _check(self)

    def run(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the task's result; runs on a worker. A task without it only marks a place in the flow."""

    @property
    def callee(self) -> Callable[..., Any]:
        """What a worker calls."""
        return self.run

    @property
    def logger(self) -> logging.Logger:
        """The task's logger."""
        return task_logger(self.name)

    def __repr__(self) -> str:
        return f"<Task: {self.name}>"

    def copy(self, **task_args: Any) -> Task:
        """Return an independent copy, with attributes replaced by `task_args`."""
        new = type(self).__new__(type(self))
        for name, value in vars(self).items():
            setattr(new, name, value)
        for name, value in task_args.items():
            if not hasattr(new, name):
                raise InputError(f"task {self.name!r} has no attribute {name!r} to set by task_args")
            setattr(new, name, value)
        new.tags = {*self.tags, *new.tags, *scope.get().get("tags", ())}
        return new

    def __call__(
        self,
        *args: Any,
        mapped: bool = False,
        task_args: Mapping[str, Any] | None = None,
        upstream_tasks: Iterable[Any] | None = None,
        flow: Flow | None = None,
        **kwargs: Any,
    ) -> Task:
        """Add a copy of this task to the flow, bound to these arguments, and return the copy."""
        new = self.copy(**(task_args or {}))
        return new.bind(*args, mapped=mapped, upstream_tasks=upstream_tasks, flow=flow, **kwargs)

    def bind(
        self,
        *args: Any,
        mapped: bool = False,
        upstream_tasks: Iterable[Any] | None = None,
        flow: Flow | None = None,
        **kwargs: Any,
    ) -> Task:
        """Give this task its arguments in the flow: constants, tasks, or collections that hold tasks."""
        target = self._flow(flow)
        target.set_dependencies(
            self, upstream_tasks=upstream_tasks, keyword_tasks=bind(self, args, kwargs), mapped=mapped
        )
        self.tags.update(scope.get().get("tags", ()))
        return self

    def map(
        self,
        *args: Any,
        upstream_tasks: Iterable[Any] | None = None,
        flow: Flow | None = None,
        task_args: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> Task:
        """Call a copy of this task once for each item of its arguments, but for those in `unmapped(…)`.

        The shortest of the arguments says how many items there are.
        """
        for each in (*args, *kwargs.values()):
            if not isinstance(each, Task | Annotation | list | tuple):
                mappable(each, f"task {self.name!r}: {each!r:.60}")
        new = self.copy(**{"nout": None, **(task_args or {})})
        return new.bind(*args, mapped=True, upstream_tasks=upstream_tasks, flow=flow, **kwargs)

    def set_upstream(self, task: Any, flow: Flow | None = None, key: str | None = None, mapped: bool = False) -> Task:
        """Run `task` before this one; with `key`, its result becomes that argument."""
        self._flow(flow).add_edge(task, self, key=key, mapped=mapped)
        return self

    def set_downstream(
        self, task: Task, flow: Flow | None = None, key: str | None = None, mapped: bool = False
    ) -> Task:
        """Run `task` after this one; with `key`, this task's result becomes that argument of it."""
        self._flow(flow).add_edge(self, task, key=key, mapped=mapped)
        return self

    def set_dependencies(  # noqa: PLR0913, PLR0917 - as in Prefect
        self,
        flow: Flow | None = None,
        upstream_tasks: Iterable[Any] | None = None,
        downstream_tasks: Iterable[Task] | None = None,
        keyword_tasks: Mapping[str, Any] | None = None,
        mapped: bool = False,
        validate: bool | None = None,
    ) -> Task:
        """Set this task's dependencies in the flow, all at once."""
        self._flow(flow).set_dependencies(self, upstream_tasks, downstream_tasks, keyword_tasks, mapped, validate)
        return self

    def pipe(self, task: Any, **kwargs: Any) -> Any:
        """Hand this task's result to another task, which is returned; `unmapped` and its like may be in its place."""
        return task(self, **kwargs)

    def _flow(self, flow: Flow | None) -> Flow:
        found: Flow | None = flow or scope.get().get("flow")
        if found is None:
            raise InputError(
                f"task {self.name!r}: no flow is open; pass flow=… or work inside `with Flow(…):`"
                " (to call the function itself: .run(…))"
            )
        return found

    def __iter__(self) -> Iterator[Task]:
        if self.nout is None:
            raise InputError(
                f"task {self.name!r} cannot be unpacked: say how many results it has, by @task(nout=…) "
                "or by the annotation of what it returns, such as tuple[int, str]"
            )
        return (self[number] for number in range(self.nout))

    def __getitem__(self, key: Any) -> Task:
        return operated("GetItem", self, key)

    def is_equal(self, other: Any) -> Task:
        """Return a task whose result is whether the two are equal."""
        return operated("Equal", self, other)

    def is_not_equal(self, other: Any) -> Task:
        """Return a task whose result is whether the two are not equal."""
        return operated("NotEqual", self, other)

    def not_(self) -> Task:
        """Return a task whose result is the opposite."""
        return operated("Not", self)

    def or_(self, other: Any) -> Task:
        """Return a task whose result is `self or other`."""
        return operated("Or", self, other)

    def __or__(self, other: Any) -> Any:
        """Run `other` after this one, and return it."""
        self._flow(None).add_edge(self, other)
        return other

    def __ror__(self, other: Any) -> Task:
        return self.set_upstream(other)


METHODS = {
    "add": "Add",
    "sub": "Sub",
    "mul": "Mul",
    "truediv": "Div",
    "floordiv": "FloorDiv",
    "mod": "Mod",
    "pow": "Pow",
    "and": "And",
}
COMPARISONS = {"gt": "GreaterThan", "ge": "GreaterThanOrEqual", "lt": "LessThan", "le": "LessThanOrEqual"}


def operated(name: str, *operands: Any) -> Task:
    """Return a task that applies an operator of Python, by Prefect's name of it, to results."""
    from dask_flow.core.operators import Operator

    return Operator.named(name, operands).bind(*operands)


def _method(name: str, *, reverse: bool = False) -> Callable[[Any, Any], Task]:
    return lambda self, other: operated(name, other, self) if reverse else operated(name, self, other)


for _python, _name in {**METHODS, **COMPARISONS}.items():
    setattr(Task, f"__{_python}__", _method(_name))
for _python, _name in METHODS.items():
    setattr(Task, f"__r{_python}__", _method(_name, reverse=True))


class FunctionTask(Task):
    """A task made from a function."""

    def __init__(self, fn: Callable[..., Any], name: str | None = None, **kwargs: Any) -> None:
        if not callable(fn):
            raise InputError(f"@task is for functions, not for {fn!r}")
        self.run = fn  # type: ignore[method-assign]
        super().__init__(name or getattr(fn, "__name__", type(fn).__name__), **kwargs)
        functools.update_wrapper(self, fn, updated=())


_NO_DEFAULT: Any = type("no_default", (), {"__repr__": lambda _: "no_default"})()


class Parameter(Task):
    """A value that each run of the flow may set: `--param NAME=VALUE`. Required unless it has a default."""

    def __init__(
        self, name: str, default: Any = _NO_DEFAULT, required: bool | None = None, tags: Iterable[str] | None = None
    ) -> None:
        super().__init__(name, tags=tags)
        self.default = None if default is _NO_DEFAULT else default
        self.required = default is _NO_DEFAULT if required is None else required

    def run(self) -> Any:
        """Return this run's value."""
        return context.get("parameters", {}).get(self.name, self.default)

    def copy(self, **_: Any) -> Task:
        """Return the parameter itself: a flow has one of each name."""
        return self


@overload
def task(fn: Callable[..., Any], /) -> FunctionTask: ...
@overload
def task(**task_args: Any) -> Callable[[Callable[..., Any]], FunctionTask]: ...
def task(
    fn: Callable[..., Any] | None = None, /, **task_args: Any
) -> FunctionTask | Callable[[Callable[..., Any]], FunctionTask]:
    """Make a task from a function, as `@task` or `@task(name=…, max_retries=…)`; the arguments are those of Task."""
    if fn is None:
        return lambda function: _function_task(function, task_args)
    return _function_task(fn, task_args)


def _function_task(fn: Callable[..., Any], task_args: Mapping[str, Any]) -> FunctionTask:
    try:
        return FunctionTask(fn, **task_args)
    except TypeError as error:
        raise InputError(f"@task: {str(error).partition('() ')[2] or error}") from error


@contextmanager
def tags(*names: str) -> Iterator[None]:
    """Give these tags to the tasks that are made inside."""
    with context(tags={*scope.get().get("tags", ()), *names}):
        yield


def _refuse(**given: Any) -> None:
    for name, value in given.items():
        if value is not None:
            raise NotHere(f"Task({name}=…)")


_warned: set[str] = set()


def _without_effect(task: str, **given: Any) -> None:
    for name, value in given.items():
        if value is not None and name not in _warned:
            _warned.add(name)
            warnings.warn(f"task {task!r}: {name} has no effect here", stacklevel=5)


def _exceptions(name: str, given: Any) -> tuple[type[Exception], ...]:
    kinds = tuple(given) if isinstance(given, Iterable) else (given,) if given else ()
    for each in kinds:
        if not (isinstance(each, type) and issubclass(each, Exception)):
            raise InputError(f"task {name!r}: retry_on takes types of exceptions, not {each!r}")
    return kinds


def _nout(task: Task) -> int | None:
    """Return the number of items of the tuple that `run` is annotated to return."""
    try:
        returned = typing.get_type_hints(task.run).get("return") if hasattr(task.run, "__annotations__") else None
    except Exception:  # an annotation that cannot be evaluated says nothing
        return None
    items = typing.get_args(returned)
    if typing.get_origin(returned) is not tuple or Ellipsis in items:
        return None
    return 0 if items == ((),) else len(items)


def _argument_names(task: Task) -> list[str]:
    try:
        return list(signature_of(task).parameters)
    except ValueError:  # some builtin functions do not tell
        return []


def _check(task: Task) -> None:
    if task.max_retries < 0 or (task.max_retries and task.retry_delay is None):
        raise InputError(
            f"task {task.name!r}: max_retries={task.max_retries} needs a retry_delay, a datetime.timedelta"
        )
    if not task.max_retries and (task.retry_delay is not None or task.retry_on):
        raise InputError(f"task {task.name!r}: retry_delay and retry_on need max_retries of at least 1")
    if task.retry_delay is not None and not isinstance(task.retry_delay, dt.timedelta):
        raise InputError(f"task {task.name!r}: retry_delay must be a datetime.timedelta, not {task.retry_delay!r}")
    if task.timeout is not None and not task.timeout > 0:
        raise InputError(f"task {task.name!r}: timeout must be more than 0 seconds, not {task.timeout!r}")
    if task.batch is not None and task.batch < 1:
        raise InputError(f"task {task.name!r}: batch must be at least 1, not {task.batch!r}")
    reserved = {"flow", "mapped", "task_args", "upstream_tasks"}.intersection(_argument_names(task))
    if reserved:
        raise InputError(f"task {task.name!r}: an argument must not be called {min(reserved)!r}, as one of map() is")
    if not callable(task.trigger):
        raise InputError(f"task {task.name!r}: trigger must be callable, not {task.trigger!r}")
    if task.trigger is triggers.manual_only:
        triggers.manual_only({})
