"""What is known of runs: from their Jobs and pods to one record each."""

from __future__ import annotations

import dataclasses
import datetime as dt
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dask_flow.errors import InputError
from dask_flow.kube_refusals import NotFoundError
from dask_flow.pod_status import Problem, has_ended, mount_problem, problem, refusal
from dask_flow.remote.given import address_of, runner_of, target_of
from dask_flow.remote.job import TARGET_ANNOTATION
from dask_flow.remote.releases import JOBS, RUNNER, is_runner, release_of
from dask_flow.text import printable
from dask_flow.wording import maybe, near

if TYPE_CHECKING:
    from dask_flow.user_kube import UserKube

__all__ = [
    "JOB_LABEL",
    "RUN_LABEL",
    "Run",
    "condition_of",
    "exit_of",
    "find",
    "has_started",
    "is_running",
    "job_of",
    "obstacle",
    "runners_of",
    "times",
]

Warnings = Callable[[str], Iterable[Mapping[str, Any]]]
"""Returns the warning Events of the object of a name."""

JOB_LABEL = "batch.kubernetes.io/job-name"
RUN_LABEL = "dask-flow/run"
COMPONENT = "app.kubernetes.io/component"
POD_SELECTOR = f"{COMPONENT} in (runner,worker)"


@dataclasses.dataclass(frozen=True)
class Run:
    """One run. `state` is Pending, Running, Suspended, Cancelling, Succeeded or Failed; times are of ISO 8601.

    `workers` is how many of its worker pods are ready; None for a cluster that is not its own.
    """

    name: str
    namespace: str
    release: str
    target: str
    state: str
    reason: str
    exit_code: int | None
    attempts: int
    workers: int | None
    runner: str | None
    created: str
    started: str | None
    finished: str | None


def find(kube: UserKube, *, everywhere: bool = False, release: str | None = None) -> list[Run]:
    """Return the runs of the namespace or of all, the oldest first."""
    list_all = kube.list_everywhere if everywhere else kube.list_all
    jobs = [each for each in list_all(JOBS) if is_runner(each["spec"]["template"])]
    pods = list_all("pods", labelSelector=POD_SELECTOR) if jobs else []
    runs = [
        run_of(each, pods, functools.partial(kube.warnings_of, namespace=each["metadata"]["namespace"]))
        for each in jobs
        if release in (None, release_of(each))
    ]
    return sorted(runs, key=lambda run: run.created)


def job_of(kube: UserKube, name: str) -> dict[str, Any]:
    """Return a run's Job. Raises InputError if there is no such run, with what there is."""
    try:
        job = kube.get(JOBS, name)
    except NotFoundError:
        job = None
    if job and is_runner(job["spec"]["template"]):
        return job
    if not kube.has_namespace():
        raise InputError(f"there is no namespace {kube.namespace} at {kube.where}; give another with -n")
    names = [each["metadata"]["name"] for each in kube.list_all(JOBS) if is_runner(each["spec"]["template"])]
    advice = maybe(near(name, names)) if names else ""
    raise InputError(f"namespace {kube.namespace} has no run {name}{advice or '; dask-flow list says what there is'}")


def runners_of(kube: UserKube, name: str) -> list[dict[str, Any]]:
    """Return the pods of a run's attempts, the first one first."""
    pods = kube.list_all("pods", labelSelector=f"{JOB_LABEL}={name}")
    return sorted(pods, key=lambda pod: (pod["metadata"]["creationTimestamp"], not has_started(pod)))


def run_of(job: Mapping[str, Any], pods: Iterable[Mapping[str, Any]], warnings_of: Warnings = lambda _: ()) -> Run:
    """Return the record of a run, from its Job and pods, its own and others."""
    metadata, status = job["metadata"], job.get("status", {})
    here = [pod for pod in pods if pod["metadata"]["namespace"] == metadata["namespace"]]
    runners = [pod for pod in here if pod["metadata"].get("labels", {}).get(JOB_LABEL) == metadata["name"]]
    runners.sort(key=lambda pod: pod["metadata"]["creationTimestamp"])
    last = runners[-1] if runners else None
    state = _state(job, last)
    ended = exit_of(last) if last else None
    runner = runner_of(job)
    counted = sum(status.get(key, 0) for key in ("active", "failed", "succeeded"))
    return Run(
        name=metadata["name"],
        namespace=metadata["namespace"],
        release=release_of(job),
        target=metadata.get("annotations", {}).get(TARGET_ANNOTATION) or target_of(runner),
        state=state,
        reason=_reason(job, last, state, warnings_of),
        exit_code=ended[0] if ended and state in {"Succeeded", "Failed"} else None,
        attempts=max(len(runners), counted),
        workers=None if address_of(runner) else _ready_workers(metadata["name"], here),
        runner=last["metadata"]["name"] if last else None,
        created=metadata["creationTimestamp"],
        started=status.get("startTime"),
        finished=status.get("completionTime") or _ended_at(job),
    )


def exit_of(pod: Mapping[str, Any]) -> tuple[int, str] | None:
    """Return a runner's exit code and the reason that it left; None if it has not ended."""
    statuses = pod.get("status", {}).get("containerStatuses", [])
    found: Mapping[str, Any] = next((each for each in statuses if each["name"] == RUNNER), {})
    ended = found.get("state", {}).get("terminated")
    if not ended:
        return None
    # One that was killed has no reason of its own; its message is the end of its log.
    killed = ended.get("reason") not in {None, "Error", "Completed"}
    said = [ended.get("reason") if killed else "", ended.get("message") or ended.get("reason")]
    return ended["exitCode"], printable(": ".join(dict.fromkeys(filter(None, said))))


def has_started(pod: Mapping[str, Any]) -> bool:
    """Return whether a runner runs, or has run: then it has a log."""
    statuses = pod.get("status", {}).get("containerStatuses", [])
    states = (each.get("state", {}) for each in statuses if each["name"] == RUNNER)
    return any("running" in each or "terminated" in each for each in states)


def is_running(pod: Mapping[str, Any]) -> bool:
    """Return whether a runner runs."""
    return has_started(pod) and exit_of(pod) is None and not has_ended(pod)


def obstacle(job: Mapping[str, Any], last: Mapping[str, Any] | None, warnings_of: Warnings) -> Problem | None:
    """Return what keeps a run's next runner from running, as far as anybody says so; `last` is its newest pod."""
    if last and is_running(last):
        return None
    if last and exit_of(last) is None and not has_ended(last):
        found = problem(last)
        if found and not found.disruption:
            return found
        name, since, read = last["metadata"]["name"], "", mount_problem
    else:  # what is said of the Job from before its last pod is over
        name, since, read = job["metadata"]["name"], last["metadata"]["creationTimestamp"] if last else "", refusal
    events = sorted(warnings_of(name), key=_event_time, reverse=True)
    return next(filter(None, (read(event) for event in events if _event_time(event) > since)), None)


def times(run: Run, now: dt.datetime) -> tuple[float, float | None]:
    """Return a run's age and duration in seconds."""
    created, started, finished = map(_time, (run.created, run.started, run.finished))
    age = (now - created).total_seconds() if created else 0.0
    return age, ((finished or now) - started).total_seconds() if started else None


def condition_of(job: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return what a Job says of its end."""
    conditions: Sequence[Mapping[str, Any]] = job.get("status", {}).get("conditions", [])
    return next(
        (each for each in conditions if each["type"] in {"Complete", "Failed"} and each["status"] == "True"), None
    )


def _state(job: Mapping[str, Any], last: Mapping[str, Any] | None) -> str:
    condition = condition_of(job)
    if condition:
        return "Succeeded" if condition["type"] == "Complete" else "Failed"
    if "deletionTimestamp" in job["metadata"]:
        return "Cancelling"
    if job["spec"].get("suspend"):
        return "Suspended"
    if last and (is_running(last) or (exit_of(last) or [1])[0] == 0):  # the Job says soon that it succeeded
        return "Running"
    return "Pending"


def _reason(job: Mapping[str, Any], last: Mapping[str, Any] | None, state: str, warnings_of: Warnings) -> str:
    ended = exit_of(last) if last else None
    if state == "Pending":  # after an attempt that ended, without anything else to say, as that did
        found = obstacle(job, last, warnings_of) or (problem(last) if last and not ended else None)
        if found:
            return found.text
    if ended and state in {"Pending", "Succeeded", "Failed"}:
        return ended[1] or f"exit code {ended[0]}"
    return str((condition_of(job) or {}).get("message", ""))


def _ready_workers(run: str, pods: Iterable[Mapping[str, Any]]) -> int:
    found = (pod for pod in pods if pod["metadata"].get("labels", {}).get(RUN_LABEL) == run)
    ready = {"type": "Ready", "status": "True"}
    return sum(
        any(ready.items() <= each.items() for each in pod.get("status", {}).get("conditions", [])) for pod in found
    )


def _event_time(event: Mapping[str, Any]) -> str:
    """Return when an Event was last seen; its source writes one of these."""
    return str(event.get("lastTimestamp") or event.get("eventTime") or event["metadata"]["creationTimestamp"])


def _ended_at(job: Mapping[str, Any]) -> str | None:
    return (condition_of(job) or {}).get("lastTransitionTime")


def _time(text: str | None) -> dt.datetime | None:
    return dt.datetime.fromisoformat(text) if text else None
