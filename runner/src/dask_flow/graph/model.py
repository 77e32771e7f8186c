"""What is drawn of a flow: its tasks and their dependencies, as plain texts and numbers."""

from __future__ import annotations

import collections
import dataclasses
import unicodedata
from collections.abc import Iterable, Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Any

from dask_flow.errors import InputError
from dask_flow.text import printable

__all__ = ["COLOURS", "Graph", "Link", "Node", "by_name", "read", "shorten"]

LONGEST_NAME, LONGEST_CONSTANT, LONGEST_DETAIL = 40, 40, 500
COLOURS = {  # fill, border; the text on them is black
    "success": ("#d3f2db", "#1a7f37"),
    "failed": ("#ffd9d6", "#cf222e"),
    "skipped": ("#e3e6ea", "#59636e"),
    "waiting": ("#fff0c2", "#9a6700"),
}


@dataclasses.dataclass(frozen=True)
class Node:
    """A task. Its shape is `task`, `mapped` or `parameter`; `kind`, if there was a run, is one of COLOURS."""

    name: str
    shape: str
    details: Mapping[str, str]
    state: str = ""
    kind: str = ""

    @property
    def label(self) -> str:
        """The name, cut if it is long; with brackets if the task is mapped."""
        return shorten(self.name, LONGEST_NAME) + "[]" * (self.shape == "mapped")

    @property
    def summary(self) -> str:
        """All that is known of it, in lines."""
        return "\n".join([self.name, *(f"{key}: {value}" for key, value in self.details.items() if value)])


@dataclasses.dataclass(frozen=True)
class Link:
    """A dependency between two nodes, given by their numbers; the label is the argument that gets the result."""

    upstream: int
    downstream: int
    label: str
    mapped: bool


@dataclasses.dataclass(frozen=True)
class Graph:
    """A flow's tasks, in the order in which they were added, and their dependencies. It has no cycle."""

    title: str
    nodes: tuple[Node, ...]
    links: tuple[Link, ...]


def read(flow: Any, flow_state: Any = None) -> Graph:
    """Take what is drawn from a `dask_flow.Flow` or one of Prefect 1, and from the state of a run.

    Raises InputError: the flow has no graph before it runs, no tasks, or a cycle.
    """
    if isinstance(flow, type) or not (hasattr(flow, "tasks") and hasattr(flow, "edges")):
        raise InputError(_no_graph(flow))
    tasks = list(flow.slugs if isinstance(flow.tasks, set) else flow.tasks)  # a set's order differs between processes
    if not tasks:
        raise InputError(f"flow {flow.name!r} has no tasks, so there is nothing to draw")
    number = {task: index for index, task in enumerate(tasks)}
    edges = sorted(
        _telling(flow.edges),
        key=lambda edge: (number[edge.downstream_task], edge.key or "", number[edge.upstream_task]),
    )
    edges_to = collections.defaultdict(list)
    for edge in edges:
        edges_to[edge.downstream_task].append(edge)
    _refuse_cycle(flow.name, {task: [edge.upstream_task for edge in edges_to[task]] for task in tasks})
    given = getattr(flow, "inputs", None) or getattr(flow, "constants", {})
    results = getattr(flow_state, "result", None)
    states = results if isinstance(results, dict) else {}
    return Graph(
        _plain(flow.name),
        tuple(_node(task, edges_to[task], given.get(task, {}), states.get(task)) for task in tasks),
        tuple(_link(edge, number) for edge in edges),
    )


def by_name(graph: Graph) -> Graph | None:
    """Return the graph with one node for all tasks of a name; None if that would have a cycle."""
    groups: dict[str, list[Node]] = {}
    for node in graph.nodes:
        groups.setdefault(node.name, []).append(node)
    number = {name: index for index, name in enumerate(groups)}
    pairs: dict[tuple[int, int], Link] = {}
    for link in graph.links:
        ends = (number[graph.nodes[link.upstream].name], number[graph.nodes[link.downstream].name])
        if ends[0] != ends[1]:
            pairs.setdefault(ends, Link(*ends, link.label, link.mapped))
    upstream: dict[int, set[int]] = {index: set() for index in number.values()}
    for start, end in pairs:
        upstream[end].add(start)
    try:
        TopologicalSorter(upstream).prepare()
    except CycleError:
        return None
    return Graph(graph.title, tuple(_group(name, nodes) for name, nodes in groups.items()), tuple(pairs.values()))


def _group(name: str, nodes: list[Node]) -> Node:
    kinds = {node.kind for node in nodes}
    kind = next((each for each in ("failed", "waiting", "success", "skipped") if each in kinds), "")
    states = collections.Counter(node.state for node in nodes if node.state)
    return Node(
        name=f"{name} \u00d7{len(nodes):,}" if len(nodes) > 1 else name,
        shape=nodes[0].shape,
        details={"Tasks": f"{len(nodes):,}"},
        state=shorten(", ".join(f"{count:,} {state}" for state, count in states.items()), LONGEST_NAME),
        kind=kind,
    )


def shorten(text: str, longest: int) -> str:
    """Cut a text that is longer than this many characters, and mark the cut."""
    return text if len(text) <= longest else f"{text[: longest - 1].rstrip()}…"


def _no_graph(flow: Any) -> str:
    from dask_flow.flows import kind_of, name_of

    kinds = {"script": "a script", "prefect3": "a Prefect 3 flow"}
    what = kinds.get(kind_of(flow) or "", "a function" if callable(flow) else f"of type {type(flow).__name__}")
    advice = "; if the file defines a flow, name it: FILE.py:NAME" if kind_of(flow) == "script" else ""
    return (
        f"{name_of(flow)} is {what}, whose tasks are known only while it runs; "
        f"graph draws what has tasks before: a dask_flow.Flow, or a flow of Prefect 1{advice}"
    )


def _telling(edges: Iterable[Any]) -> list[Any]:
    """Leave out dependencies without an argument where there is one with an argument between the same tasks."""
    edges = list(edges)
    with_argument = {(edge.upstream_task, edge.downstream_task) for edge in edges if edge.key}
    return [edge for edge in edges if edge.key or (edge.upstream_task, edge.downstream_task) not in with_argument]


def _refuse_cycle(name: str, upstream: Mapping[Any, Iterable[Any]]) -> None:
    try:
        TopologicalSorter(upstream).prepare()
    except CycleError as error:
        cycle = " → ".join(task.name for task in reversed(error.args[1]))
        raise InputError(f"flow {name!r} has a cycle: {cycle}") from error


def _link(edge: Any, number: Mapping[Any, int]) -> Link:
    key = _plain(edge.key or "")
    label = f"flatten({key})" if edge.flattened else key
    return Link(number[edge.upstream_task], number[edge.downstream_task], label, bool(edge.mapped))


def _node(task: Any, edges: list[Any], given: Mapping[str, Any], state: Any) -> Node:
    mapped = any(edge.mapped for edge in edges) or any(
        getattr(each, "mapped", False) is True for each in given.values()
    )
    parameter = any(each.__name__ == "Parameter" for each in type(task).__mro__)
    outcome, kind = _outcome(state)
    trigger = getattr(task, "trigger", None)
    trigger_name = getattr(trigger, "__name__", type(trigger).__name__) if trigger else ""
    details = {
        "Type": type(task).__name__ + ", mapped" * mapped,
        "Arguments": ", ".join(_arguments(edges, given)),
        "Runs after": ", ".join(edge.upstream_task.name for edge in edges if not edge.key),
        "Default": _constant(task.default) if parameter and not task.required else "",
        "Trigger": trigger_name if trigger_name != "all_successful" else "",
        "Retries": str(getattr(task, "max_retries", 0) or ""),
        "State": outcome,
    }
    return Node(
        name=_plain(task.name),
        shape="parameter" if parameter else "mapped" if mapped else "task",
        details={key: shorten(_plain(value), LONGEST_DETAIL) for key, value in details.items()},
        state=outcome,
        kind=kind,
    )


def _arguments(edges: list[Any], given: Mapping[str, Any]) -> list[str]:
    from_tasks = {edge.key for edge in edges}
    constants = {key: getattr(each, "value", each) for key, each in given.items() if key not in from_tasks}
    return [
        *(f"{edge.key} from {edge.upstream_task.name}" for edge in edges if edge.key),
        *(f"{key} = {_constant(value)}" for key, value in constants.items()),
    ]


def _constant(value: Any) -> str:
    """Show a constant of a simple type, and of any other its type: its repr may be long, or another in each process."""
    simple = value is None or isinstance(value, bool | int | float | str)
    return shorten(repr(value), LONGEST_CONSTANT) if simple else f"({type(value).__name__})"


def _outcome(state: Any) -> tuple[str, str]:
    """Say what a task came to, and in which colour; a mapped one's items are counted."""
    if state is None:
        return "", ""
    items = [each for each in getattr(state, "map_states", None) or () if each is not None]
    counts = collections.Counter(type(each).__name__ for each in items)
    text = ", ".join(f"{count} {name}" for name, count in sorted(counts.items())) or type(state).__name__
    every = items or [state]
    if any(each.is_failed() for each in every):
        return text, "failed"
    if all(each.is_skipped() for each in every):
        return text, "skipped"
    return text, "success" if all(each.is_successful() for each in every) else "waiting"


def _plain(text: Any) -> str:
    """Return a text in one line, without what XML cannot hold."""
    line = " ".join(printable(text, LONGEST_DETAIL, str).split())
    return "".join("\ufffd" if unicodedata.category(each) == "Cn" else each for each in line)
