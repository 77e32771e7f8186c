"""Run a case, and reduce what came out to plain JSON that is equal for equal behaviour: paths and values, flat."""

import json
import threading
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

from library import Library

# Tasks that Prefect makes for arguments; not the user's.
HELPERS = {"List", "Tuple", "Set", "Dict", "Constant"}


def within(seconds, function):
    """Call the function and return its value; after so many seconds, give it up and raise TimeoutError."""
    outcome = []

    def call():
        try:
            outcome.append((function(), None))
        except BaseException as error:
            outcome.append((None, error))

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(seconds)
    if not outcome:
        raise TimeoutError(f"it hangs: no end after {seconds} s")
    value, error = outcome[0]
    if error is not None:
        raise error
    return value


def run_case(library_name, case, executor=None):
    """Build and run a case's flow; return what came out, by path."""
    with TemporaryDirectory() as folder:
        lib = Library(library_name, Path(folder) / "events")
        outcome = {}
        step = "build"
        try:
            flow, options = case(lib)
            step = "run"
            state = flow.run(**options, **({"executor": executor} if executor else {}))
        except Exception as error:
            outcome["raises"] = {"when": step}
            outcome["error"] = repr(error)
        else:
            outcome.update(_described(flow, state))
        events = _events(lib.events)
    if "raises" not in outcome:
        outcome["runs"] = Counter(event["run"] for event in events if event.get("event") == "start")
        outcome["order"] = _broken_edges(flow, state, events)
    notes = {}
    for event in events:
        if "note" in event:
            notes.setdefault(event["note"], []).append(event["values"])
    return _flat({**outcome, "notes": notes})


def _events(path):
    try:
        return [json.loads(line) for line in Path(path).read_text().splitlines()]
    except FileNotFoundError:
        return []


def _described(flow, state):
    described = {"flow": {"state": type(state).__name__, "message": state.message}}
    if not isinstance(state.result, dict):
        described["flow"]["result"] = plain(state.result)
        return described
    seen = Counter()
    described["tasks"] = {}
    for task in tasks_in_order(flow):
        if type(task).__name__ in HELPERS:
            continue
        seen[task.name] += 1
        key = task.name if seen[task.name] == 1 else f"{task.name}#{seen[task.name]}"
        described["tasks"][key] = _state(state.result[task])
    return described


def tasks_in_order(flow):
    """Return the flow's tasks in the order in which they were added."""
    return getattr(flow, "order", None) or list(flow.tasks)


def _state(state):
    described = {"state": type(state).__name__, "message": state.message, "result": plain(state.result)}
    if state.is_mapped():
        described["children"] = {str(i): _state(child) for i, child in enumerate(state.map_states)}
        described["length"] = len(state.map_states)
    return described


def plain(value):
    """Return a value as text that doesn't depend on the library, the process or the order of a set."""
    if isinstance(value, BaseException):
        return f"raised {type(value).__name__}({value})"
    if isinstance(value, list | tuple):
        open_, close = "[]" if isinstance(value, list) else "()"
        return open_ + ", ".join(plain(item) for item in value) + close
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key!r}: {plain(item)}" for key, item in value.items()) + "}"
    if isinstance(value, set | frozenset):
        return "{" + ", ".join(sorted(plain(item) for item in value)) + "}"
    return repr(value)


def _broken_edges(flow, state, events):
    """Return the pairs of tasks of which the second started before the first was over; tasks are told by name."""
    states = state.result if isinstance(state.result, dict) else {}
    mapped = {task for task, state in states.items() if state.is_mapped()}
    first, last = {}, {}
    for event in events:
        if event.get("event") == "start":
            first.setdefault(event["run"], event["at"])
        elif event.get("event") == "end":
            last[event["run"]] = event["at"]
    names = Counter(task.name for task in flow.tasks)
    return [
        f"{before.name} → {after.name}"
        for before, after in _ordered_pairs(flow, mapped)
        if names[before.name] == names[after.name] == 1
        and last.get(before.name, 0) > first.get(after.name, float("inf"))
    ]


def _ordered_pairs(flow, mapped):
    """Yield which task must be over before which starts. A mapped child waits for one child of a mapped task only."""
    after = {}
    for edge in flow.edges:
        if not (edge.mapped and edge.upstream_task in mapped):
            after.setdefault(edge.upstream_task, set()).add(edge.downstream_task)
    for task in flow.tasks:
        reached, new = set(), set(after.get(task, ()))
        while new:
            reached |= new
            new = {further for each in new for further in after.get(each, ())} - reached
        yield from ((task, other) for other in reached)


def _flat(value, path=""):
    if isinstance(value, dict):
        return {key: item for name, each in value.items() for key, item in _flat(each, f"{path}/{name}").items()}
    return {path.removeprefix("/"): value}
