"""What is noted of a run while it goes on, for its log and its report: plain values, in seconds since the epoch."""

from __future__ import annotations

import dataclasses
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dask_flow.flows import FlowResult
    from dask_flow.settings import RunSettings

__all__ = ["WORKER_BEGAN", "End", "History", "PodNote", "Seen", "Step"]

log = logging.getLogger(__name__)

WORKER_BEGAN = "dask-flow-began"
"""The topic of Dask's events by which a temporary cluster's workers tell when their containers began."""


@dataclasses.dataclass(frozen=True)
class Step:
    """A step of a run. `name` says what it achieved, if it is `done`."""

    name: str
    start: float
    seconds: float
    done: bool = True

    @property
    def stop(self) -> float:
        """When it ended."""
        return self.start + self.seconds


@dataclasses.dataclass(frozen=True)
class End:
    """How a pod, or the process in it, ended."""

    time: float
    text: str


@dataclasses.dataclass
class PodNote:
    """What was seen of a worker's pod. `worker` is the worker's name, if that is not the pod's."""

    first_seen: float
    worker: str = ""
    ends: list[End] = dataclasses.field(default_factory=list)

    def ended(self, text: str) -> None:
        """Note an end, once."""
        if not self.ends or self.ends[-1].text != text:
            self.ends.append(End(time.time(), text))


@dataclasses.dataclass(frozen=True)
class Seen:
    """What Dask's scheduler knew at the flow's end.

    `stream` has a record of each task, `workers` those that are there by address, `names` all that ever were, `events`
    when they came and went, and `processes` when those of a temporary cluster's workers began, by address.
    """

    stream: Sequence[Mapping[str, Any]] = ()
    workers: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    names: Mapping[str, str] = dataclasses.field(default_factory=dict)
    events: Sequence[tuple[float, Mapping[str, Any]]] = ()
    processes: Mapping[str, float] = dataclasses.field(default_factory=dict)


class History:
    """One run's. Called, it times a step and logs that when it is done.

    `errors` are tracebacks, by the name of the task or of what else failed. `logs` is the folder for the logs of Dask's
    processes, None if nobody wants them; `log_savers` put those there that are still to be had, and never raise.
    """

    def __init__(self) -> None:
        self.began = process_start()
        self.steps: list[Step] = []
        self.pods: dict[str, PodNote] = {}
        self.errors: dict[str, str] = {}
        self.settings: RunSettings | None = None
        self.flow: Any = None
        self.result: FlowResult | None = None
        self.seen = Seen()
        self.logs: Path | None = None
        self.log_savers: list[Callable[[], None]] = []

    def save_logs(self) -> None:
        """Save what is still to be had of the logs of Dask's processes."""
        for save in self.log_savers:
            save()

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Time the body; `name` says what it achieved."""
        start, began, done = time.time(), time.monotonic(), False
        try:
            yield
            done = True
        finally:
            step = Step(name, start, time.monotonic() - began, done)
            self.steps.append(step)
            if done:
                log.info("%s (%.2f s)", name, step.seconds)

    def step(self, name: str) -> Step | None:
        """Return the step of this name, if it was begun."""
        return next((each for each in self.steps if each.name == name), None)

    def pod(self, name: str) -> PodNote:
        """Return the note of a worker's pod; the first call says that the pod is there."""
        return self.pods.setdefault(name, PodNote(time.time()))


def process_start() -> float:
    """Return when this process began; now, where the system does not tell."""
    now = time.time()
    try:
        ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
        up = time.clock_gettime(time.CLOCK_BOOTTIME)
        return now - max(0.0, up - ticks / os.sysconf("SC_CLK_TCK"))
    except (OSError, ValueError, IndexError, AttributeError):
        return now
