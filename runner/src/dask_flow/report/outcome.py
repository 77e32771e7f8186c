"""The end of a run, as the log and the container's termination message have it."""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Mapping
from pathlib import Path

from dask_flow.errors import InputError
from dask_flow.log import listed
from dask_flow.report.tasks import TaskGroup
from dask_flow.text import LONGEST_NAME, LONGEST_REASON, one_line, printable

__all__ = ["Outcome", "announce", "conclude", "write_termination_message"]

log = logging.getLogger(__name__)

TERMINATION_MESSAGE_LIMIT = 4096


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The end of a run. `reason` is one sentence; `results` are short texts by task name."""

    exit_code: int
    reason: str
    results: Mapping[str, str] = dataclasses.field(default_factory=dict)
    tasks: tuple[TaskGroup, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "reason", printable(self.reason, 2 * LONGEST_REASON))
        results = {one_line(name, LONGEST_NAME): printable(text) for name, text in self.results.items()}
        object.__setattr__(self, "results", results)


def announce(outcome: Outcome, spent: Mapping[str, float]) -> None:
    """Log what ran where, the results, and where the time went: `spent` is in seconds, by what took them.

    Bad input took none to speak of.
    """
    for group in outcome.tasks:
        count = _counted(group.count, "task")
        if group.items is not None:
            count = f"{_counted(group.items, 'item')} in {count}"
        more = "".join(f", {number:,} {what}" for what, number in _troubles(group).items() if number)
        log.info("%s: %s%s, %.3f s in all, on %s", group.name, count, more, group.seconds, listed(group.workers))
    for name, text in outcome.results.items():
        log.info("result of %s:%s%s", name, "\n" if "\n" in text else " ", text)
    if spent and outcome.exit_code != InputError.exit_code:
        parts = ", ".join(f"{what} {seconds:.2f} s" for what, seconds in spent.items())
        log.info("where the time went: %s; %.2f s in all", parts, sum(spent.values()))


def _troubles(group: TaskGroup) -> dict[str, int]:
    return {"failed": group.failed, "retries" if group.retries != 1 else "retry": group.retries}


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def conclude(outcome: Outcome) -> None:
    """Log the reason, the log's last line."""
    log.log(logging.ERROR if outcome.exit_code else logging.INFO, "%s", outcome.reason)


def write_termination_message(reason: str) -> None:
    """Leave the reason where Kubernetes reads it: `terminationMessagePath`, if that is there."""
    path = Path(os.environ.get("DASK_FLOW_TERMINATION_LOG", "/dev/termination-log"))
    if path.exists() and os.access(path, os.W_OK):
        text = printable(reason, 2 * LONGEST_REASON).encode()[:TERMINATION_MESSAGE_LIMIT]
        path.write_text(text.decode(errors="ignore"), encoding="utf-8")
