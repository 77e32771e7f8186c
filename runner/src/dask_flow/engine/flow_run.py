"""The driver: submits a flow's tasks as early as it can, and decides where a decision is needed.

Most tasks are submitted as soon as those before them are, and Dask itself makes them wait; an error reaches what comes
after through Dask too. Only where the outcome decides what happens next does the driver wait: triggers, retries, maps
over results. Results stay where they are computed, and are released when nobody needs them any more.
"""

from __future__ import annotations

import functools
import heapq
import itertools
import logging
import queue
import time
import uuid
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from dask_flow.core import Flow, Task
from dask_flow.engine import work
from dask_flow.engine.backends import Backend
from dask_flow.engine.fetching import Results
from dask_flow.engine.items import Summary, with_traceback
from dask_flow.engine.lengths import Lengths
from dask_flow.engine.plan import Node, Part, plan
from dask_flow.engine.state import Elsewhere, Failed, Mapped, Retrying, State, Success, TimedOut
from dask_flow.engine.submission import Submission, known_states
from dask_flow.engine.verdicts import Verdicts
from dask_flow.log import described, user_traceback
from dask_flow.run_context import describe_run, full_name, inherited

__all__ = ["FlowRun"]

log = logging.getLogger(__name__)

LOGGED_ITEMS = 10
"""So many failed items of a mapped task are logged with their tracebacks, and so many of a group that run again."""

MOST_FAILURES = 100
"""So many failures of a run are logged with their tracebacks; the others are counted."""

TOGETHER_SECONDS = 1.0
"""Items of a group that run again within so many seconds do so together, at the time of the last one."""


class FlowRun:
    """One run of a flow. `keep` are the tasks whose results are wanted afterwards; None: all."""

    def __init__(
        self,
        flow: Flow,
        backend: Backend,
        parameters: Mapping[str, Any],
        context: Mapping[str, Any] | None = None,
        keep: Collection[Task] | None = None,
    ) -> None:
        self.flow, self.backend = flow, backend
        self.nodes = plan(flow, parameters)
        self.by_task = {node.task: node for node in self.nodes if node.task in flow.tasks}
        self.keep = set(flow.tasks if keep is None else keep)
        self.results = Results(backend)
        self._run_id = uuid.uuid4().hex[:8]
        values = {each.name: parameters.get(each.name, each.default) for each in flow.parameters()}
        self._context = describe_run(flow.name, values, {**inherited(), **(context or {})}, str(uuid.uuid4()))
        self._verdicts = Verdicts(self._context)
        self._submission = Submission(backend, self._run_id, self.nodes)
        self._lengths = Lengths(self._submission, self._watch)
        self._todo: deque[Node] = deque()
        self._queue(self.nodes)
        self._left = sum(node.state is None for node in self.nodes)
        self._events: queue.SimpleQueue[tuple[int, Callable[[], None]]] = queue.SimpleQueue()
        self._open_events = 0
        self._groups: list[tuple[Part, int]] = []
        self._timers: list[tuple[float, int, Part, float]] = []
        self._timer_numbers = itertools.count()
        self._failures = 0
        self.retries: Counter[Task] = Counter()
        """How many attempts but the first tasks had, those of items counted one by one."""

    def run(self) -> dict[Task, State]:
        """Run all tasks and return their states; results that are kept are fetched when they are asked for."""
        self.backend.begin(self._run_id, self._context, self._stuck)
        while True:
            while self._todo:
                node = self._todo.popleft()
                node.queued = False
                self._advance(node)
            if not self._left:
                if self._failures > MOST_FAILURES:
                    log.error("%d more failures are not logged", self._failures - MOST_FAILURES)
                states = ((task, self.by_task[task].state) for task in self.flow.tasks)
                return {task: state for task, state in states if state is not None}
            self._wait()

    def release(self) -> None:
        """Let go of all results; those that were not fetched are lost."""
        for node in self.nodes:
            for part in node.parts:
                part.future = None

    # ---- events

    def _watch(self, futures: Sequence[Any], then: Callable[[], None]) -> None:
        self._open_events += 1
        self.backend.watch(futures, functools.partial(self._events.put, (1, then)))

    def _stuck(self, key: str, why: str) -> None:
        self._events.put((0, functools.partial(self._give_up, key, why)))

    def _wait(self) -> None:
        """Wait for an event or for the time of a retry, and take in all events that are there."""
        if not self._open_events and not self._timers:
            stuck = ", ".join(node.task.name for node in self.nodes if node.state is None)
            raise RuntimeError(
                f"flow {self.flow.name!r} cannot go on; this is a fault of dask-flow. It waits for: {stuck}"
            )
        timeout = max(0.0, self._timers[0][0] - time.monotonic()) if self._timers else None
        try:
            events = [self._events.get(timeout=timeout)]
        except queue.Empty:
            events = []
        while not self._events.empty():
            events.append(self._events.get())
        for awaited, event in events:
            self._open_events -= awaited
            event()
        self._take_groups()
        while self._timers and self._timers[0][0] <= time.monotonic():
            _, _, part, due = heapq.heappop(self._timers)
            if part.waiting and part.future is not None:  # of a node that was not started again
                self._wait_no_more(part)
                self._resubmit(part, due)

    # ---- decisions

    def _advance(self, node: Node) -> None:
        """Take a node as far as it can go now."""
        if node.state is None and not node.available:
            self._start(node)
        if node.state is None and node.parts and not node.open_parts:
            self._settle(node)
        if node.state is None and node.mapped and not node.flat and node.length == 0 and node.is_final:
            self._end(node, self._verdicts.skipped_as_a_whole(node) or self._mapped(node, {}))

    def _start(self, node: Node) -> None:
        bad = node.is_bad
        if (bad or node.waits) and not node.is_final:
            return
        if node.mapped:
            self._expand(node, decided=bad or node.waits)
            return
        if bad or node.waits:
            verdict = self._verdicts.decide(node)
            if verdict is not None:
                self._end(node, self._verdicts.handled(node, verdict))
                return
        elif not all(each.available for each in node.upstream):
            return
        self._submit(Part(node))

    def _settle(self, node: Node) -> None:
        """Work out the state of a node whose parts all ended."""
        if node.mapped:
            if node.length is not None and node.covered >= node.length and node.is_final:
                self._settle_mapped(node)
            return
        part = node.parts[0]
        if part.error is None:
            self._end(node, Success(work.SUCCEEDED, Elsewhere(lambda: self.results.of(part))))
        elif node.is_final and not isinstance(part.error, work.UnfinishedError):
            state = self._verdict(part)
            if state is not None:
                self._end(node, state)

    def _verdict(self, part: Part) -> State | None:
        """Return the state that a part's error means; None if it is tried again."""
        state = self._verdicts.of(part)
        if isinstance(state, Retrying):
            self._retry_at(part, {part.start if part.node.mapped else None: state})
            return None
        if type(state) is Success:
            self._restart(_started(part.node.downstream))  # they had seen an error
        return state

    def _end(self, node: Node, state: State) -> None:
        node.state = state
        self._left -= 1
        if not node.mapped:
            self._log_failure(node, None, state)
        self._queue(node.downstream)
        for each in node.upstream:
            each.users -= 1
        for each in (*node.upstream, node):
            if not each.users and each.downstream and each.state is not None and each.task not in self.keep:
                for part in each.parts:
                    part.future = None

    def _log_failure(self, node: Node, number: int | None, state: State) -> None:
        if not state.is_failed() or not isinstance(state.result, BaseException) or node.task not in self.by_task:
            return
        self._failures += 1
        if self._failures > MOST_FAILURES:
            return
        name = full_name(node.task.name, number)
        if type(state) in (Failed, TimedOut):
            log.error("task %s failed:\n%s", name, user_traceback(state.result))
        elif isinstance(state.result, Exception):  # of a trigger, but no signal
            log.error("task %s: unexpected error while checking its trigger:\n%s", name, user_traceback(state.result))

    def _release_used(self, part: Part) -> None:
        """Let go of those results that this part of a mapped node was the last to need."""
        for used in part.sources(whole=not part.node.open_parts) if part.node.mapped else ():
            ended = used.node.state is not None or used.done
            if ended and used.node.task not in self.keep and used.was_used():
                used.future = None

    def _queue(self, nodes: Iterable[Node]) -> None:
        """Have these nodes looked at."""
        for node in nodes:
            if not node.queued:
                node.queued = True
                self._todo.append(node)

    # ---- retries

    def _retry_at(self, part: Part, failed: Mapping[int | None, Retrying], waiting: Collection[Retrying] = ()) -> None:
        """Have a part computed again when the first items are due: of those that failed now, or that wait already."""
        for number, state in itertools.islice(failed.items(), LOGGED_ITEMS):
            self._log_retry(part.node, number, state)
        starts = [state.start_time.timestamp() for state in (*failed.values(), *waiting)]
        soon = max(min(starts), time.time()) + TOGETHER_SECONDS
        due = max(start for start in starts if start <= soon)
        part.count += 1
        self.retries[part.node.task] += len(failed)
        part.waiting = True
        part.node.waiting += 1
        part.end(done=False, error=part.error)
        heapq.heappush(self._timers, (time.monotonic() + _seconds_to(due), next(self._timer_numbers), part, due))

    def _log_retry(self, node: Node, number: int | None, state: Retrying) -> None:
        why = f": {described(state.result)}" if isinstance(state.result, Exception) else ""
        name = full_name(node.task.name, number)
        seconds = _seconds_to(state.start_time.timestamp())
        log.warning("task %s: attempt %d failed, the next is in %.3g s%s", name, state.run_count, seconds, why)

    def _wait_no_more(self, part: Part) -> None:
        part.waiting = False
        part.node.waiting -= 1

    def _resubmit(self, again: Part, due: float) -> None:
        """Compute a part again, and what was computed from it: of items, those that are not finished.

        Items after it that wait for an attempt of their own go on waiting.
        """
        todo = [again]
        while todo:
            part = todo.pop()
            node = part.node
            if node.state is not None or part.waiting or part.future is None:  # ended, or started again
                continue
            if part is not again and (node.flat or not node.mapped):
                self._restart([node])
                continue
            previous = part.future if not part.raw and part.error is None else None
            self._submit(part, previous, due if part is again else None)
            todo += reversed(list(part.users()))

    def _restart(self, nodes: Iterable[Node]) -> None:
        """Compute nodes anew, and what was started after them."""
        todo = list(nodes)
        while todo:
            node = todo.pop()
            node.restart()
            self._queue([node])
            todo += _started(node.downstream)

    # ---- maps

    def _expand(self, node: Node, *, decided: bool) -> None:
        """Submit groups of a mapped task, as many as may be ahead."""
        if node.flat:
            if node.upstream[0].available:
                node.length = 0
                self._submit(Part(node, 0, None, raw=False))
            return
        skipped = self._verdicts.skipped_as_a_whole(node) if decided else None
        if skipped is not None:
            self._end(node, skipped)
            return
        if node.length is None and not self._measure(node):
            return
        if node.raw and self.backend.calls_functions:
            if all(each.available for each in node.upstream):
                self._submit_each_item(node)
            return
        if not all(each.available for given in node.given if not given.mapped for each in given.nodes):
            return
        threads = self.backend.threads
        while node.covered < (node.length or 0) and node.may_submit(threads):
            stop = node.next_stop(threads)
            if stop is None:
                return
            self._submit(Part(node, node.covered, stop, raw=False))

    def _measure(self, node: Node) -> bool:
        """Find out how many items there are; tell whether that is known now."""
        length = self._lengths.of(node, lambda: self._queue([node]))
        if isinstance(length, str):
            if node.is_final:
                self._end(node, self._verdicts.handled(node, Failed(length)))
            return False
        node.length = length
        return length is not None

    def _mapped(self, node: Node, problems: Mapping[int, State]) -> State:
        for number, state in itertools.islice(problems.items(), LOGGED_ITEMS):
            self._log_failure(node, number, state)
        return self._verdicts.handled(node, self.results.mapped(node, problems))

    def _settle_mapped(self, node: Node) -> None:
        skipped = self._verdicts.skipped_as_a_whole(node) if node.is_bad and not node.flat else None
        if skipped is not None:
            self._end(node, skipped)
            return
        if node.flat:
            node.length = node.parts[0].stop
        problems: dict[int, State] = {}
        for part in node.parts:
            if part.error is not None:
                if node.flat and any(used.error is not None for used in part.sources()):
                    self._restart([node])  # the items' states are known now
                    return
                verdict = self._verdict(part)
                if verdict is None:
                    continue
                if node.flat:
                    self._end(node, verdict)
                    return
                part.problems = {
                    number: self._verdicts.decide(node, number) or verdict
                    for number in range(part.start, part.stop or 0)
                }
            problems.update(part.problems)
        if not node.waiting:
            self._end(node, self._mapped(node, problems))

    # ---- submission and ends

    def _submit(self, part: Part, previous: Any = None, due: float | None = None) -> None:
        node = part.node
        if part.future is None:
            node.parts.append(part)
        part.end(done=False)
        part.attempt += 1
        known = known_states(node) if node.mapped and (node.waits or node.is_bad) else ()
        part.future = self._submission.part(part, previous, known, due)
        if part.raw:
            self._watch([part.future], functools.partial(self._ended, part, part.attempt))
        else:
            self._watch([part.future], functools.partial(self._groups.append, (part, part.attempt)))
        self._queue(node.downstream)

    def _submit_each_item(self, node: Node) -> None:
        """Submit each item as a call of the function, all at once."""
        futures = self._submission.each_item(node)
        node.take_parts(futures)
        # One that may be tried again must not wait for the others.
        together = 1 if node.task.max_retries else max(1, len(futures))
        for start in range(0, len(futures), together):
            parts = node.parts[start : start + together]
            self._watch([part.future for part in parts], functools.partial(self._ended_together, parts))
        self._queue(node.downstream)

    def _ended_together(self, parts: Sequence[Part]) -> None:
        for part in parts:
            self._ended(part, 0)

    def _ended(self, part: Part, attempt: int) -> None:
        if part.future is None or part.attempt != attempt or part.waiting:  # it was given up, or started again
            return
        part.end(done=True, error=self.backend.error(part.future))
        node = part.node
        if part.error is not None and node.raw and node.task.max_retries and node.is_final:
            state = self._verdicts.of(part)
            if isinstance(state, Retrying):  # it need not wait for the other items
                self._retry_at(part, {part.start if node.mapped else None: state})
                return
        self._release_used(part)
        self._queue([node])

    def _give_up(self, key: str, why: str) -> None:
        """Take a result that cannot be sent to where it is needed for a failure of the task that returned it."""
        for part in (part for node in self.nodes for part in node.parts if getattr(part.future, "key", None) == key):
            error = work.UnsendableError(f"its result cannot be sent to another worker: {why}")
            self._abandon(part, error)
            node, state = part.node, work.ended_by(error)
            if isinstance(node.state, Mapped):
                lost = dict.fromkeys(range(part.start, part.stop or 0), state)
                node.state = self._mapped(node, {**node.state.unsuccessful, **lost})
            elif node.state is not None:
                node.state = state
                self._log_failure(node, None, state)

    def _abandon(self, part: Part, error: Exception) -> None:
        """End a part, and what is computed from it, by an error."""
        todo = [part]
        while todo:
            each = todo.pop()
            if each.waiting:
                self._wait_no_more(each)
            each.future = None
            each.end(done=True, error=error)
            self._queue([each.node])
            todo += [user for user in each.users() if not user.done]

    def _take_groups(self) -> None:
        """Take in what became of groups that ended, together."""
        current = [part for part, attempt in self._groups if part.future is not None and part.attempt == attempt]
        self._groups.clear()
        ended = [(part, self.backend.error(part.future)) for part in current]
        good = [part for part, error in ended if error is None]
        for part, summary in zip(good, self.backend.summaries([part.future for part in good]), strict=True):
            self._take_summary(part, summary)
        for part, error in ended:
            if error is not None:
                part.end(done=True, error=error)
            if part.done:
                self._release_used(part)
            self._queue([part.node])

    def _take_summary(self, part: Part, summary: Summary) -> None:
        node = part.node
        if node.flat:
            part.stop = node.length = summary.length
        node.sizes.measured(summary.length, summary.seconds)
        states = {part.start + number: with_traceback(*each) for number, each in summary.unsuccessful.items()}
        before, part.problems = part.problems, states
        retrying = {number: state for number, state in states.items() if isinstance(state, Retrying)}
        if retrying:
            waiting = {number for number, state in retrying.items() if _is_same_attempt(state, before.get(number))}
            failed: dict[int | None, Retrying] = {n: state for n, state in retrying.items() if n not in waiting}
            self._retry_at(part, failed, [retrying[number] for number in waiting])
        else:
            part.end(done=all(state.is_finished() for state in states.values()))


def _seconds_to(timestamp: float) -> float:
    return max(0.0, timestamp - time.time())


def _is_same_attempt(state: Retrying, before: State | None) -> bool:
    return isinstance(before, Retrying) and before.run_count == state.run_count


def _started(nodes: Iterable[Node]) -> list[Node]:
    """Return those of the nodes that have not ended, but of which something was submitted or is known."""
    return [node for node in nodes if node.state is None and (node.parts or node.length is not None)]
