"""What a task's argument is made of: constants, tasks, collections that hold tasks; mapped over, flattened or whole."""

from __future__ import annotations

import functools
import inspect
import operator
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from dask_flow.errors import InputError

if TYPE_CHECKING:
    from dask_flow.core.task import Task

__all__ = [
    "Annotation",
    "Edge",
    "Input",
    "accepts",
    "bind",
    "check_calls",
    "check_mappable",
    "flatten",
    "has_tasks",
    "mappable",
    "mapped",
    "rebuilt",
    "replace_tasks",
    "signature_of",
    "split",
    "tasks_in",
    "unmapped",
]


class Edge(NamedTuple):
    """A dependency: `downstream_task` runs after `upstream_task`, and gets its result as the argument `key`, if any."""

    upstream_task: Any
    downstream_task: Any
    key: str | None = None
    mapped: bool = False
    flattened: bool = False


class Annotation:
    """Says how an argument is handed over."""

    def __init__(self, value: Any) -> None:
        self.value = value


class unmapped(Annotation):  # noqa: N801 - the name that a user types
    """Hand the argument over whole to each item of a map."""


class mapped(Annotation):  # noqa: N801 - the name that a user types
    """Map over the argument."""


class flatten(Annotation):  # noqa: N801 - the name that a user types
    """Undo one level of nesting of the argument's items first."""


Mapped = mapped


class Input(NamedTuple):
    """An argument, and how it is handed over."""

    value: Any
    mapped: bool = False
    flattened: bool = False

    @classmethod
    def of(cls, value: Any, *, mapped: bool = False, flattened: bool = False) -> Input:
        """Take the annotations off a value."""
        while isinstance(value, Annotation):
            flattened = flattened or isinstance(value, flatten)
            mapped = (mapped or isinstance(value, Mapped)) and not isinstance(value, unmapped)
            value = value.value
        return cls(value, mapped, flattened)

    def replaced(self, by: Mapping[Any, Any]) -> Input:
        """Return the input with tasks replaced."""
        return self._replace(value=replace_tasks(self.value, lambda each: by.get(each, each)))


def _is_task(value: Any) -> bool:
    return getattr(value, "is_dask_flow_task", False) is True  # some objects, such as Delayed, have any attribute


def tasks_in(value: Any) -> Iterator[Task]:
    """Yield the tasks in an argument: itself, or those that a list, tuple, set or dict holds, however deep."""
    if _is_task(value):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from tasks_in(item)
    elif isinstance(value, list | tuple | set):
        for item in value:
            yield from tasks_in(item)


def has_tasks(value: Any) -> bool:
    """Tell whether there is a task in an argument."""
    return any(True for _ in tasks_in(value))


def replace_tasks(value: Any, by: Callable[[Any], Any]) -> Any:
    """Return an argument with what `by` returns in place of each task; without tasks, the argument itself."""
    return by(value) if _is_task(value) else rebuilt(value, lambda item: replace_tasks(item, by))


def rebuilt(value: Any, by: Callable[[Any], Any]) -> Any:
    """Return a collection with what `by` returns in place of each item; without a difference, the collection itself."""
    if not isinstance(value, dict | list | tuple | set):
        return value
    items = list(value.values() if isinstance(value, dict) else value)
    new = [by(item) for item in items]
    if all(map(operator.is_, new, items)):  # it may be of a class that cannot be made like this
        return value
    if isinstance(value, dict):
        return dict(zip(value, new, strict=True))
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*new)
    return next(kind(new) for kind in (list, tuple, set) if isinstance(value, kind))


@functools.lru_cache(maxsize=1024)
def _signature(function: Callable[..., Any], *, bound: bool) -> inspect.Signature:
    signature = inspect.signature(function)
    return signature.replace(parameters=[*signature.parameters.values()][bound:])


def signature_of(task: Task) -> inspect.Signature:
    """Return the signature of what a task calls."""
    function = getattr(task.callee, "__func__", task.callee)  # of a method, so that the cache holds no task
    try:
        return _signature(function, bound=function is not task.callee)
    except TypeError:  # not hashable
        return inspect.signature(task.callee)


def bind(task: Task, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Return a call's arguments by name. Raises InputError for those that do not fit or are missing."""
    signature = signature_of(task)
    try:
        bound = signature.bind(*args, **kwargs)
    except TypeError as error:
        raise InputError(f"task {task.name!r}: {error}") from error
    arguments = dict(bound.arguments)
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.VAR_POSITIONAL and arguments.pop(parameter.name, ()):
            raise InputError(
                f"task {task.name!r}: *{parameter.name} cannot be bound; name each argument, or take a list"
            )
        if parameter.kind is parameter.VAR_KEYWORD:
            arguments.update(cast("dict[str, Any]", arguments.pop(parameter.name, {})))
    return arguments


def accepts(task: Task, key: str) -> None:
    """Raise InputError if a task has no argument of this name."""
    parameters = signature_of(task).parameters
    if key not in parameters and not any(each.kind is each.VAR_KEYWORD for each in parameters.values()):
        raise InputError(f"task {task.name!r} has no argument {key!r}; it has {', '.join(parameters) or 'none'}")


def check_mappable(task: Task, key: str, given: Input) -> None:
    """Raise InputError if a constant that is mapped over has no items."""
    if given.mapped and not has_tasks(given.value):
        mappable(given.value, f"task {task.name!r}: argument {key!r}")


def mappable(value: Any, what: str) -> None:
    """Raise InputError if a value cannot be mapped over: it needs a length and items by number."""
    if not (hasattr(value, "__getitem__") and hasattr(value, "__len__")) or isinstance(value, Mapping):
        raise InputError(
            f"{what} cannot be mapped over: {type(value).__name__} has no items by number; "
            "give a list, or unmapped(…) to hand it over whole"
        )


def check_calls(flow: str, inputs: Mapping[Task, Mapping[str, Input]]) -> None:
    """Raise InputError for a task that lacks an argument."""
    for task, given in inputs.items():
        positional, keywords = split(task, given)
        try:
            signature_of(task).bind(*positional, **keywords)
        except TypeError as error:
            raise InputError(
                f"flow {flow!r}: task {task.name!r}: {error}; bind the argument, or give it a default"
            ) from error


def split(task: Task, arguments: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """Split arguments into positional ones, as many as there can be, and keywords."""
    remaining, positional = dict(arguments), []
    for name, parameter in signature_of(task).parameters.items():
        if name not in remaining or parameter.kind in (parameter.KEYWORD_ONLY, parameter.VAR_KEYWORD):
            break
        positional.append(remaining.pop(name))
    return positional, remaining
