"""Items of mapped tasks: their values, those that have none, and what the driver is told of them."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from dask_flow import run_context
from dask_flow.engine.state import State, Success
from dask_flow.sendable import sendable

__all__ = [
    "Items",
    "Summary",
    "Unsuccessful",
    "as_item",
    "can_map",
    "collected",
    "count_items",
    "flatten_value",
    "summary",
    "summed_up",
    "with_traceback",
]


class Unsuccessful:
    """Stands among an item's siblings for what has no value, or none yet."""

    __slots__ = ("state",)

    def __init__(self, state: State) -> None:
        self.state = state

    def __reduce__(self) -> Any:
        state = copy.copy(self.state)
        if isinstance(state.result, BaseException):
            state.result = sendable(state.result)
        return Unsuccessful, (state,)


def as_item(state: State) -> Any:
    """Return what stands for a state among items: its value, or that it has none."""
    return state.result if type(state) is Success else Unsuccessful(state)


class Items(list[Any]):
    """The values of some items of a mapped task, and how many seconds they took together."""

    seconds: float = 0.0


class Summary(NamedTuple):
    """How many items a group has, how many seconds they took, and those without a value, with their tracebacks."""

    length: int
    seconds: float
    unsuccessful: Mapping[int, tuple[Unsuccessful, Any]]


def summed_up(items: Items, run_id: str) -> Items:
    """Tell the driver of these items, if there is a way, before it hears that they are there."""
    if run_id in run_context.summaries:
        run_context.summaries[run_id](summary([items]))
    return items


def summary(values: Sequence[Items]) -> Summary:
    """Return what the driver needs to know of a group."""
    from tblib import Traceback

    items = values[0]
    unsuccessful = {}
    for number, each in enumerate(items):
        if type(each) is Unsuccessful:
            trace = getattr(each.state.result, "__traceback__", None)
            unsuccessful[number] = (each, Traceback(trace).to_dict() if trace else None)
    return Summary(len(items), items.seconds, unsuccessful)


def with_traceback(item: Unsuccessful, trace: Mapping[str, Any] | None) -> State:
    """Return an item's state; its error has the traceback that a summary has of it."""
    from tblib import Traceback

    state = item.state
    if trace is not None:
        state.result = state.result.with_traceback(Traceback.from_dict(trace).as_traceback())
    return state


def flatten_value(value: Any) -> Any:
    """Return the items of the value's items, or the value itself if it has no such."""
    try:
        return [item for items in value for item in items]
    except TypeError:
        return value


def collected(value: Any) -> Any:
    """Return the collection that was put together for it."""
    return value


def count_items(values: Sequence[Any]) -> int | None:
    """Return how many items a value has that is mapped over; None if it cannot be."""
    return len(values[0]) if can_map(values[0]) else None


def can_map(value: Any) -> bool:
    """Tell whether a value has items by number."""
    return hasattr(value, "__getitem__") and hasattr(value, "__len__") and not isinstance(value, Mapping)
