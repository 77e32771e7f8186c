"""Run a `dask_flow.Flow` on a client's cluster; only short texts of its results leave the workers."""

from __future__ import annotations

import itertools
import logging
import uuid
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dask.utils import key_split

from dask_flow.core import Flow, Task
from dask_flow.engine.entry import check, failed_states, run_on
from dask_flow.engine.state import Mapped, State
from dask_flow.executors import executor_of, on_client, report_of
from dask_flow.flows import HIDDEN, Counts, FlowResult, short
from dask_flow.flows.ended import error_of, was_not_run
from dask_flow.log import listed
from dask_flow.text import LONGEST_NAME, one_line, printable

if TYPE_CHECKING:
    from distributed import Client

    from dask_flow.engine.flow_run import FlowRun
    from dask_flow.engine.plan import Node

__all__ = ["check", "run"]

log = logging.getLogger(__name__)

FIRST_ITEMS = 10
MOST_RESULTS = 100


def run(flow: Flow, client: Client, params: Mapping[str, Any]) -> FlowResult:
    """Run the flow and wait for it."""
    terminal = flow.terminal_tasks()
    labels = _labels(flow)
    with report_of(executor_of(flow), client), on_client(client) as backend:
        run, state = run_on(backend, flow, params, keep={*terminal, *flow.reference_tasks()})
        states: Mapping[Task, State] = state.result if isinstance(state.result, dict) else {}
        shown = {labels[task]: task for task in states if task in terminal}
        results = _texts(run, client, dict(itertools.islice(shown.items(), MOST_RESULTS)))
        if len(shown) > MOST_RESULTS:
            results["more tasks"] = f"{len(shown) - MOST_RESULTS:,} of them"
        run.release()
    by_task = {task: _failed(labels[task], end) for task, end in states.items()}
    failed = {name: each for of_task in by_task.values() for name, each in of_task.items()}
    errors = {name: error_of(each) for name, each in failed.items() if not was_not_run(each)}
    if state.is_failed():
        errors = errors or _first_not_run(flow, by_task) or {flow.name: error_of(state)}
        skipped = tuple(name for name in failed if name not in errors)
        return FlowResult(results, errors, skipped, logged=True, counts=_counts(run), state=state)
    if failed:
        log.warning("the flow succeeded in spite of failed tasks: %s", listed(list(failed)))
    return FlowResult(results, counts=_counts(run), state=state)


def _failed(label: str, state: State) -> dict[str, State]:
    """Return a task's state if that is a failure; of a mapped task those of its items."""
    states = failed_states(state).items()
    return {label if number is None else f"{label}[{number}]": each for number, each in states}


def _first_not_run(flow: Flow, failed: Mapping[Task, Mapping[str, State]]) -> dict[str, BaseException]:
    """Return why tasks did not run though nothing before them failed: their triggers wanted something else."""
    first = [each for task, each in failed.items() if not any(failed[before] for before in flow.upstream_tasks(task))]
    return {name: error_of(state) for states in first for name, state in states.items()}


def _counts(run: FlowRun) -> dict[str, Counts]:
    """Count what became of the tasks, by the name that Dask shows."""
    counts: dict[str, Counts] = {}
    for task in run.flow.tasks:
        node = run.by_task[task]
        name = key_split(f"{one_line(task.name, LONGEST_NAME)}-0")
        together = node.mapped and node.parts and not node.parts[0].raw
        states = [] if node.state is None else failed_states(node.state).values()
        failed = sum(not was_not_run(each) for each in states)
        found = Counts(node.length or 0 if together else 0, failed, run.retries[task])
        counts[name] = counts.get(name, Counts()) + found
    return counts


def _texts(run: FlowRun, client: Client, tasks: Mapping[str, Task]) -> dict[str, str]:
    """Return short texts of the results of tasks, made on the workers that hold them; none for None."""
    texts = {name: _text(run.by_task[task], client) for name, task in tasks.items()}
    gathered: dict[str, str] = client.gather(texts, errors="skip")
    return {name: text for name, text in gathered.items() if text not in ("None", None)}


def _text(node: Node, client: Client) -> Any:
    """Return a short text of a node's result, or the future of one."""
    state, key = node.state, f"{HIDDEN}result-{uuid.uuid4().hex}"
    if state is None or not state.is_successful() or not node.parts:
        return "None"
    if node.is_known:
        return "None" if isinstance(state.result, BaseException) else short(state.result)
    if not isinstance(state, Mapped):
        return client.submit(short, node.parts[0].future, key=key)
    first = [part for part in node.parts if part.start < FIRST_ITEMS]
    known = {number: printable(each) for number, each in state.unsuccessful.items() if number < FIRST_ITEMS}
    held = [None if part.error else [part.future] if part.raw else part.future for part in first]
    return client.submit(_short_items, [part.start for part in first], held, known, node.length, key=key)


def _short_items(starts: list[int], held: list[Any], known: Mapping[int, str], length: int) -> str:
    """Return the first items of a mapped task as a text; `known` are the texts of those that have no value."""
    items = [each for start, part in zip(starts, held, strict=True) for each in enumerate(part or (), start)]
    texts = {**{number: _item(each) for number, each in items if number < FIRST_ITEMS}, **known}
    first = [text for _, text in sorted(texts.items())]
    more = f", …] ({length:,} items in all)" if length > len(first) else "]"
    return short(f"[{', '.join(first)}{more}")


def _item(value: Any) -> str:
    """Return the text of an item as it is in a list: of a text its repr too."""
    return repr(value) if type(value) is str else printable(value)


def _labels(flow: Flow) -> dict[Task, str]:
    """Name the tasks apart: by name, and among several of one name by their number too, from 0."""
    counts, seen = Counter(each.name for each in flow.tasks), Counter[str]()
    labels = {}
    for each in flow.tasks:
        labels[each] = each.name if counts[each.name] == 1 else f"{each.name}[{seen[each.name]}]"
        seen[each.name] += 1
    return labels
