"""The settings of one run, merged from the command line, the environment, the flow itself and the defaults."""

from __future__ import annotations

import dataclasses
import math
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from dask_flow.errors import InputError

__all__ = [
    "BUILDERS",
    "CLUSTER_MODES",
    "LOG_FORMATS",
    "MAX_WORKERS",
    "NOTIFY_WHEN",
    "SCHEDULERS",
    "RunSettings",
    "may_stay",
    "resolve",
]

CLUSTER_MODES = ("auto", "local", "pods", "operator", "static")
LOG_FORMATS = ("text", "json")
NOTIFY_WHEN = ("failure", "success", "both")
SCHEDULERS = ("runner", "pod")
BUILDERS = ("docker", "podman", "buildah")
# Kubernetes' own limit of pods: https://kubernetes.io/docs/setup/best-practices/cluster-large/
MAX_WORKERS = 150_000
SPEC_FOLDER = Path("/etc/dask-flow")


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunSettings:
    """One run's settings; names and meanings are those of the options of `dask-flow run`. Times are in seconds.

    `flow` is the flow's name. `env` to `log_k8s_errors` are what only a flow itself declares.
    """

    target: str
    flow: str = ""
    cluster: str = "auto"
    address: str | None = None
    min_workers: int = 1
    max_workers: int = 2
    worker_spec: Path | None = None
    scheduler_spec: Path | None = None
    scheduler: str = "runner"
    image: str | None = None
    image_pull_secrets: tuple[str, ...] = ()
    queue_name: str | None = None
    params: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    args: tuple[str, ...] = ()
    startup_timeout: float = 300.0
    timeout: float | None = None
    tls: bool = True
    work_stealing: bool = True
    adaptive_interval: float = 0.5
    adaptive_target_duration: float = 1.0
    adaptive_wait_count: int = 6
    allowed_failures: int | None = None
    log_format: str = "text"
    report: str | None = None
    progress: float | None = None
    env: Mapping[str, str] = dataclasses.field(default_factory=dict)
    working_dir: Path | None = None
    on_start: Callable[[], Any] | None = None
    on_exit: Callable[[], Any] | None = None
    scheduler_logs: bool = False
    log_k8s_errors: bool = False

    @property
    def adaptive(self) -> bool:
        """Whether the cluster scales between the bounds, rather than having a fixed size."""
        return self.min_workers != self.max_workers

    @property
    def failures_allowed(self) -> int:
        """How many worker pods may end for the same cause."""
        return max(10, 2 * self.max_workers) if self.allowed_failures is None else self.allowed_failures

    def with_min_workers(self, count: int) -> RunSettings:
        """Return these settings with a minimum of `count` workers, and a maximum that is no smaller."""
        return dataclasses.replace(self, min_workers=count, max_workers=max(count, self.max_workers))


def may_stay(cluster: str | None) -> bool:
    """Return whether this kind of cluster, if any is asked for, may be one that an address names."""
    return cluster in {None, "auto", "static"}


def resolve(given: Mapping[str, Any], declared: Mapping[str, Any], *, in_kubernetes: bool | None = None) -> RunSettings:
    """Merge what the user gave over what the flow declares over the defaults, and check the result.

    Both mappings have RunSettings' names; None means not given. Raises InputError that names the option.
    """
    merged = {
        **{name: value for name, value in declared.items() if value is not None},
        **{name: value for name, value in given.items() if value is not None},
    }
    for name in ("worker_spec", "scheduler_spec"):
        default = SPEC_FOLDER / f"{name}.yaml"
        if name not in merged and default.exists():
            merged[name] = default
    if not may_stay(given.get("cluster")) and given.get("address") is None:
        merged.pop("address", None)  # what the user asks for wins over the address that the flow declares
    if given.get("address") and given.get("cluster") is None:
        merged.pop("cluster", None)  # and over the kind of cluster
    if in_kubernetes is None:
        in_kubernetes = "KUBERNETES_SERVICE_HOST" in os.environ
    merged["cluster"] = cluster_mode(merged, in_kubernetes=in_kubernetes)
    if "scheduler_spec" in merged or merged["cluster"] == "operator":
        merged.setdefault("scheduler", "pod")
    merged.setdefault("tls", encrypted(merged))
    settings = RunSettings(**merged)
    check_counts(settings)
    if "max_workers" not in merged:
        settings = settings.with_min_workers(settings.min_workers)
    check(settings)
    check_cluster(settings)
    return settings


def check_counts(settings: RunSettings) -> None:
    """Raise InputError for numbers of workers that are none."""
    for name in ("min_workers", "max_workers"):
        count = getattr(settings, name)
        if not isinstance(count, int) or isinstance(count, bool) or not 1 <= count <= MAX_WORKERS:
            raise InputError(f"{option(name)} must be a whole number from 1 to {MAX_WORKERS}, not {count!r}")


def check(settings: RunSettings) -> None:
    """Raise InputError for values that no run can have."""
    if settings.min_workers > settings.max_workers:
        raise InputError(
            f"--min-workers {settings.min_workers} is more than --max-workers {settings.max_workers}; "
            "lower the one or raise the other (equal values give a cluster of a fixed size)"
        )
    for name in ("startup_timeout", "timeout", "adaptive_interval", "adaptive_target_duration", "progress"):
        seconds = getattr(settings, name)
        if seconds is not None and not 0 < seconds < math.inf:
            raise InputError(f"{option(name)} must be a number of seconds above 0, not {seconds:g}")
    if settings.queue_name and not re.fullmatch(r"[a-z0-9]([-.a-z0-9]{0,61}[a-z0-9])?", settings.queue_name):
        raise InputError(
            "--queue-name must be the name of a LocalQueue, up to 63 lower-case letters, digits, '-' and '.', not "
            f"{settings.queue_name!r}"
        )
    if settings.adaptive_wait_count < 1:
        raise InputError(f"--adaptive-wait-count must be at least 1, not {settings.adaptive_wait_count}")
    if settings.failures_allowed < 0:
        raise InputError(f"--allowed-failures must be at least 0, not {settings.allowed_failures}")
    if settings.scheduler_spec and settings.scheduler != "pod":
        raise InputError(
            f"--scheduler-spec {settings.scheduler_spec} describes the scheduler's own pod, but --scheduler is "
            f"{settings.scheduler}; leave out one of the two"
        )


def check_cluster(settings: RunSettings) -> None:
    """Raise InputError for what the kind of cluster cannot have."""
    address, mode = settings.address, settings.cluster
    if mode == "static" and not address:
        raise InputError("--cluster static needs --address, such as tcp://dask-scheduler:8786")
    if address and not re.fullmatch(r"((tcp|tls|ucx|wss?)://)?(\[[^\]]+\]|[^:/\s]+):\d+", address):
        raise InputError(f"--address {address!r} is not an address such as tcp://dask-scheduler:8786")
    if address and mode != "static":
        raise InputError(f"--address is for --cluster static, not {mode}; leave out one of the two")
    if mode == "static" and settings.tls != encrypted({"cluster": mode, "address": address}):
        flag, scheme = ("--tls", "tls") if settings.tls else ("--no-tls", "tcp")
        raise InputError(f"{flag}, but --address is {address}; leave {flag} out, or give {scheme}://…")
    if mode == "operator" and settings.tls:
        raise InputError(
            "--tls, but the Dask operator's clusters speak plain TCP (dask-kubernetes#857); leave --tls out, or use "
            "--cluster pods, which has mutual TLS"
        )
    if mode == "operator" and settings.scheduler == "runner":
        raise InputError("--scheduler runner, but the Dask operator gives the scheduler a pod of its own; leave it out")


def cluster_mode(merged: Mapping[str, Any], *, in_kubernetes: bool) -> str:
    """Return the mode that `auto` stands for: static if there is an address, pods inside Kubernetes, else local."""
    mode = str(merged.get("cluster", RunSettings.cluster))
    if mode != "auto":
        return mode
    if merged.get("address"):
        return "static"
    return "pods" if in_kubernetes else "local"


def encrypted(merged: Mapping[str, Any]) -> bool:
    """Return whether the cluster speaks TLS where that was not said: pods do, the operator's cannot."""
    if merged["cluster"] == "static":
        return str(merged.get("address") or "").startswith(("tls://", "wss://"))
    return bool(merged["cluster"] == "pods")


def option(name: str) -> str:
    """Return a setting's name as a user types it on the command line."""
    return "--" + name.replace("_", "-")
