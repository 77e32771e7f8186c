"""What becomes of a task that does not run, or that raised, by what is before it, its trigger and its handlers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from dask_flow.engine import work
from dask_flow.engine.plan import Node, Part
from dask_flow.engine.state import Pending, Retrying, Skipped, State
from dask_flow.run_context import scope, with_task
from dask_flow.triggers import each_state

__all__ = ["Verdicts"]


class Verdicts:
    """The driver's decisions in a run whose context has these values."""

    def __init__(self, context: Mapping[str, Any]) -> None:
        self._context = context

    def decide(self, node: Node, index: int | None = None) -> State | None:
        """Return the state that keeps a node, or an item of a mapped one, from running; None if it is to run."""
        if node.passed_on is not None:
            return node.passed_on
        with self._as_task(node):
            return work.decide(node.task, node.states(index))

    def skipped_as_a_whole(self, node: Node) -> State | None:
        """Return the state of a mapped node if it is skipped; None if it is not."""
        skipped = any(state.is_skipped() for state in each_state(node.states()))
        if not skipped or not node.task.skip_on_upstream_skip:
            return None
        return self.handled(node, Skipped(work.UPSTREAM_SKIPPED))

    def of(self, part: Part) -> State:
        """Return the state that a part's error means, which may come from before it."""
        node = part.node
        if not node.waits:
            verdict = self.decide(node, part.start if node.mapped and part.raw else None)
            if verdict is not None:
                return verdict
        state = work.ended_by(part.error or RuntimeError("it was lost"))
        if isinstance(state, Retrying) or isinstance(part.error, work.UnsendableError) or node.task.state_handlers:
            return state
        return work.or_retry(node.task, state, part.count) or state

    def handled(self, node: Node, state: State) -> State:
        """Have the state handlers of a task that does not run look at its state, and return what they make of it."""
        with self._as_task(node):
            return work.handled(node.task, Pending(), state)

    @contextmanager
    def _as_task(self, node: Node) -> Iterator[None]:
        """Have the context that of a task while its trigger or state handlers are called here."""
        token = scope.set(with_task(self._context, node.task.name, frozenset(node.task.tags), None, 1))
        try:
            yield
        finally:
            scope.reset(token)
