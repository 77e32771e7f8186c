"""What a run's runner was given: by its arguments, as `submit` makes them, or by its environment, as the chart does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dask_flow.remote.releases import RUNNER
from dask_flow.settings import RunSettings, may_stay

__all__ = ["address_of", "literal", "option_of", "runner_of", "startup_timeout_of", "target_of"]


def runner_of(job: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the runner's container of a Job, or of a CronJob's template of Jobs; an empty one if it has none."""
    containers = job["spec"]["template"]["spec"]["containers"]
    return next((each for each in containers if each["name"] == RUNNER), {})


def literal(text: str) -> str:
    """Return a text as an argument or variable of a container: Kubernetes expands $(NAME) there, and $$ is a dollar."""
    return text.replace("$", "$$")


def option_of(container: Mapping[str, Any], name: str) -> str | None:
    """Return what a runner has for an option of `dask-flow run`, such as `report`; None if nothing."""
    return _of_arguments(container, name) or _of_environment(container, name)


def target_of(container: Mapping[str, Any]) -> str:
    """Return the flow that a runner was given; an empty text if none."""
    return _read(next(iter(container.get("args", ())[1:]), ""))


def address_of(container: Mapping[str, Any]) -> str | None:
    """Return the scheduler's address that a runner was given; None if its cluster is its own, as far as is known."""
    kind = _of_arguments(container, "cluster")
    return _of_arguments(container, "address") or (_of_environment(container, "address") if may_stay(kind) else None)


def startup_timeout_of(job: Mapping[str, Any]) -> float:
    """Return for how many seconds a run is to wait for its first worker."""
    return float(option_of(runner_of(job), "startup-timeout") or RunSettings.startup_timeout)


def _of_arguments(container: Mapping[str, Any], name: str) -> str | None:
    start = f"--{name}="
    found = [each.removeprefix(start) for each in container.get("args", ()) if each.startswith(start)]
    return _read(found[-1]) if found else None


def _of_environment(container: Mapping[str, Any], name: str) -> str | None:
    variable = f"DASK_FLOW_{name.replace('-', '_').upper()}"
    found = [each.get("value") for each in container.get("env", ()) if each["name"] == variable]
    return _read(found[-1]) if found and found[-1] else None


def _read(text: str) -> str:
    return text.replace("$$", "$")
