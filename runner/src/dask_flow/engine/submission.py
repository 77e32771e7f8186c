"""What a backend is given of a flow: keys, calls, and arguments with places for what is on workers."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from dask_flow.core.edge import rebuilt, split
from dask_flow.engine import work
from dask_flow.engine.arguments import EACH, LENIENT, STRICT, Pieces, Slot, Template, filled, flatten_items
from dask_flow.engine.backends import Backend
from dask_flow.engine.items import Unsuccessful, as_item, count_items
from dask_flow.engine.plan import COLLECT, FLATTEN, Given, Node, Part
from dask_flow.engine.state import Mapped, State, Success
from dask_flow.run_context import MORE_NAMES
from dask_flow.text import LONGEST_NAME, one_line

__all__ = ["Submission"]

MOST_NAMES = 50


class Submission:
    """Submits the parts of one run's nodes."""

    def __init__(self, backend: Backend, run_id: str, nodes: Sequence[Node]) -> None:
        self.backend = backend
        self._run_id = run_id
        self._prefixes = _prefixes(nodes)
        self._works: dict[Node, work.Work] = {}
        self._numbers = itertools.count()

    def part(
        self, part: Part, previous: Any = None, known: Sequence[State | None] = (), due: float | None = None
    ) -> Any:
        """Submit a part, and return its future.

        Of a group whose `previous` future is given, only those items are computed that are not finished there; those
        that wait for their next attempt only if it is `due`, a time in seconds since 1970.
        """
        node = part.node
        arguments = _Arguments(part)
        values = [arguments.of(given) for given in node.arguments]
        futures = list(arguments.places)
        again = node.restarts > 0 or part.future is not None
        key = self._key(node, part.start if node.mapped else "s", part.count, again=again)
        if node.flat:
            future = self.backend.submit(key, flatten_items, futures, values[0], self._run_id)
        elif not part.raw:
            place = None if previous is None else len(futures)
            group = work.Group(part.start, (part.stop or 0) - part.start, known, place, due)
            needed = futures if previous is None else [*futures, previous]
            future = self.backend.submit(key, work.run_items, needed, self._work(node), values, group, **_options(node))
        elif node.plain and self.backend.calls_functions and not any(_holds_pieces(each) for each in values):
            future = self._call(node, key, futures, values)
        else:
            given = (self._work(node), values, part.count)
            future = self.backend.submit(key, work.run_one, futures, *given, **_options(node))
        return future

    def each_item(self, node: Node) -> list[Any]:
        """Submit each item of a mapped node as a call of its function, all at once, and return the futures."""
        length = node.length or 0
        if not length:
            return []
        keys = [self._key(node, index, 1, again=node.restarts > 0) for index in range(length)]
        if node.is_bad:
            return self.backend.map(keys, work.not_run, [keys])
        columns = {
            str(given.key): _column(given, length) if given.mapped else [_filled(given.value)] * length
            for given in node.arguments
            if given.key is not None
        }
        positional, keywords = split(node.task, columns)
        function = node.task.callee
        if keywords:
            function = _Named(function, len(positional), list(keywords))
        return self.backend.map(keys, function, [*positional, *keywords.values()], **_options(node))

    def count(self, source: Part) -> Any:
        """Return a future of how many items a result has."""
        key = f"dask-flow-count-{source.node.number}-{next(self._numbers)}-1-{self._run_id}"
        return self.backend.submit(key, count_items, [source.future])

    def _call(self, node: Node, key: str, futures: list[Any], arguments: list[Any]) -> Any:
        given = zip(node.arguments, arguments, strict=True)
        values = {str(each.key): filled(value, futures) for each, value in given if each.key is not None}
        positional, keywords = split(node.task, values)
        if keywords:
            return self.backend.call(key, call_with, [node.task.callee, positional, keywords], **_options(node))
        return self.backend.call(key, node.task.callee, positional, **_options(node))

    def _key(self, node: Node, item: int | str, count: int, *, again: bool) -> str:
        """Return a Dask key; `run_context` reads the last words."""
        # The scheduler may still know the keys of before, and with them how they ended.
        number = f"{node.number}r{next(self._numbers)}" if again else node.number
        return f"{self._prefixes[node.task.name]}-{number}-{item}-{count}-{self._run_id}"

    def _work(self, node: Node) -> work.Work:
        if node not in self._works:
            self._works[node] = node.work(self._run_id)
        return self._works[node]


def _prefixes(nodes: Sequence[Node]) -> dict[str, str]:
    """Return how keys begin, by the tasks' names: with that, but of many names only for those that have the most tasks.

    Dask looks at what it keeps by the beginnings of keys each time that a task is submitted.
    """
    counts = Counter(node.task.name for node in nodes)
    counts.update({node.task.name: len(nodes) for node in nodes if node.mapped or node.task.name in (COLLECT, FLATTEN)})
    own = {name for name, _ in counts.most_common(MOST_NAMES)}
    return {name: ("" if name in own else MORE_NAMES) + one_line(name, LONGEST_NAME) for name in counts}


class _Arguments:
    """The arguments of a part; `places` numbers the futures whose values they need."""

    def __init__(self, part: Part) -> None:
        self.part = part
        self.places: dict[Any, int] = {}

    def of(self, given: Given) -> Any:
        """Return an argument, with places in it."""
        if given.mapped:
            return self._item(given) if self.part.raw else self._items(given)
        if given.key is None:
            return None  # it has been waited for
        if isinstance(given.value, Node):
            return self._whole(given.value)
        return Template(_replaced(given.value, self._whole)) if given.nodes else given.value

    def _place(self, part: Part) -> int:
        return self.places.setdefault(part.future, len(self.places))

    def _whole(self, node: Node) -> Any:
        if node.has_items:
            return self._pieces(node, 0, None, LENIENT if self.part.node.waits else STRICT)
        if node.state is not None and node.is_known:
            return node.state.result
        return Slot(self._place(node.parts[0]))

    def _item(self, given: Given) -> Any:
        start = self.part.start
        return Slot(self._place(given.nodes[0].parts[start])) if given.nodes else given.value[start]

    def _items(self, given: Given) -> Any:
        start, stop = self.part.start, self.part.stop
        if not given.nodes:
            return _items_of(given.value, start, stop or 0)
        node = given.nodes[0]
        if node.has_items:
            return self._pieces(node, start, stop, EACH)
        state = node.state
        if state is not None and not state.is_successful():
            return [Unsuccessful(type(state)(state.message))] * ((stop or 0) - start)
        if state is not None and node.is_known:
            return _items_of(state.result, start, stop or 0)
        return Pieces(((self._place(node.parts[0]), start, stop),), EACH)

    def _pieces(self, node: Node, start: int, stop: int | None, mode: str) -> Pieces:
        pieces: list[tuple[Any, int | None, int | None]] = []
        for each in node.parts_between(start, stop):
            if each.error is not None and node.state is not None:  # nothing of it is on a worker
                numbers = range(each.start, each.stop or each.start)
                place: Any = [as_item(each.problems[number]) for number in numbers]
            elif each.raw:
                pieces.append((self._place(each), None, None))
                continue
            else:
                place = self._place(each)
            ends = [end for end in (stop, each.stop) if end is not None]
            pieces.append((place, max(start, each.start) - each.start, min(ends) - each.start if ends else None))
        return Pieces(tuple(pieces), mode)


def known_states(node: Node) -> list[State | None]:
    """Return the states of what is handed over whole, without what they hold; none if all of it just succeeded."""
    states = [_known(given) for given in node.arguments]
    return states if any(states) else []


def _known(given: Given) -> State | None:
    state = given.nodes[0].state if given.nodes and not given.mapped else None
    if state is None or type(state) is Success:
        return None
    if isinstance(state, Mapped):
        return Mapped(state.message, None, [type(each)(each.message) for each in state.map_states])
    return type(state)(state.message)


def call_with(function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """Call a function with keywords that Dask would take for its own."""
    return function(*args, **kwargs)


class _Named:
    """Calls a function whose last arguments are given by name."""

    def __init__(self, function: Callable[..., Any], positional: int, names: list[str]) -> None:
        self.function, self.positional, self.names = function, positional, names

    def __call__(self, *args: Any) -> Any:
        named = dict(zip(self.names, args[self.positional :], strict=True))
        return self.function(*args[: self.positional], **named)


def _options(node: Node) -> dict[str, Any]:
    return {"resources": node.resources} if node.resources else {}


def _filled(value: Any) -> Any:
    """Return an argument with the nodes' values or futures in place of them."""
    return _replaced(
        value, lambda node: node.state.result if node.state is not None and node.is_known else node.parts[0].future
    )


def _items_of(value: Any, start: int, stop: int) -> Sequence[Any]:
    return value[start:stop] if isinstance(value, list | tuple) else [value[index] for index in range(start, stop)]


def _column(given: Given, length: int) -> Sequence[Any]:
    if given.nodes:
        return [part.future for part in given.nodes[0].parts[:length]]
    return _items_of(given.value, 0, length)


def _holds_pieces(value: Any) -> bool:
    """Tell whether an argument has a list in it that a worker must put together."""
    if isinstance(value, Template):
        return _holds_pieces(value.value)
    if isinstance(value, Pieces | Slot):
        return isinstance(value, Pieces)
    if isinstance(value, dict):
        return any(_holds_pieces(item) for item in value.values())
    return isinstance(value, list | tuple | set) and any(_holds_pieces(item) for item in value)


def _replaced(value: Any, by: Callable[[Node], Any]) -> Any:
    """Return an argument with what `by` returns in place of each node."""
    if isinstance(value, Node):
        return by(value)
    return rebuilt(value, lambda item: _replaced(item, by))
