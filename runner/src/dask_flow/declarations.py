"""What a flow declares about where it runs, and what that means for the run's settings.

Signatures and defaults are those of Prefect 0.x/1.x. What was for its agents or its server has no effect here and says
so; what would be missed is refused with what to do instead.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, ClassVar

from dask_flow import image_names
from dask_flow.errors import InputError
from dask_flow.executors import Executor, LocalExecutor, check_types
from dask_flow.settings import MAX_WORKERS

__all__ = [
    "DaskKubernetesEnvironment",
    "Declaration",
    "Docker",
    "KubernetesRun",
    "LocalEnvironment",
    "LocalRun",
    "relative_to",
    "settings_of",
]

log = logging.getLogger(__name__)

_folder: ContextVar[Path | None] = ContextVar("folder", default=None)

AGENTS = "it was for Prefect's agents"
JOB = "the Job's pod is the chart's matter"
DOCKER_SECRET = "DOCKER_REGISTRY_CREDENTIALS"  # noqa: S105 # a name
"""Prefect's default for docker_secret."""


@contextmanager
def relative_to(folder: Path) -> Iterator[None]:
    """While a flow's file is loaded: find the files that it declares beside it, if not in the working directory."""
    token = _folder.set(folder)
    try:
        yield
    finally:
        _folder.reset(token)


class Declaration:
    """What a flow may say of where it runs: a frozen dataclass whose fields may have no effect here, or be refused."""

    no_effect: ClassVar[Mapping[str, str]] = {}
    """Fields that are accepted, and why they have no effect."""

    refused: ClassVar[Mapping[str, str]] = {}
    """Fields that are an error, and what to do instead."""

    def __post_init__(self) -> None:
        check_types(self)
        for field in dataclasses.fields(self):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            if value == field.default or (value in ((), [], {}) and field.default is None):
                continue
            given = f"{type(self).__name__}({field.name}={value!r})"
            if field.name in self.refused:
                raise InputError(f"{given} is not here; {self.refused[field.name]}")
            if field.name in self.no_effect:
                log.warning("%s has no effect here: %s", given, self.no_effect[field.name])

    def settings(self) -> dict[str, Any]:
        """Return what this means for the run, by the names of RunSettings; None where it says nothing."""
        return {}


@dataclasses.dataclass(frozen=True)
class DaskKubernetesEnvironment(Declaration):
    """A temporary Dask cluster of `min_workers` to `max_workers` pods, or of the pods that a spec file describes.

    `on_start` and `on_exit` are called in the runner, before the cluster is made and after it is gone.
    """

    min_workers: int = 1
    max_workers: int = 2
    work_stealing: bool = True
    scheduler_logs: bool = False
    private_registry: bool = False
    docker_secret: str | None = None
    labels: Iterable[str] | None = None
    on_start: Callable[[], Any] | None = None
    on_exit: Callable[[], Any] | None = None
    metadata: Mapping[str, Any] | None = None
    scheduler_spec_file: str | None = None
    worker_spec_file: str | None = None
    image_pull_secret: str | None = None
    log_k8s_errors: bool = False

    no_effect: ClassVar[Mapping[str, str]] = {"labels": AGENTS, "metadata": "it was for Prefect's server"}

    def __post_init__(self) -> None:
        super().__post_init__()
        self._say_deprecated()
        for name in ("min_workers", "max_workers"):
            count = getattr(self, name)
            if not 1 <= count <= MAX_WORKERS:
                raise InputError(
                    f"DaskKubernetesEnvironment: {name} must be a whole number from 1 to {MAX_WORKERS}, not {count!r}"
                )
        given = {}
        for name in ("worker_spec_file", "scheduler_spec_file"):
            file = getattr(self, name)
            if file is not None:
                given[str(file)] = _declared_file(name, file)
                object.__setattr__(self, name, str(given[str(file)]))
        object.__setattr__(self, "_files", given)

    def _say_deprecated(self) -> None:
        if self.private_registry:
            log.warning(
                "DaskKubernetesEnvironment(private_registry=True) and docker_secret are deprecated since Prefect "
                "0.11.3; write image_pull_secret=%r instead, the Secret that dask-flow setup creates",
                self.pull_secret,
            )
        elif self.docker_secret is not None:
            log.warning(
                "DaskKubernetesEnvironment(docker_secret=%r) has no effect without private_registry=True, and both are "
                "deprecated since Prefect 0.11.3; name a pull secret with image_pull_secret=",
                self.docker_secret,
            )

    @property
    def files(self) -> Mapping[str, Path]:
        """The spec files, by the names that the flow gave them."""
        files: Mapping[str, Path] = self._files  # type: ignore[attr-defined]
        return files

    @property
    def pull_secret(self) -> str | None:
        """The name of the pull secret; what was a Prefect Secret's name may not be one of Kubernetes'."""
        if self.image_pull_secret or not self.private_registry:
            return self.image_pull_secret
        return (self.docker_secret or DOCKER_SECRET).lower().replace("_", "-")

    def settings(self) -> dict[str, Any]:
        """Return what this means for the run."""
        return {
            "min_workers": self.min_workers,
            "max_workers": self.max_workers,
            "work_stealing": self.work_stealing,
            "scheduler_logs": self.scheduler_logs,
            "log_k8s_errors": self.log_k8s_errors,
            "on_start": self.on_start,
            "on_exit": self.on_exit,
            "worker_spec": Path(self.worker_spec_file) if self.worker_spec_file else None,
            "scheduler_spec": Path(self.scheduler_spec_file) if self.scheduler_spec_file else None,
            "image_pull_secrets": (self.pull_secret,) if self.pull_secret else None,
        }


@dataclasses.dataclass(frozen=True)
class LocalEnvironment(Declaration):
    """No cluster of the flow's own: its executor says where it runs, by default in the runner's pod."""

    executor: Executor | None = None
    labels: Iterable[str] | None = None
    on_start: Callable[[], Any] | None = None
    on_exit: Callable[[], Any] | None = None
    metadata: Mapping[str, Any] | None = None

    no_effect: ClassVar[Mapping[str, str]] = {"labels": AGENTS, "metadata": "it was for Prefect's server"}

    def settings(self) -> dict[str, Any]:
        """Return what this means for the run."""
        executor = self.executor or LocalExecutor()
        return {**_executor_settings(executor), "on_start": self.on_start, "on_exit": self.on_exit}


@dataclasses.dataclass(frozen=True, kw_only=True)
class KubernetesRun(Declaration):
    """The image, environment variables and pull secrets of a run in Kubernetes."""

    job_template_path: str | None = None
    job_template: Any = None
    image: str | None = None
    env: Mapping[str, str] | None = None
    cpu_limit: float | str | None = None
    cpu_request: float | str | None = None
    memory_limit: str | None = None
    memory_request: str | None = None
    service_account_name: str | None = None
    image_pull_secrets: Iterable[str] | None = None
    labels: Iterable[str] | None = None
    image_pull_policy: str | None = None

    no_effect: ClassVar[Mapping[str, str]] = {
        "labels": AGENTS,
        "job_template": f"{JOB}: runner.podSpec",
        "job_template_path": f"{JOB}: runner.podSpec",
        **dict.fromkeys(("cpu_limit", "cpu_request", "memory_limit", "memory_request"), f"{JOB}: runner.resources"),
        "service_account_name": f"{JOB}: serviceAccount.name",
        "image_pull_policy": f"{JOB}: image.pullPolicy",
    }

    def settings(self) -> dict[str, Any]:
        """Return what this means for the run."""
        return {
            "image": self.image,
            "env": self.env and {name: str(value) for name, value in self.env.items()},
            "image_pull_secrets": tuple(self.image_pull_secrets) if self.image_pull_secrets else None,
        }


@dataclasses.dataclass(frozen=True, kw_only=True)
class LocalRun(Declaration):
    """The environment variables and the working directory of a run on this machine."""

    env: Mapping[str, str] | None = None
    working_dir: str | None = None
    labels: Iterable[str] | None = None

    no_effect: ClassVar[Mapping[str, str]] = {"labels": AGENTS}

    def settings(self) -> dict[str, Any]:
        """Return what this means for the run."""
        return {
            "env": self.env and {name: str(value) for name, value in self.env.items()},
            "working_dir": Path(self.working_dir) if self.working_dir else None,
        }


@dataclasses.dataclass(frozen=True)
class Docker(Declaration):
    """The image that holds the flow and its dependencies: `registry_url/image_name:image_tag`.

    `dask-flow build` makes it; what it is made of has no meaning for a run.
    """

    registry_url: str | None = None
    base_image: str | None = None
    dockerfile: str | None = None
    dockerignore: str | None = None
    python_dependencies: Iterable[str] | None = None
    image_name: str | None = None
    image_tag: str | None = None
    env_vars: Mapping[str, str] | None = None
    files: Mapping[str, str] | None = None
    prefect_version: str | None = None
    local_image: bool = False
    ignore_healthchecks: bool = False
    base_url: str | None = None
    tls_config: Any = False
    build_kwargs: Mapping[str, Any] | None = None
    prefect_directory: str = "/opt/prefect"
    path: str | None = None
    stored_as_script: bool = False
    extra_dockerfile_commands: Iterable[str] | None = None
    result: Any = dataclasses.field(default=None, kw_only=True)
    secrets: Iterable[str] | None = dataclasses.field(default=None, kw_only=True)
    labels: Iterable[str] | None = dataclasses.field(default=None, kw_only=True)
    add_default_labels: bool | None = dataclasses.field(default=None, kw_only=True)

    no_effect: ClassVar[Mapping[str, str]] = {
        "prefect_version": "a flow of dask_flow needs no Prefect; for one that does: python_dependencies",
        "tls_config": "docker reads DOCKER_TLS_VERIFY and DOCKER_CERT_PATH",
        "labels": AGENTS,
        "add_default_labels": AGENTS,
    }
    refused: ClassVar[Mapping[str, str]] = {
        "secrets": "put them into the task's environment: flow.envFrom in the chart",
        "result": "results live as long as the run; write to storage in a task",
    }

    def __post_init__(self) -> None:
        if isinstance(self.python_dependencies, str):
            raise InputError(f"Docker: python_dependencies must be a list: [{self.python_dependencies!r}]")
        super().__post_init__()
        if self.base_image and self.dockerfile:
            raise InputError("Docker: give one of base_image and dockerfile, not both")
        if self.stored_as_script and not self.path:
            raise InputError("Docker(stored_as_script=True) needs path=, where the flow's file is in the image")
        if self.path and not (self.path.startswith("/") and self.path.endswith(".py")):
            raise InputError(
                f"Docker(path={self.path!r}): give an absolute path that ends in .py: the flow is its file"
            )

    def image_of(self, flow_name: str) -> str:
        """Return the whole name of a flow's image; without an `image_name` it is called as the flow."""
        registry = f"{self.registry_url.rstrip('/')}/" if self.registry_url else ""
        return f"{registry}{self.image_name or image_names.slug(flow_name)}:{self.image_tag or 'latest'}"

    def settings_for(self, flow_name: str) -> dict[str, Any]:
        """Return what this means for a flow's run: pods that do not name an image get this one.

        Without registry and name it says only what to put into an image, of which no cluster knows.
        """
        return {"image": self.image_of(flow_name) if self.registry_url or self.image_name else None}


def settings_of(flow: Any) -> dict[str, Any]:
    """Return what a flow declares, by the names of RunSettings; its executor says the last word."""
    declared: dict[str, Any] = {}
    for attribute in ("storage", "environment", "run_config", "executor"):
        declaration = getattr(flow, attribute, None)
        if declaration is None or not type(flow).__module__.startswith("dask_flow."):
            continue
        if isinstance(declaration, Executor):
            found = _executor_settings(declaration)
        elif isinstance(declaration, Docker):
            found = declaration.settings_for(flow.name)
        elif isinstance(declaration, Declaration):
            found = declaration.settings()
        else:
            raise InputError(
                f"flow.{attribute} is a {type(declaration).__name__}, which means nothing here; "
                "use those of dask_flow.environments, .run_configs, .executors and .storage, or options of the command"
            )
        declared.update({name: value for name, value in found.items() if value is not None})
    return declared


def _executor_settings(executor: Executor) -> dict[str, Any]:
    return {name: value for name, value in executor.settings().items() if value is not None}


def _declared_file(argument: str, name: str) -> Path:
    folder = _folder.get()
    places = list(dict.fromkeys(path.absolute() for path in (Path(name), *([folder / name] if folder else []))))
    for path in places:
        if path.is_file():
            return path
    there = sorted({each.name for path in places if path.parent.is_dir() for each in path.parent.glob("*.y*ml")})
    hint = f"; there is {', '.join(there[:5])}" if there else ""
    raise InputError(f"{argument}={name!r}: there is no such file at {' or '.join(map(str, places))}{hint}")
