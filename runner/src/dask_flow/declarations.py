"""What a flow declares about where it runs, and what that means for the run's settings.

Signatures and defaults are those of Prefect 0.x/1.x.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from dask_flow.errors import InputError

__all__ = ["DaskKubernetesEnvironment", "Docker", "relative_to", "settings_of"]

_folder: ContextVar[Path | None] = ContextVar("folder", default=None)


@contextmanager
def relative_to(folder: Path) -> Iterator[None]:
    """While a flow's file is loaded: find the files that it declares beside it, if not in the working directory."""
    token = _folder.set(folder)
    try:
        yield
    finally:
        _folder.reset(token)


@dataclasses.dataclass(frozen=True)
class DaskKubernetesEnvironment:
    """A temporary Dask cluster of `min_workers` to `max_workers` pods, or of the pods that a spec file describes."""

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

    def __post_init__(self) -> None:
        _refuse(self, "scheduler_logs", "on_start", "on_exit", "log_k8s_errors")
        _refuse(
            self, "private_registry", "docker_secret", instead="create the Secret and name it with image_pull_secret="
        )
        _ignore(self, "labels", "metadata")
        for argument in ("worker_spec_file", "scheduler_spec_file"):
            name = getattr(self, argument)
            if name is not None:
                object.__setattr__(self, argument, str(_declared_file(argument, name)))

    def settings(self) -> dict[str, Any]:
        """Return what this means for the run, by the names of RunSettings; None where it says nothing."""
        return {
            "min_workers": self.min_workers,
            "max_workers": self.max_workers,
            "work_stealing": self.work_stealing,
            "worker_spec": Path(self.worker_spec_file) if self.worker_spec_file else None,
            "scheduler_spec": Path(self.scheduler_spec_file) if self.scheduler_spec_file else None,
            "image_pull_secrets": (self.image_pull_secret,) if self.image_pull_secret else None,
        }


@dataclasses.dataclass(frozen=True)
class Docker:
    """The image that holds the flow and its dependencies: `registry_url/image_name:image_tag`."""

    registry_url: str | None = None
    image_name: str | None = None
    image_tag: str | None = None

    def settings(self) -> dict[str, Any]:
        """Return what this means for the run: pods that do not name an image get this one."""
        if self.image_name is None:
            return {}
        registry = f"{self.registry_url.rstrip('/')}/" if self.registry_url else ""
        return {"image": f"{registry}{self.image_name}:{self.image_tag or 'latest'}"}


def settings_of(flow: Any) -> dict[str, Any]:
    """Return what a flow declares, by the names of RunSettings."""
    declared: dict[str, Any] = {}
    for attribute in ("storage", "environment"):
        declaration = getattr(flow, attribute, None)
        if declaration is None:
            continue
        if not isinstance(declaration, DaskKubernetesEnvironment | Docker):
            raise InputError(
                f"flow.{attribute} is a {type(declaration).__name__}, which means nothing here; "
                "use DaskKubernetesEnvironment or Docker of dask_flow, or the options of dask-flow run"
            )
        declared.update({name: value for name, value in declaration.settings().items() if value is not None})
    return declared


def _declared_file(argument: str, name: str) -> Path:
    folder = _folder.get()
    places = [Path(name), *([folder / name] if folder else [])]
    for path in places:
        if path.is_file():
            return path.absolute()
    looked = " or ".join(str(path.absolute()) for path in places)
    raise InputError(f"{argument}={name!r}: there is no such file at {looked}")


def _set_fields(declaration: Any, names: tuple[str, ...]) -> Iterator[str]:
    for field in dataclasses.fields(declaration):
        if field.name in names and getattr(declaration, field.name) != field.default:
            yield f"{type(declaration).__name__}({field.name}={getattr(declaration, field.name)!r})"


def _refuse(declaration: Any, *names: str, instead: str = "leave it out") -> None:
    for given in _set_fields(declaration, names):
        raise InputError(f"{given} has no effect in this version; {instead}")


def _ignore(declaration: Any, *names: str) -> None:
    for given in _set_fields(declaration, names):
        warnings.warn(f"{given} was for Prefect's agents and has no effect here", stacklevel=4)
