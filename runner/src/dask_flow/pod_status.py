"""Why a pod does not run, in a sentence, from what Kubernetes says of it."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from typing import Any

from dask_flow.text import printable

__all__ = [
    "Problem",
    "container_status",
    "ends",
    "gates",
    "has_begun",
    "has_ended",
    "is_ready",
    "mount_problem",
    "problem",
    "refusal",
]

LAST_LINES = 20
DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"
QUEUE_LABEL = "kueue.x-k8s.io/queue-name"
PREEMPTED = "WorkloadEvictedDueToPreempted"
HOPELESS_WAITING = {
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "ErrImageNeverPull",
    "RegistryUnavailable",
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
    "CrashLoopBackOff",
}
PULLING = {"ErrImagePull", "ImagePullBackOff"}
# What a registry, the way to it, a runtime or a kubelet under load says; it tries again by itself. Before 1.32, the
# kubelet did not say why it backs off, but had said so before.
PASSING = re.compile(
    r"too ?many ?requests|internal server error|bad gateway|service unavailable|gateway time-?out|"
    r"status[^\"]*\b(?:429|5\d\d)\b|deadline exceeded|i/o timeout|handshake timeout|timed out|Client\.Timeout|"
    r"no such host|server misbehaving|failure in name resolution|network is unreachable|no route to host|"
    r"connection (?:refused|reset)|broken pipe|(?-i:\bEOF\b)|failed to sync|RegistryUnavailable|"
    r"^\w+: Back-off pulling image \"[^\"]*\"$",
    re.IGNORECASE,
)
# Where an image is named localhost/…, and the node has neither that nor a registry.
NO_REGISTRY = re.compile(r"dial tcp (?:127\.0\.0\.1|\[::1\]):(?:80|443): connect: connection refused")
# What container runtimes and registries say to who may not pull, or did not log in.
UNAUTHORIZED = re.compile(
    r"unauthori[sz]ed|authori[sz]ation|authenticat|denied|no basic auth|\b40[13]\b", re.IGNORECASE
)
# A mount may fail for a while, until a driver or a cache is ready. What these say does not change by waiting.
HOPELESS_MOUNT = re.compile(r'"[^"]+" not found|non-?existent|type check failed|not a directory|no such file')


@dataclasses.dataclass(frozen=True)
class Problem:
    """What keeps a pod from running, or what ended it.

    `cause` is what pods that end for the same reason have in common. A hopeless problem does not go away by waiting; an
    orderly end is no failure; a disruption comes from outside: another pod in its place may do well.
    """

    text: str
    cause: str
    hopeless: bool = True
    orderly: bool = False
    disruption: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "text", printable(self.text))


def is_ready(pod: Mapping[str, Any]) -> bool:
    """Return whether the pod's containers say that they are ready."""
    return _condition(pod.get("status", {}), "Ready") is not None


def has_begun(pod: Mapping[str, Any]) -> bool:
    """Return whether a container of the pod runs or has run, so that its volumes are mounted."""
    states = [container.get("state", {}) for container in _containers(pod.get("status", {}))]
    return any("running" in state or "terminated" in state for state in states)


def has_ended(pod: Mapping[str, Any]) -> bool:
    """Return whether Dask's container has run to its end, or all have; a sidecar may go on."""
    name = pod["metadata"].get("annotations", {}).get(DEFAULT_CONTAINER)
    status = pod.get("status", {})
    if status.get("phase") in ("Failed", "Succeeded"):
        return True
    restarts = pod.get("spec", {}).get("restartPolicy", "Always") != "Never"
    terminated = (each for each in status.get("containerStatuses", []) if "terminated" in each.get("state", {}))
    return not restarts and any(each["name"] == name for each in terminated)


def container_status(pod: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what the pod says of Dask's container; nothing, if that has no status yet."""
    name = pod["metadata"].get("annotations", {}).get(DEFAULT_CONTAINER)
    statuses = pod.get("status", {}).get("containerStatuses", [])
    return next((each for each in statuses if each["name"] == name), {})


def gates(pod: Mapping[str, Any]) -> list[str]:
    """Return the names of the gates, such as a queue's, that keep a pod from being scheduled."""
    return [gate["name"] for gate in pod.get("spec", {}).get("schedulingGates", [])]


def problem(pod: Mapping[str, Any], queue_message: str = "") -> Problem | None:
    """Return what is wrong with this Pod object, if anything is; `queue_message` is why its queue has no room."""
    name, status = pod["metadata"]["name"], pod.get("status", {})
    # The first is Kueue's.
    disruption = _condition(status, "TerminationTarget") or _condition(status, "DisruptionTarget")
    if disruption:
        reason, message = disruption.get("reason", "disrupted"), disruption.get("message", "")
        return Problem(f"pod {name} is taken away: {reason}: {message}".rstrip(": "), reason, disruption=True)
    if has_ended(pod):
        return _ending(pod)
    if "deletionTimestamp" in pod["metadata"]:
        return Problem(f"pod {name} was deleted", "deleted", disruption=True)
    for container in _containers(status):
        waiting = container.get("state", {}).get("waiting", {})
        reason, message = waiting.get("reason"), waiting.get("message", "")
        if reason in HOPELESS_WAITING:
            last = container.get("lastState", {}).get("terminated")
            said = f"; {_terminated(pod, container, last)}" if last else ""
            if reason in PULLING and UNAUTHORIZED.search(message):
                said = f"; {_pull_secrets(pod)}"
            text = f"pod {name}, container {container['name']}: {reason}: {message}".rstrip(": ")
            return Problem(text + said, reason, hopeless=bool(last) or not _passes(f"{reason}: {message}"))
    return _unscheduled(pod, queue_message)


def _passes(text: str) -> bool:
    return bool(PASSING.search(text)) and not NO_REGISTRY.search(text)


def mount_problem(event: Mapping[str, Any]) -> Problem | None:
    """Return what a warning Event says of a pod's volumes; the pod's own status does not tell."""
    if event.get("reason") not in ("FailedMount", "FailedAttachVolume"):
        return None
    message = " ".join(event.get("message", "").split())
    text = f"pod {event['involvedObject']['name']}: {event['reason']}: {message}"
    return Problem(text, event["reason"], hopeless=bool(HOPELESS_MOUNT.search(message)))


def refusal(event: Mapping[str, Any]) -> Problem | None:
    """Return what an Event says of pods, or whole clusters, that a controller may not make.

    What the Dask operator reports of a DaskCluster may go away: it tries again.
    """
    involved, message = event["involvedObject"], " ".join(event.get("message", "").split())
    if involved.get("kind") == "DaskCluster" and event.get("type") == "Error":
        return Problem(f"the Dask operator: {message}", "operator", hopeless=False)
    if event.get("reason") != "FailedCreate":
        return None
    return Problem(f"pods of {involved['kind']} {involved['name']} cannot be made: {message}", "refused")


def ends(pod: Mapping[str, Any]) -> tuple[int, Problem | None]:
    """Return how often Dask's container has ended in a pod that starts it again, and what is known of the last time."""
    container = container_status(pod)
    now = container.get("state", {}).get("terminated")
    last = now or container.get("lastState", {}).get("terminated")
    count = container.get("restartCount", 0) + bool(now)
    if not count or not last:
        return count, None
    cause = last.get("reason", "Error")
    cause = cause if cause != "Error" else f"exit code {last.get('exitCode')}"
    text = f"pod {pod['metadata']['name']}, {_terminated(pod, container, last)}"
    return count, Problem(text, cause, orderly=not last.get("exitCode"))


def _ending(pod: Mapping[str, Any]) -> Problem:
    name, status = pod["metadata"]["name"], pod["status"]
    failed, deleted = status.get("phase") == "Failed", "deletionTimestamp" in pod["metadata"]
    said = ": ".join(str(status[key]).strip() for key in ("reason", "message") if status.get(key))
    if failed and status.get("reason"):  # such as Evicted, which has ended the containers
        return Problem(f"pod {name} ended: {said}", status["reason"], disruption=True)
    for container in _containers(status):
        terminated = container.get("state", {}).get("terminated")
        if terminated and terminated.get("exitCode"):
            reason = terminated.get("reason", "Error")
            cause = reason if reason != "Error" else f"exit code {terminated['exitCode']}"
            text = f"pod {name} ended: {_terminated(pod, container, terminated)}"
            return Problem(text, cause, disruption=deleted)
    if deleted:
        return Problem(f"pod {name} was deleted", "deleted", disruption=True)
    text = f"pod {name} ended: {said or 'phase ' + status.get('phase', 'Succeeded')}"
    return Problem(text, "ended", orderly=not failed, disruption=failed)


def _terminated(pod: Mapping[str, Any], container: Mapping[str, Any], terminated: Mapping[str, Any]) -> str:
    """Describe a container's end: its reason, its memory limit if that was the reason, and its last words."""
    reason = f"{terminated.get('reason', 'Error')}, exit code {terminated.get('exitCode')}"
    if terminated.get("reason") == "OOMKilled":
        spec: Mapping[str, Any] = next(
            (each for each in pod.get("spec", {}).get("containers", []) if each["name"] == container["name"]), {}
        )
        limit = spec.get("resources", {}).get("limits", {}).get("memory")
        reason += f", memory limit {limit}" if limit else ", no memory limit: the node had none left"
    last_words = terminated.get("message", "").strip().splitlines()[-LAST_LINES:]
    return "\n  ".join([f"container {container['name']}: {reason}", *last_words])


def _unscheduled(pod: Mapping[str, Any], queue_message: str) -> Problem | None:
    """Return what keeps a pod from having a node: a gate, such as a queue's, or that no node has room."""
    name, names = pod["metadata"]["name"], gates(pod)
    if names:
        text = f"pod {name} waits for its gates {', '.join(names)}"
        if any(gate.startswith("kueue.x-k8s.io/") for gate in names):
            queue = pod["metadata"].get("labels", {}).get(QUEUE_LABEL)
            text = f"pod {name} waits to be admitted by Kueue to the queue {queue}"
        return Problem(f"{text}: {queue_message}".rstrip(": "), "gated", hopeless=False)
    scheduled = _condition(pod.get("status", {}), "PodScheduled", "False")
    if scheduled:
        text = f"pod {name} is not scheduled: {scheduled.get('message', '')}"
        return Problem(text, "unschedulable", hopeless=False)
    return None


def _pull_secrets(pod: Mapping[str, Any]) -> str:
    """Say which Secrets the image was to be pulled by; the pod's status does not."""
    secrets = [each.get("name", "") for each in pod.get("spec", {}).get("imagePullSecrets", [])]
    if not secrets:
        return "the pod names no pull secret: set --image-pull-secret, in the chart imagePullSecrets"
    return f"the pod's pull secrets, {', '.join(secrets)}, are not there, or do not fit the image's registry"


def _condition(status: Mapping[str, Any], kind: str, value: str = "True") -> Mapping[str, Any] | None:
    conditions = status.get("conditions", [])
    return next((each for each in conditions if each["type"] == kind and each["status"] == value), None)


def _containers(status: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield from status.get("initContainerStatuses", [])
    yield from status.get("containerStatuses", [])
