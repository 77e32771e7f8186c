"""Why a pod does not run, in a sentence, from what Kubernetes says of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["Problem", "has_ended", "problem"]

LAST_LINES = 20
HOPELESS_WAITING = {
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "ErrImageNeverPull",
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
    "CrashLoopBackOff",
}


@dataclasses.dataclass(frozen=True)
class Problem:
    """What keeps a pod from running. A hopeless one does not go away by waiting; an orderly end is no failure."""

    text: str
    hopeless: bool = True
    orderly: bool = False


def has_ended(pod: Mapping[str, Any]) -> bool:
    """Return whether the pod's containers have run to their end."""
    return pod.get("status", {}).get("phase") in ("Failed", "Succeeded")


def problem(pod: Mapping[str, Any]) -> Problem | None:
    """Return what is wrong with this Pod object, if anything is."""
    name, status = pod["metadata"]["name"], pod.get("status", {})
    if has_ended(pod) and status["phase"] == "Succeeded" and "deletionTimestamp" in pod["metadata"]:
        return Problem(f"pod {name} was deleted")
    if has_ended(pod):
        return Problem(f"pod {name} ended: {_ending(status)}", orderly=status["phase"] == "Succeeded")
    for container in _containers(status):
        waiting = container.get("state", {}).get("waiting", {})
        if waiting.get("reason") in HOPELESS_WAITING:
            message = waiting.get("message", "")
            return Problem(f"pod {name}, container {container['name']}: {waiting['reason']}: {message}".rstrip(": "))
    for condition in status.get("conditions", []):
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return Problem(f"pod {name} is not scheduled: {condition.get('message', '')}", hopeless=False)
    return None


def _ending(status: Mapping[str, Any]) -> str:
    for container in _containers(status):
        terminated = container.get("state", {}).get("terminated")
        if terminated and terminated.get("exitCode"):
            last_words = terminated.get("message", "").strip().splitlines()[-LAST_LINES:]
            reason = f"{terminated.get('reason', 'Error')}, exit code {terminated['exitCode']}"
            return "\n  ".join([f"container {container['name']}: {reason}", *last_words])
    reason = ": ".join(str(status[key]) for key in ("reason", "message") if status.get(key))
    return reason or f"phase {status['phase']}"


def _containers(status: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield from status.get("initContainerStatuses", [])
    yield from status.get("containerStatuses", [])
