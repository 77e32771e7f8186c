"""Follow a run from its Job to its end, across attempts: the runners' logs, what it waits for, how it ended."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from dask_flow.errors import ClusterLostError, StartupError
from dask_flow.kube_refusals import ForbiddenError, NotFoundError, UnauthorizedError, UnreachableError
from dask_flow.pod_status import Problem, problem
from dask_flow.remote.given import startup_timeout_of
from dask_flow.remote.releases import JOBS, RUNNER
from dask_flow.remote.runs import condition_of, exit_of, has_started, obstacle, runners_of

if TYPE_CHECKING:
    from dask_flow.user_kube import UserKube

__all__ = ["Attempt", "Ended", "Event", "Line", "Waiting", "follow"]

LOOK_SECONDS = 0.5
CANCELLED_CODE = 143
"""Of a run whose Job was deleted: its runner has been told to end by SIGTERM."""


@dataclasses.dataclass(frozen=True)
class Attempt:
    """A runner started: its log follows."""

    number: int
    pod: str


@dataclasses.dataclass(frozen=True)
class Line:
    """A line of a runner's log."""

    text: str


@dataclasses.dataclass(frozen=True)
class Waiting:
    """No runner runs, and this is what it waits for."""

    reason: str


@dataclasses.dataclass(frozen=True)
class Ended:
    """The run is over, or cannot start: with `stuck`, it would wait for ever."""

    exit_code: int
    reason: str
    stuck: bool = False


Event = Attempt | Line | Waiting | Ended


def follow(kube: UserKube, run: str) -> Iterator[Event]:
    """Yield what happens, an Ended last. A runner that cannot start within the run's startup timeout is given up."""
    shown: list[str] = []
    since, said = time.monotonic(), ""
    while True:
        try:
            job, pods = kube.get(JOBS, run), runners_of(kube, run)
        except NotFoundError:
            yield Ended(CANCELLED_CODE, f"the run was cancelled: its Job {run} is gone")
            return
        new = [pod for pod in pods if pod["metadata"]["name"] not in shown]
        started = next((pod["metadata"]["name"] for pod in new if has_started(pod)), None)
        if started:
            shown.append(started)
            yield Attempt(len(shown), started)
            try:
                yield from map(Line, kube.log_lines(started, RUNNER, follow=True))
            except (ForbiddenError, UnauthorizedError, UnreachableError):
                raise
            except StartupError as error:  # its pod is deleted, or its node away; another attempt may follow
                yield Waiting(f"the log of {started} cannot be had: {error}")
            since, said = time.monotonic(), ""
            continue
        if condition_of(job):
            yield _end(job, pods)
            return
        if job["spec"].get("suspend") or (shown and not new):
            since = time.monotonic()  # neither somebody who resumes it nor the pause before another attempt is late
        found = _obstacle(kube, job, pods)
        given_up = _given_up(run, found, startup_timeout_of(job), time.monotonic() - since)
        if given_up:
            yield given_up
            return
        if found and found.text != said:
            said = found.text
            yield Waiting(said)
        time.sleep(LOOK_SECONDS)


def _given_up(run: str, found: Problem | None, patience_seconds: float, waited_seconds: float) -> Ended | None:
    """Return the end of a run that waits for what will not come, or for too long."""
    if found and found.hopeless:
        return Ended(StartupError.exit_code, f"the runner cannot start: {found.text}", stuck=True)
    if waited_seconds <= patience_seconds:
        return None
    why = found.text if found else f"nobody says why; kubectl describe job {run} may"
    return Ended(StartupError.exit_code, f"the runner cannot start within {patience_seconds:g} s: {why}", stuck=True)


def _obstacle(kube: UserKube, job: Mapping[str, Any], pods: list[dict[str, Any]]) -> Problem | None:
    """Return what keeps the next runner from starting, as far as anybody says so."""
    if job["spec"].get("suspend"):
        return Problem("the Job is suspended, until something resumes it", "suspended", hopeless=False)
    if "deletionTimestamp" in job["metadata"]:
        return Problem("the run is being cancelled", "cancelled", hopeless=False)
    found = obstacle(job, pods[-1] if pods else None, kube.warnings_of)
    # A ConfigMap of the run was there before the pod; a kubelet that has not heard of it yet will soon.
    own_files = found and f'configmap "{job["metadata"]["name"]}"' in found.text
    another = found and found.cause == "refused" and (pods or job.get("status", {}).get("failed"))
    return dataclasses.replace(found, hopeless=False) if found and (own_files or another) else found


def _end(job: Mapping[str, Any], pods: list[dict[str, Any]]) -> Ended:
    """Return how a finished Job ended: as its last runner did, if that is still there."""
    last = exit_of(pods[-1]) if pods else None
    if last:
        code, reason = last
        return Ended(code, reason or f"the runner ended with exit code {code}")
    condition = condition_of(job) or {}
    if condition.get("type") == "Complete":
        return Ended(0, "the run succeeded")
    if condition.get("reason") == "DeadlineExceeded":
        return Ended(CANCELLED_CODE, "the run took longer than its activeDeadlineSeconds")
    found = problem(pods[-1]) if pods else None
    return Ended(ClusterLostError.exit_code, found.text if found else f"the run failed: {condition.get('message')}")
