"""Run a `dask_flow.Flow` on a client's cluster; only short texts of its results leave the workers."""

from __future__ import annotations

import logging
import uuid
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dask.utils import key_split

from dask_flow.core import Flow, Task
from dask_flow.engine.entry import check, failed_states, run_on
from dask_flow.engine.items import Unsuccessful
from dask_flow.engine.state import State
from dask_flow.executors import executor_of, on_client, report_of
from dask_flow.flows import HIDDEN, Counts, FlowResult, short
from dask_flow.flows.ended import error_of, was_not_run
from dask_flow.log import listed

if TYPE_CHECKING:
    from distributed import Client

    from dask_flow.engine.flow_run import FlowRun

__all__ = ["check", "run"]

log = logging.getLogger(__name__)

FIRST_ITEMS = 10


def run(flow: Flow, client: Client, params: Mapping[str, Any]) -> FlowResult:
    """Run the flow and wait for it."""
    terminal = flow.terminal_tasks()
    labels = _labels(flow)
    with report_of(executor_of(flow), client), on_client(client) as backend:
        run, state = run_on(backend, flow, params, keep={*terminal, *flow.reference_tasks()})
        states: Mapping[Task, State] = state.result if isinstance(state.result, dict) else {}
        results = _texts(run, client, {labels[task]: task for task in states if task in terminal})
        run.release()
    failed = {
        labels[task] if number is None else f"{labels[task]}[{number}]": each
        for task, end in states.items()
        for number, each in failed_states(end).items()
    }
    errors = {name: error_of(each) for name, each in failed.items() if not was_not_run(each)}
    if state.is_failed():
        skipped = tuple(name for name, each in failed.items() if was_not_run(each))
        errors = errors or {flow.name: error_of(state)}
        return FlowResult(results, errors, skipped, logged=True, counts=_counts(run), state=state)
    if failed:
        log.warning("the flow succeeded in spite of failed tasks: %s", listed(list(failed)))
    return FlowResult(results, counts=_counts(run), state=state)


def _counts(run: FlowRun) -> dict[str, Counts]:
    """Count what became of the tasks, by the name that Dask shows."""
    counts: dict[str, Counts] = {}
    for task in run.flow.tasks:
        node = run.by_task[task]
        name = key_split(f"{task.name}-0")
        together = node.mapped and node.parts and not node.parts[0].raw
        states = [] if node.state is None else failed_states(node.state).values()
        failed = sum(not was_not_run(each) for each in states)
        found = Counts(node.length or 0 if together else 0, failed, run.retries[task])
        counts[name] = counts.get(name, Counts()) + found
    return counts


def _texts(run: FlowRun, client: Client, tasks: Mapping[str, Task]) -> dict[str, str]:
    """Return short texts of the results of tasks, made on the workers that hold them; none for None."""
    texts = {}
    for name, task in tasks.items():
        node = run.by_task[task]
        if node.state is not None and node.state.is_successful() and node.parts:
            part, key = node.parts[0], f"{HIDDEN}result-{uuid.uuid4().hex}"
            if node.mapped and not part.raw:
                texts[name] = client.submit(_short_items, part.future, node.length, key=key)
            else:
                texts[name] = client.submit(short, part.future, key=key)
    gathered: dict[str, str] = client.gather(texts, errors="skip")
    return {name: text for name, text in gathered.items() if text != "None"}


def _short_items(items: list[Any], length: int) -> str:
    """Return the first items of a mapped task as a text."""
    first = [repr(each.state if isinstance(each, Unsuccessful) else each) for each in items[:FIRST_ITEMS]]
    more = f", …] ({length:,} items in all)" if length > len(first) else "]"
    return short(f"[{', '.join(first)}{more}")


def _labels(flow: Flow) -> dict[Task, str]:
    """Name the tasks apart: by name, and among several of one name by their number too, from 0."""
    counts, seen = Counter(each.name for each in flow.tasks), Counter[str]()
    labels = {}
    for each in flow.tasks:
        labels[each] = each.name if counts[each.name] == 1 else f"{each.name}[{seen[each.name]}]"
        seen[each.name] += 1
    return labels
