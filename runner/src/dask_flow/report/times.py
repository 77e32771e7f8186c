"""What took a run's time: its seconds, each counted once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dask_flow.history import History, Step
from dask_flow.report.tasks import TaskGroup
from dask_flow.report.workers import Worker

__all__ = ["FLOW", "where_the_time_went"]

LOADED, FLOW = "flow loaded", "flow ran"
PYTHON, LOADING, PODS, CONNECTING = "starting Python", "loading the flow", "waiting for pods", "connecting"
COMPUTING, TRANSFERRING, IDLE, CLEANING = "computing", "transferring", "idle", "cleaning up"
ORDER = (PYTHON, LOADING, PODS, CONNECTING, COMPUTING, TRANSFERRING, IDLE, CLEANING)


def where_the_time_went(
    history: History, groups: Iterable[TaskGroup], workers: Sequence[Worker], now: float
) -> dict[str, float]:
    """Return seconds by what took them; they add up to the run's, from the start of its process until `now`.

    While the cluster starts, it is pods that are waited for until the first worker's container began, then Python in
    it. While the flow runs, the workers' threads compute, transfer or idle: the flow's time is divided as theirs is;
    without a worker it is idle.
    """
    if not history.steps:
        return {PYTHON: now - history.began}
    loaded, flow = history.step(LOADED), history.step(FLOW)
    spent = dict.fromkeys(ORDER, 0.0)
    spent[PYTHON] = history.steps[0].start - history.began
    spent[LOADING] = loaded.seconds if loaded else 0.0
    start_begins = loaded.stop if loaded else history.steps[0].start
    start_ends = flow.start if flow else _end_of_start(history, now)
    _add_start(spent, history, workers, start_begins, start_ends)
    if flow:
        _add_flow(spent, flow, groups, workers)
    spent[CLEANING] = now - (flow.stop if flow else start_ends)
    return {what: seconds for what, seconds in spent.items() if seconds >= 0.005}  # noqa: PLR2004 - 0.00 as a text


def _end_of_start(history: History, now: float) -> float:
    """Return when a start that came to nothing was given up."""
    return next((each.stop for each in history.steps if not each.done), now)


def _add_start(
    spent: dict[str, float], history: History, workers: Sequence[Worker], begins: float, ends: float
) -> None:
    mode = history.settings.cluster if history.settings else "local"
    if mode == "static":
        spent[CONNECTING] = ends - begins
    elif mode == "local":
        spent[PYTHON] += ends - begins
    else:
        first = min((each.began for each in workers if each.began), default=ends)
        pods = min(max(first - begins, 0.0), ends - begins)
        spent[PODS] = pods
        spent[PYTHON] += ends - begins - pods


def _add_flow(spent: dict[str, float], flow: Step, groups: Iterable[TaskGroup], workers: Sequence[Worker]) -> None:
    groups = list(groups)
    computing = sum(each.seconds for each in groups)
    transferring = sum(sum(each.others.values()) for each in groups)
    spans = [
        (max(each.joined or flow.start, flow.start), min(each.left or flow.stop, flow.stop), each.threads)
        for each in workers
        if each.address
    ]
    threads = max(sum(max(stop - start, 0.0) * number for start, stop, number in spans), computing + transferring)
    share = _covered((start, stop) for start, stop, _ in spans) / threads if threads else 0.0
    spent[COMPUTING], spent[TRANSFERRING] = computing * share, transferring * share
    spent[IDLE] = flow.seconds - spent[COMPUTING] - spent[TRANSFERRING]


def _covered(spans: Iterable[tuple[float, float]]) -> float:
    """Return how many seconds are in any of the spans."""
    seconds, end = 0.0, float("-inf")
    for start, stop in sorted(spans):
        seconds += max(stop - max(start, end), 0.0)
        end = max(end, stop)
    return seconds
