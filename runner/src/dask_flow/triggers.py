"""When a task runs, by the states of the tasks before it. Names, messages and meaning are those of Prefect 1.x.

A trigger takes a mapping of edges to states, those of a mapped task's items in its `map_states`; it returns whether the
task runs, or raises a signal. A skipped task counts as successful, one whose trigger failed as failed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, Never

from dask_flow.engine import signals
from dask_flow.engine.state import State
from dask_flow.errors import InputError

if TYPE_CHECKING:
    from dask_flow.core import Edge

__all__ = [
    "Trigger",
    "all_failed",
    "all_finished",
    "all_successful",
    "always_run",
    "any_failed",
    "any_successful",
    "manual_only",
    "not_all_skipped",
    "some_failed",
    "some_successful",
]

Trigger = Callable[[Mapping["Edge", State]], bool]


def each_state(upstream: Mapping[Any, State]) -> list[State]:
    """Return the states, with a mapped task's items in place of the task; one task's state counts once."""
    states = {id(state): state for state in upstream.values()}.values()
    return [each for state in states for each in (getattr(state, "map_states", None) or _itself(state))]


def _itself(state: State) -> Collection[State]:
    return () if state.is_mapped() else (state,)


def all_successful(upstream_states: Mapping[Edge, State]) -> bool:
    """Run if all before it were successful; the default."""
    if not all(each.is_successful() for each in each_state(upstream_states)):
        raise signals.TRIGGERFAIL('Trigger was "all_successful" but some of the upstream tasks failed.')
    return True


def all_failed(upstream_states: Mapping[Edge, State]) -> bool:
    """Run if all before it failed."""
    if not all(each.is_failed() for each in each_state(upstream_states)):
        raise signals.TRIGGERFAIL('Trigger was "all_failed" but some of the upstream tasks succeeded.')
    return True


def any_successful(upstream_states: Mapping[Edge, State]) -> bool:
    """Run if any before it was successful."""
    if upstream_states and not any(each.is_successful() for each in each_state(upstream_states)):
        raise signals.TRIGGERFAIL('Trigger was "any_successful" but none of the upstream tasks succeeded.')
    return True


def any_failed(upstream_states: Mapping[Edge, State]) -> bool:
    """Run if any before it failed."""
    if upstream_states and not any(each.is_failed() for each in each_state(upstream_states)):
        raise signals.TRIGGERFAIL('Trigger was "any_failed" but none of the upstream tasks failed.')
    return True


def all_finished(upstream_states: Mapping[Edge, State]) -> bool:
    """Run whatever became of those before it, once they ended."""
    if not all(each.is_finished() for each in each_state(upstream_states)):
        raise signals.TRIGGERFAIL(
            'Trigger was "all_finished" but some of the upstream tasks were not finished.'
        )  # pragma: no cover
    return True


always_run = all_finished


def not_all_skipped(upstream_states: Mapping[Edge, State]) -> bool:
    """Run if all before it were successful, and not all of them skipped."""
    states = each_state(upstream_states)
    if all(each.is_skipped() for each in states):
        raise signals.SKIP("All upstreams were skipped", result=None)
    if not all(each.is_successful() for each in states):
        raise signals.TRIGGERFAIL('Trigger was "not_all_skipped" but some of the upstream tasks failed.')
    return True


def some_failed(at_least: float | None = None, at_most: float | None = None) -> Trigger:
    """Run if a number of those before it failed, or below 1, a fraction of them."""
    return _Some("failed", at_least, at_most)


def some_successful(at_least: float | None = None, at_most: float | None = None) -> Trigger:
    """Run if a number of those before it were successful, or below 1, a fraction of them."""
    return _Some("successful", at_least, at_most)


class _Some:
    """A class rather than a closure, so that plain pickle can send it to workers."""

    def __init__(self, kind: str, at_least: float | None, at_most: float | None) -> None:
        self.kind, self.at_least, self.at_most = kind, at_least, at_most

    def __call__(self, upstream_states: Mapping[Edge, State]) -> bool:
        if not upstream_states:
            return True
        states = each_state(upstream_states)
        count = sum(each.is_failed() if self.kind == "failed" else each.is_successful() for each in states)
        least = _number(self.at_least, len(states), 0)
        if not least <= count <= _number(self.at_most, len(states), len(states)):
            raise signals.TRIGGERFAIL(f'Trigger was "some_{self.kind}" but thresholds were not met.')
        return True


def _number(bound: float | None, of: int, default: int) -> float:
    if bound is None:
        return default
    return bound * of if bound < 1 else bound


def manual_only(upstream_states: Mapping[Edge, State]) -> Never:
    """Not here."""
    raise InputError("the trigger manual_only is not here: end the flow there, and start another when it is approved")
