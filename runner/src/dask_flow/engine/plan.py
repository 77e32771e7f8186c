"""A flow as the engine sees it: nodes that wait for nodes, each computed as one part or, mapped, as several."""

from __future__ import annotations

import bisect
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from dask_flow.core import Edge, Flow, FunctionTask, Parameter, Task
from dask_flow.core.edge import Input, has_tasks, mappable, replace_tasks, tasks_in
from dask_flow.engine.items import collected, flatten_value
from dask_flow.engine.sizes import Sizes
from dask_flow.engine.state import Mapped, State, Success
from dask_flow.engine.work import Work
from dask_flow.triggers import all_successful

LONGEST_CONSTANT = 8
"""So many characters of a constant are its name, as in Prefect."""

COLLECT, FLATTEN = "dask-flow-collect", "dask-flow-flatten"

__all__ = ["Given", "Node", "Part", "plan"]


class Given(NamedTuple):
    """An argument: a constant, a node, or a collection that holds nodes. Without a key it is only waited for."""

    key: str | None
    value: Any
    mapped: bool
    nodes: tuple[Node, ...]


_NONE: Mapping[int, State] = {}


class Part:
    """What one Dask task computes: a task (`stop` is None), one item of a mapped task (`raw`), or some of them."""

    __slots__ = (
        "attempt", "count", "done", "error", "future", "node", "problems", "raw", "start", "stop", "waiting",
    )  # fmt: skip

    def __init__(self, node: Node, start: int = 0, stop: int | None = None, *, raw: bool = True) -> None:
        self.node, self.start, self.stop, self.raw = node, start, stop, raw
        self.future: Any = None
        self.attempt = 0
        """How often it was submitted; tells the ends of its futures apart. What waits for one does not hold it."""
        self.count = 1
        self.done = False
        node.open_parts += 1
        self.waiting = False
        self.error: BaseException | None = None
        self.problems: Mapping[int, State] = _NONE

    @property
    def is_bad(self) -> bool:
        """Whether an item in it is unsuccessful."""
        return bool(self.problems) or self.error is not None

    def end(self, *, done: bool, error: BaseException | None = None) -> None:
        """Say whether what it computes is there, or what kept it from being."""
        self.node.open_parts += self.done - done
        self.done, self.error = done, error

    def sources(self, *, whole: bool = True) -> Iterator[Part]:
        """Yield the parts that it is computed from; without `whole`, only those of the same items."""
        for given in self.node.arguments:
            for node in given.nodes:
                if given.mapped and node.mapped:
                    yield from node.parts_between(self.start, self.stop)
                elif whole:
                    yield from node.parts

    def users(self) -> Iterator[Part]:
        """Yield the parts that are computed from it."""
        for node in self.node.downstream:
            yield from self._users_in(node)

    def was_used(self) -> bool:
        """Tell whether all that need it have had it."""
        return all(self._was_used(by) for by in self.node.downstream)

    def _is_whole_for(self, by: Node) -> bool:
        """Tell whether all parts of a node need it, and not only those of the same items."""
        return not self.node.mapped or any(not each.mapped for each in by.given if self.node in each.nodes)

    def _users_in(self, by: Node) -> list[Part]:
        return by.parts if self._is_whole_for(by) else by.parts_between(self.start, self.stop)

    def _was_used(self, by: Node) -> bool:
        if by.state is not None or not by.mapped or by.length is None:
            return by.state is not None
        whole = self._is_whole_for(by)
        if whole and by.open_parts:
            return False
        limit = by.length if whole else self.stop
        # One that has an error may be computed again, as what is before it may.
        had = all(each.done and each.error is None for each in self._users_in(by))
        return limit is not None and by.covered >= limit and had


class Node:
    """A task of the flow, or one that the engine needs besides, and how far it is."""

    is_dask_flow_task = False

    def __init__(self, task: Task, number: int, given: list[Given]) -> None:
        self.task, self.number, self.given = task, number, given
        self.downstream: list[Node] = []
        self.parts: list[Part] = []
        self.length: int | None = None
        self.state: State | None = None
        self.restarts = 0
        self.queued = False
        self.users = 0
        """How many nodes that need it have not ended."""
        self.waiting = 0
        """How many parts wait for the time of their next attempt."""
        self.open_parts = 0
        self.sizes = Sizes(task.batch)
        self.resources = resources_of(task) if task.tags else None
        self.upstream = list(dict.fromkeys(node for each in given for node in each.nodes))
        for node in self.upstream:
            node.downstream.append(self)
            node.users += 1
        self.flattens = self.task.name == FLATTEN
        self.flat = self.flattens and self.upstream[0].mapped
        self.mapped: bool = self.flat or any(each.mapped for each in given)
        self.special = task.trigger is not all_successful or not task.skip_on_upstream_skip
        self.own_trigger = getattr(task.trigger, "__module__", None) != all_successful.__module__
        self._constants: dict[str | None, Task] = {}
        self.plain = not (self.special or task.state_handlers or task.timeout or task.log_stdout or task.tags)
        passed = {node for each in given if each.key is not None for node in each.nodes}
        only_order = any(set(each.nodes) - passed for each in given if each.key is None and not each.mapped)
        # It starts when all that it waits for has ended, and the driver knows how.
        self.waits = task.trigger is not all_successful or (
            bool(self.upstream) and (self.special or bool(task.state_handlers) or only_order)
        )
        # Each item is a call of the function.
        self.raw: bool = (
            self.mapped and self.plain and task.batch == 1 and not self.waits
            and all(each.key is not None for each in given)
            and all(node.raw if each.mapped else not node.mapped for each in given for node in each.nodes)
        )  # fmt: skip
        if not self.raw and any(each.mapped and node.raw for each in given for node in each.nodes):
            self.sizes = Sizes(1)  # the error of an item before it reaches it through Dask: it must be its own
        # What it is only to wait for tells each item of a map whether it is to run.
        self.arguments = given if self.mapped else [each for each in given if each.key is not None]

    def parts_between(self, start: int, stop: int | None) -> list[Part]:
        """Return the parts that have items from `start` to `stop`, or to the end."""
        first = bisect.bisect_right(self.parts, start, key=lambda part: part.start) - 1
        last = len(self.parts) if stop is None else bisect.bisect_left(self.parts, stop, key=lambda part: part.start)
        return self.parts[max(0, first) : last]

    @property
    def covered(self) -> int:
        """Up to which item there are parts."""
        return (self.parts[-1].stop or 0) if self.parts else 0

    @property
    def available(self) -> bool:
        """Whether everything that others may need of it is submitted, or known."""
        if self.state is not None or self.waiting:
            return self.state is not None
        if self.mapped:
            return self.length is not None and self.covered >= self.length
        return bool(self.parts)

    @property
    def is_final(self) -> bool:
        """Whether what is before it has ended."""
        return all(each.state is not None for each in self.upstream)

    @property
    def passed_on(self) -> State | None:
        """The state that it takes over from what is before it: a flattened task that is not successful stays so."""
        state = self.upstream[0].state if self.flattens else None
        return state if state is not None and (state.is_failed() or state.is_skipped()) else None

    @property
    def is_successful(self) -> bool:
        """Whether it did not fail, as far as is known."""
        return self.state is None or self.state.is_successful()

    @property
    def is_bad(self) -> bool:
        """Whether something that it needs as a whole is known to be unsuccessful."""
        for given in self.given:
            for each in given.nodes:
                state = each.state
                if state is not None and (state.is_failed() or state.is_skipped()):
                    return True
                if isinstance(state, Mapped) and not given.mapped and any(part.is_bad for part in each.parts):
                    return True
        return False

    def may_submit(self, threads: int | None) -> bool:
        """Tell whether another group may be submitted ahead."""
        return self.open_parts < self.sizes.ahead(self.length or 0, threads)

    def take_parts(self, futures: Sequence[Any]) -> None:
        """Set the futures of a mapped node's items."""
        self.open_parts = 0
        self.parts = [Part(self, index, index + 1) for index in range(len(futures))]
        for part, future in zip(self.parts, futures, strict=True):
            part.future = future

    def restart(self) -> None:
        """Forget what was computed of it."""
        for part in self.parts:
            part.future = None  # what becomes of it is nobody's matter any more
        self.parts, self.length, self.open_parts, self.waiting = [], None, 0, 0
        self.restarts += 1

    @property
    def has_items(self) -> bool:
        """Whether it is, or will be, a number of items."""
        return self.mapped and (self.state is None or self.state.is_mapped())

    @property
    def is_known(self) -> bool:
        """Whether the driver has its value."""
        return self.state is not None and not self.state.is_elsewhere

    def next_stop(self, threads: int | None) -> int | None:
        """Return where the next group ends: at its size, or where a group before it does; None if it must wait."""
        start, length = self.covered, self.length or 0
        sources = [each.nodes[0] for each in self.given if each.mapped and each.nodes and each.nodes[0].has_items]
        covered = min([length, *(source.covered for source in sources)])
        if covered <= start:
            return None
        stop = min(start + self.sizes.next(length, threads), covered)
        near = (part for source in sources for part in source.parts_between(start, stop))
        ends = [part.stop for part in near if part.stop and start < part.stop <= stop]
        return max(ends) if ends and stop < covered else stop

    def states(self, index: int | None = None) -> dict[Any, State]:
        """Return the states of what is before it, by edge, as a trigger gets them.

        Of a mapped task that it maps over that of the item `index`, or none.
        """
        states: dict[Any, State] = {}
        for each in self.given:
            for node in each.nodes:
                state = node.state
                if each.mapped and isinstance(state, Mapped):
                    state = None if index is None else state.map_states[index]
                if state is not None:
                    states[Edge(node.task, self.task, each.key, each.mapped)] = state
            if not each.nodes and each.key is not None:
                states[Edge(self._before(each), self.task, each.key, each.mapped)] = Success(result=each.value)
        return states

    def _before(self, given: Given) -> Task | None:
        """Return the task whose result is an argument; for a constant, what a trigger of the flow's own may ask."""
        if given.nodes or not self.own_trigger:
            return given.nodes[0].task if given.nodes else None
        if given.key not in self._constants:
            text = repr(given.value)
            name = text if len(text) <= LONGEST_CONSTANT else f"Constant[{type(given.value).__name__}]"
            self._constants[given.key] = Task(name)
        return self._constants[given.key]

    def work(self, run_id: str) -> Work:
        """Return what a worker needs of the task."""
        edges = [Edge(self._before(each), self.task, each.key, each.mapped) for each in self.arguments]
        return Work(
            self.task,
            run_id,
            tuple(each.key for each in self.arguments),
            tuple(each.mapped for each in self.arguments),
            tuple(edges) if self.own_trigger else tuple(range(len(edges))),
        )


def resources_of(task: Task) -> dict[str, float] | None:
    """Return the resources of a worker that a task's tags ask for, such as `dask-resource:GPU=1`."""
    found = (re.fullmatch(r"dask-resource:([^=]+)=(\d+(?:\.\d+)?)", tag) for tag in task.tags)
    return {match[1]: float(match[2]) for match in found if match} or None


def plan(flow: Flow, parameters: Mapping[str, Any]) -> list[Node]:
    """Return the flow's nodes, each after those that it waits for. Raises InputError for a cycle."""
    plan = _Plan()
    for task in flow.sorted_tasks():
        inputs = [plan.given(task, key, each) for key, each in flow.inputs[task].items()]
        order = [plan.given(task, None, each) for each in _order_of(flow.order_only.get(task, {}))]
        node = plan.by_task[task] = plan.add(task, inputs + order)
        if isinstance(task, Parameter):
            node.state = Success("Task run succeeded.", parameters.get(task.name, task.default))
    return plan.nodes


def _order_of(given: Mapping[Task, Input]) -> Iterator[Input]:
    """Yield what a task is only to wait for: each task alone, but for a list of them that is mapped over."""
    yield from {id(each): each for each in given.values() if each.mapped}.values()
    yield from (each._replace(value=before) for before, each in given.items() if not each.mapped)


class _Plan:
    """Nodes, with those that put together or flatten what an argument is made of before it is handed over."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.by_task: dict[Task, Node] = {}

    def add(self, task: Task, given: list[Given]) -> Node:
        node = Node(task, len(self.nodes), given)
        self.nodes.append(node)
        return node

    def given(self, task: Task, key: str | None, given: Input) -> Given:
        """Return an argument of a task."""
        if not has_tasks(given.value):
            return _constant(task, key, given)
        if isinstance(given.value, Task):
            node = self.by_task[given.value]
        elif given.mapped or given.flattened or task.trigger is not all_successful or not task.skip_on_upstream_skip:
            # It is one thing that is mapped over, or that a trigger asks about.
            node = self.add(FunctionTask(collected, name=COLLECT), [self._collection("value", given.value)])
        else:
            return self._collection(key, given.value)
        if given.flattened:
            function = collected if node.mapped else flatten_value
            node = self.add(FunctionTask(function, name=FLATTEN), [Given("value", node, node.mapped, (node,))])
        return Given(key, node, given.mapped, (node,))

    def _collection(self, key: str | None, value: Any) -> Given:
        nodes = tuple(dict.fromkeys(self.by_task[each] for each in tasks_in(value)))
        return Given(key, replace_tasks(value, self.by_task.__getitem__), False, nodes)


def _constant(task: Task, key: str | None, given: Input) -> Given:
    value = flatten_value(given.value) if given.flattened else given.value
    if given.mapped:
        mappable(value, f"task {task.name!r}: argument {key!r}")
    return Given(key, value, given.mapped, ())
