"""Workers without memory: paused, all of them, so that nothing goes on and nobody says so, or killed for it."""

from __future__ import annotations

import dataclasses
import logging
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from dask.utils import format_bytes

from dask_flow.clusters.memory import OOM_KILLED
from dask_flow.errors import ClusterLostError
from dask_flow.flows import HIDDEN
from dask_flow.log import described

if TYPE_CHECKING:
    from distributed import Client

    from dask_flow.clusters import OnLost

__all__ = ["Look", "Standstill", "killed_for_memory", "watched_memory"]

log = logging.getLogger(__name__)

LOOK_SECONDS = 10
ASK_SECONDS = 10
WARN_SECONDS = 60
MOST_NAMES = 3
# A nanny's event may come after the news of the death, and belongs to no death of long ago.
EVENT_SECONDS = 2
RECENT_SECONDS = 60
# The states of tasks that a worker computes, of which one that has seceded, as with worker_client, is long-running, and
# of those that it has still to run.
COMPUTING = ("executing", "long-running")
UPCOMING = ("ready", "constrained", "waiting", "fetch", "flight")


@dataclasses.dataclass(frozen=True)
class Look:
    """What is known at a time: workers by address, and tasks by name and state, as the scheduler's answers have them.

    `waits` says whether the run's client waits for a task, wherever that is.
    """

    workers: Mapping[str, Mapping[str, Any]]
    tasks: Mapping[str, Mapping[str, int]]
    waits: bool

    @property
    def paused(self) -> list[Mapping[str, Any]]:
        """The workers that take no task because their memory is full."""
        return [each for each in self.workers.values() if each["status"] == "paused"]

    @property
    def at_a_standstill(self) -> bool:
        """Whether the run waits, nobody computes or is about to, and a worker that could is paused."""
        others = [each for each in self.workers.values() if each["status"] != "paused"]
        busy = _tasks(self.workers.values(), COMPUTING) or _tasks(others, UPCOMING)
        return self.waits and bool(self.paused) and not busy

    @property
    def ended(self) -> dict[str, tuple[int, int]]:
        """How many tasks of a name have ended, well or not, and are held; more may come meanwhile."""
        counts = {name: (states.get("memory", 0), states.get("erred", 0)) for name, states in self.tasks.items()}
        return {name: both for name, both in counts.items() if any(both)}


def _tasks(workers: Any, states: tuple[str, ...]) -> int:
    return sum(each["metrics"].get("task_counts", {}).get(state, 0) for each in workers for state in states)


class Standstill:
    """For how long nothing has gone on because workers are paused."""

    def __init__(self) -> None:
        self._since: float | None = None
        self._ended: dict[str, tuple[int, int]] = {}

    def seconds(self, look: Look, now: float) -> float:
        """Return for how long it lasts at this time; 0 if something goes on."""
        if not look.at_a_standstill:
            self._since = None
            return 0.0
        if self._since is None or look.ended != self._ended:
            self._since, self._ended = now, look.ended
        return now - self._since


@contextmanager
def watched_memory(client: Client, timeout: float, on_lost: OnLost) -> Iterator[None]:
    """While the flow runs, warn of a standstill that lasts a minute, and tell of the end at the timeout."""
    over = threading.Event()
    threading.Thread(target=_watch, args=(client, timeout, on_lost, over), name="memory-watch", daemon=True).start()
    try:
        yield
    finally:
        over.set()


def _watch(client: Client, timeout: float, on_lost: OnLost, over: threading.Event) -> None:
    standstill, warned = Standstill(), False
    while not over.wait(LOOK_SECONDS):
        try:
            look = _look(client)
            seconds = standstill.seconds(look, time.monotonic())
            if seconds < WARN_SECONDS:
                warned = False
                continue
            text = _text(look, client, seconds)
        except Exception as error:  # that the scheduler is lost, others say
            log.debug("whether workers are paused is not known: %s", described(error))
            continue
        if seconds >= timeout:
            on_lost(ClusterLostError(text))
            return
        if not warned:
            log.warning("%s; the run ends if that lasts for --startup-timeout %g s", text, timeout)
            warned = True


def _look(client: Client) -> Look:
    """Ask what no scheduler keeps to itself, as a static one may what a function run there finds out.

    Only of the run's own cluster does it matter what other clients wait for, as they are the flow's.
    """
    workers = client.sync(client.scheduler.identity, n_workers=-1, callback_timeout=ASK_SECONDS)["workers"]
    tasks = client.sync(client.scheduler.get_task_prefix_states, callback_timeout=ASK_SECONDS)
    waits = any(future.status == "pending" for future in list(client.futures.values()))
    return Look(workers, tasks, waits or (client.cluster is not None and _tasks(workers.values(), UPCOMING) > 0))


def _text(look: Look, client: Client, seconds: float) -> str:
    """Say which workers have how much, and of what."""
    workers = [
        f"{each['name']} has {format_bytes(each['metrics'].get('memory', 0))} of {format_bytes(each['memory_limit'])}"
        for each in look.paused
    ]
    sizes: dict[str, int] = client.sync(client.scheduler.nbytes, keys=None, summary=True, callback_timeout=ASK_SECONDS)
    largest = sorted((each for each in sizes.items() if not each[0].startswith(HIDDEN)), key=lambda each: -each[1])
    results = [f"{name} {format_bytes(size)}" for name, size in largest if size]
    held = f"the results that they hold are of {_some(results)}" if results else "they hold no results"
    return (
        f"no task could run for {seconds:.0f} s, as workers are paused because their memory is full: "
        f"{_some(workers)}; {held}; give the workers more memory, or the run more workers"
    )


def _some(texts: list[str]) -> str:
    more = f" and {len(texts) - MOST_NAMES} more" if len(texts) > MOST_NAMES else ""
    return ", ".join(texts[:MOST_NAMES]) + more


def killed_for_memory(worker: Any, client: Client) -> str | None:
    """Return how a worker was killed for its memory, if the kernel or its nanny did; Kubernetes may not know of it."""
    end = time.monotonic() + EVENT_SECONDS
    while client.status == "running":
        for killed, event in _events(client, OOM_KILLED):
            if event["name"] == worker.name and time.time() - killed < RECENT_SECONDS:
                return f"worker {worker.name}: OOMKilled, memory limit {format_bytes(event['limit'])}"
        for killed, event in _events(client, "worker-restart-memory"):
            if event["worker"] == worker.address and time.time() - killed < RECENT_SECONDS:
                limit = format_bytes(worker.memory_limit)
                had = format_bytes(event["rss"])
                return f"worker {worker.name}: OOMKilled by its nanny, as it had {had}, memory limit {limit}"
        if time.monotonic() > end:
            break
        time.sleep(0.1)
    return None


def _events(client: Client, topic: str) -> list[tuple[float, dict[str, Any]]]:
    try:
        return list(client.sync(client.scheduler.events, topic=topic, callback_timeout=EVENT_SECONDS))
    except Exception as error:
        log.debug("the scheduler does not say what was killed: %s", described(error))
        return []
