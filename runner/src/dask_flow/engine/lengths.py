"""How many items there are to map over."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from weakref import WeakKeyDictionary

from dask_flow.engine.items import can_map
from dask_flow.engine.plan import Given, Node, Part
from dask_flow.engine.submission import Submission

__all__ = ["NOTHING_TO_MAP", "Lengths"]

NOTHING_TO_MAP = "No upstream states can be mapped over."
_ASKED = -1


class Lengths:
    """Asks the workers for the lengths of results; `watch(futures, then)` calls `then` when they are known."""

    def __init__(self, submission: Submission, watch: Callable[[Sequence[Any], Callable[[], None]], None]) -> None:
        self._submission = submission
        self._watch = watch
        self._counts: WeakKeyDictionary[Any, int | None] = WeakKeyDictionary()
        self._waiting: dict[Any, list[Callable[[], None]]] = {}

    def of(self, node: Node, then: Callable[[], None]) -> int | str | None:
        """Return the number of a mapped node's items, why there are none, or None if that is not known yet.

        `then` is called when it may be.
        """
        over = [each for each in node.given if each.mapped and (not each.nodes or each.nodes[0].is_successful)]
        lengths = [self._of(each, then) for each in over]
        if _ASKED in lengths:
            return None
        if not lengths or None in lengths:
            unmappable = "At least one upstream state has an unmappable result."
            return unmappable if lengths else NOTHING_TO_MAP
        return min(length for length in lengths if length is not None)

    def _of(self, given: Given, then: Callable[[], None]) -> int | None:
        """Return how many items an argument has; None if it cannot have any."""
        if not given.nodes:
            return len(given.value)
        source = given.nodes[0]
        if source.has_items:
            return _ASKED if source.length is None or (source.flat and source.state is None) else source.length
        if source.state is not None and source.is_known:
            return len(source.state.result) if can_map(source.state.result) else None
        return self._counted(source.parts[0], then) if source.parts else _ASKED

    def _counted(self, source: Part, then: Callable[[], None]) -> int | None:
        result = source.future
        if result not in self._counts:
            count = self._submission.count(source)
            self._waiting[result] = []
            self._watch([count], lambda: self._take(result, count))
            self._counts[result] = _ASKED
        if result in self._waiting:
            self._waiting[result].append(then)
        return self._counts[result]

    def _take(self, result: Any, count: Any) -> None:
        backend = self._submission.backend
        if backend.error(count) is None:
            self._counts[result] = backend.gather([count])[0]
        for then in self._waiting.pop(result):
            then()
