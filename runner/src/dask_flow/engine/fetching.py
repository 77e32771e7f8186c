"""Results: on the workers until somebody asks for them, then fetched, or all together at the run's end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from dask_flow.engine.backends import Backend
from dask_flow.engine.plan import Node, Part
from dask_flow.engine.state import Elsewhere, Mapped, State, Success
from dask_flow.engine.work import SUCCEEDED
from dask_flow.log import described

__all__ = ["Results"]


class Results:
    """Fetches the results of one run. Raises TypeError for one that cannot be: it cannot be pickled, or it is lost."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._held: dict[Part, Any] = {}

    def fetch_all(self, nodes: Iterable[Node]) -> None:
        """Fetch what these nodes hold, together; one that cannot be fetched is an error when it is asked for."""
        parts = [part for node in nodes for part in node.parts if part.error is None and part.future is not None]
        try:
            values = self._backend.gather([part.future for part in parts])
        except Exception:
            values = [self._fetched(part) for part in parts]
        self._held.update(zip(parts, values, strict=True))

    def of(self, part: Part) -> Any:
        """Return what a part computed."""
        if part not in self._held:
            self._held[part] = self._fetched(part)
        value = self._held[part]
        if isinstance(value, _Unfetched):
            raise TypeError(f"the result of task {value.name} could not be fetched: {described(value.error)}")
        return value

    def mapped(self, node: Node, unsuccessful: Mapping[int, State]) -> Mapped:
        """Return the state of a mapped node; items that it does not say to be unsuccessful have a value."""

        def item(part: Part, number: int) -> State:
            if number in unsuccessful:
                return unsuccessful[number]
            return Success(SUCCEEDED, Elsewhere(lambda: self._item(part, number - part.start)))

        state = Mapped(
            "Ready to proceed with mapping.",
            Elsewhere(lambda: [each.result for each in state.map_states]),
            lambda: [item(part, number) for part in node.parts for number in range(part.start, part.stop or 0)],
            unsuccessful,
        )
        return state

    def _item(self, part: Part, number: int) -> Any:
        value = self.of(part)
        return value if part.raw else value[number]

    def _fetched(self, part: Part) -> Any:
        try:
            return self._backend.gather([part.future])[0]
        except Exception as error:
            return _Unfetched(part.node.task.name, error)


class _Unfetched:
    """Stands for a result that could not be fetched."""

    def __init__(self, name: str, error: Exception) -> None:
        self.name, self.error = name, error
