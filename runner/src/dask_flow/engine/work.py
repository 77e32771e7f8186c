"""What runs where a task runs: the whole life of one task, or of some items of a mapped one.

Most tasks need none of this: Dask calls their function. Those that do have a trigger, state handlers, a timeout, or are
items of a map that are computed together.
"""

from __future__ import annotations

import contextvars
import copy
import dataclasses
import datetime as dt
import itertools
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Never

from dask_flow import run_context, triggers
from dask_flow.core.edge import split
from dask_flow.engine import signals
from dask_flow.engine.arguments import filled
from dask_flow.engine.items import Items, Unsuccessful, as_item, summed_up
from dask_flow.engine.output import end_line
from dask_flow.engine.state import Failed, Pending, Retrying, Running, Skipped, State, Success, TimedOut, TriggerFailed
from dask_flow.errors import InputError
from dask_flow.text import LONGEST_REASON, printable

if TYPE_CHECKING:
    from dask_flow.core import Task

__all__ = [
    "Group",
    "TaskTimeoutError",
    "UnfinishedError",
    "UnsendableError",
    "Work",
    "decide",
    "ended_by",
    "handled",
    "not_run",
    "or_retry",
    "run_items",
    "run_one",
]


class TaskTimeoutError(TimeoutError):
    """A task took longer than its timeout."""


SUCCEEDED = "Task run succeeded."


UPSTREAM_SKIPPED = (
    "Upstream task was skipped; if this was not the intended behavior, consider changing "
    "`skip_on_upstream_skip=False` for this task."
)


class UnfinishedError(Exception):
    """Something before the task is to be tried again first."""


class UnsendableError(TypeError):
    """A result cannot be sent to where it is needed; another attempt would make another of its kind."""


@dataclasses.dataclass(frozen=True)
class Work:
    """A task as a worker needs it. `edges` are the keys of the states that its trigger gets, one for each argument."""

    task: Task
    run_id: str
    keys: tuple[str | None, ...]
    mapped: tuple[bool, ...]
    edges: tuple[Any, ...]

    def scope(self, map_index: int | None, run_count: int) -> dict[str, Any]:
        """Return what the context has in this task."""
        task = self.task
        values = run_context.with_task(
            run_context.runs.get(self.run_id, {}), task.name, frozenset(task.tags), map_index, run_count
        )
        return {**values, "log_stdout": task.log_stdout}


class Group(NamedTuple):
    """The items `start` to `start + length` of a mapped task.

    `known` are the states of what is handed over whole. `previous` is the place of what the items came to before: only
    those that are not finished run again, and of those that wait for another attempt, those that had to until `due`.
    """

    start: int
    length: int
    known: Sequence[State | None]
    previous: int | None
    due: float | None

    def run_count(self, item: Any) -> int:
        """Return for which time an item is to run now, by what stands in its place; 0: it is not."""
        if type(item) is not Unsuccessful or item.state.is_finished():
            return 0
        if not isinstance(item.state, Retrying):
            return 1
        is_due = self.due is not None and item.state.start_time.timestamp() <= self.due
        return item.state.run_count + 1 if is_due else 0


def run_one(values: Sequence[Any], work: Work, arguments: Sequence[Any], run_count: int) -> Any:
    """Run a task that its trigger lets run. Returns its value, or raises: its error, or the signal of its state."""
    given = [filled(each, values) for each in arguments]
    for each in given:
        if isinstance(each, Unsuccessful):
            raise signals.signal_from(each.state) if each.state.is_finished() else UnfinishedError
    token = run_context.scope.set(work.scope(None, run_count))
    try:
        state = _attempt(work.task, dict(zip(work.keys, given, strict=True)), run_count)
    finally:
        end_line()
        run_context.scope.reset(token)
    if type(state) is Success and state.message == SUCCEEDED:
        return state.result
    # One that ends a process must not reach the worker as itself.
    if isinstance(state.result, BaseException) and not isinstance(state.result, SystemExit):
        meant = ended_by(state.result)
        if (type(meant), meant.message) == (type(state), state.message):
            raise state.result
    raise signals.signal_from(state)


def run_items(values: Sequence[Any], work: Work, arguments: Sequence[Any], group: Group) -> Items:
    """Run some items of a mapped task. An item's failure is its own: an Unsuccessful takes its place."""
    began = time.perf_counter()
    columns = [filled(each, values) for each in arguments]
    items = Items([_NOT_RUN] * group.length if group.previous is None else values[group.previous])
    here = work.scope(group.start, 1)
    token = run_context.scope.set(here)
    try:
        if _is_plain(work, columns, group.known):
            _quickly(work, columns, group, items, here)
        else:
            _fully(work, columns, group, items, here)
    finally:
        run_context.scope.reset(token)
    items.seconds = time.perf_counter() - began
    return summed_up(items, work.run_id)


def _is_plain(work: Work, columns: Sequence[Any], known: Sequence[State | None]) -> bool:
    """Tell whether each item is just a call: nothing before it is unsuccessful, and the task asks for nothing more."""
    task = work.task
    if known or task.state_handlers or task.timeout or task.trigger is not triggers.all_successful:
        return False
    return not any(
        any(type(item) is Unsuccessful for item in column) if is_mapped else type(column) is Unsuccessful
        for column, is_mapped in zip(columns, work.mapped, strict=True)
    )


def _quickly(work: Work, columns: Sequence[Any], group: Group, items: Items, here: Mapping[str, Any]) -> None:
    function = work.task.callee
    for number, (positional, keywords) in enumerate(_calls(work, columns, len(items))):
        run_count = 1 if items[number] is _NOT_RUN else group.run_count(items[number])
        if not run_count:
            continue
        run_context.scope.set({**here, "map_index": group.start + number, "task_run_count": run_count})
        try:
            items[number] = function(*positional, **keywords)
        except (Exception, SystemExit, signals.PrefectStateSignal) as error:
            state = ended_by(error)
            items[number] = as_item(or_retry(work.task, state, run_count) or state)
        end_line()


def _calls(work: Work, columns: Sequence[Any], count: int) -> Iterable[tuple[Sequence[Any], Mapping[str, Any]]]:
    """Return each item's positional arguments and keywords."""
    rows = {
        str(key): column if is_mapped else itertools.repeat(column, count)
        for key, column, is_mapped in zip(work.keys, columns, work.mapped, strict=True)
        if key is not None
    }
    positional, keywords = split(work.task, rows)
    ordered = zip(*positional, strict=True) if positional else itertools.repeat((), count)
    if not keywords:
        return zip(ordered, itertools.repeat({}), strict=False)
    named = (dict(zip(keywords, row, strict=True)) for row in zip(*keywords.values(), strict=True))
    return zip(ordered, named, strict=True)


def _fully(work: Work, columns: Sequence[Any], group: Group, items: Items, here: Mapping[str, Any]) -> None:
    known = group.known or [None] * len(columns)
    for number, item in enumerate(items):
        run_count = group.run_count(item)
        if not run_count:
            continue
        run_context.scope.set({**here, "map_index": group.start + number, "task_run_count": run_count})
        given = [
            column[number] if is_mapped else column for column, is_mapped in zip(columns, work.mapped, strict=True)
        ]
        states = [_state(each, state) for each, state in zip(given, known, strict=True)]
        items[number] = as_item(_settled(work, states, run_count))
        end_line()


def _state(value: Any, known: State | None) -> State:
    """Return the state of what an item is given."""
    if type(value) is Unsuccessful:
        return value.state
    if known is None:
        return Success(result=value)
    state = copy.copy(known)
    state.result = value
    return state


def _settled(work: Work, states: Sequence[State], run_count: int) -> State:
    """Return the state of one item, after it ran if it was to."""
    if not all(state.is_finished() for state in states):
        return Pending("Some upstream tasks are not finished.")
    verdict = decide(work.task, dict(zip(work.edges, states, strict=True)))
    if verdict is not None:
        return handled(work.task, Pending(), verdict)
    return _attempt(work.task, {key: state.result for key, state in zip(work.keys, states, strict=True)}, run_count)


def decide(task: Task, upstream: Mapping[Any, State]) -> State | None:
    """Return the state of a task that what came before keeps from running, or None if it is to run."""
    if task.skip_on_upstream_skip and any(each.is_skipped() for each in triggers.each_state(upstream)):
        return Skipped(UPSTREAM_SKIPPED)
    try:
        return None if task.trigger(upstream) else signals.TRIGGERFAIL("Trigger failed").state
    except signals.PrefectStateSignal as signal:
        return signal.state
    except Exception as error:
        return TriggerFailed(f"Unexpected error while checking task trigger: {_text(error)}", result=error)


def _attempt(task: Task, arguments: Mapping[str | None, Any], run_count: int) -> State:
    """Run the task once, and return its state: successful, failed, skipped, or that it is to be tried again."""
    before = Retrying(run_count=run_count - 1) if run_count > 1 else Pending()
    state = handled(task, before, Running("Starting task run."))
    if not state.is_running():
        return state
    ended = handled(task, state, _call(task, {str(key): value for key, value in arguments.items() if key is not None}))
    retry = or_retry(task, ended, run_count)
    return handled(task, ended, retry) if retry else ended


def _call(task: Task, arguments: Mapping[str, Any]) -> State:
    positional, keywords = split(task, arguments)
    try:
        if task.timeout:
            return Success(SUCCEEDED, _within(task.timeout, task.callee, positional, keywords))
        return Success(SUCCEEDED, task.callee(*positional, **keywords))
    except (Exception, SystemExit, signals.PrefectStateSignal) as error:
        return ended_by(error)


def ended_by(error: BaseException) -> State:
    """Return the state that what a task raised means."""
    if isinstance(error, signals.PrefectStateSignal):
        return error.state
    if isinstance(error, TaskTimeoutError):
        return TimedOut("Task timed out during execution.", result=error)
    return Failed(f"Error during execution of task: {_text(error)}", result=error)


def _text(error: BaseException) -> str:
    return printable(error, LONGEST_REASON)


def or_retry(task: Task, state: State, run_count: int) -> Retrying | None:
    """Return the state of waiting for another attempt, if the task failed and has one left."""
    if not state.is_failed() or run_count > task.max_retries or task.retry_delay is None:
        return None
    if isinstance(state.result, InputError):  # another attempt would ask for the same
        return None
    if task.retry_on and state.result is not None and not isinstance(state.result, task.retry_on):
        return None
    return Retrying(
        f"Retrying Task (after attempt {run_count} of {task.max_retries + 1})",
        state.result,
        start_time=dt.datetime.now(dt.UTC) + task.retry_delay,
        run_count=run_count,
    )


def handled(owner: Any, old: State, new: State) -> State:
    """Have the state handlers of a task or flow look at a new state, and return what they make of it."""
    for handler in owner.state_handlers:
        try:
            new = handler(owner, old, new) or new
        except signals.PrefectStateSignal as signal:
            new = signal.state
        except Exception as error:
            return Failed(f"Unexpected error while calling state handlers: {_text(error)}", result=error)
    return new


def _within(seconds: float, function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """Call the function in a thread of its own, and leave that alone if it takes too long: it cannot be ended."""
    outcome: list[Any] = []

    def call() -> None:
        try:
            outcome.append((function(*args, **kwargs), None))
        except BaseException as error:
            outcome.append((None, error))
        end_line()

    thread = threading.Thread(target=contextvars.copy_context().run, args=(call,), daemon=True)
    thread.start()
    thread.join(seconds)
    if not outcome:
        raise TaskTimeoutError(f"Execution timed out for {run_context.current_task()}: it took more than {seconds:g} s")
    value, error = outcome[0]
    if error is not None:
        raise error
    return value


def not_run(_: str) -> Never:
    """Stand for an item that is not to run, as something before it was not successful."""
    raise signals.TRIGGERFAIL("Something before it was not successful.")


_NOT_RUN = Unsuccessful(Pending())
