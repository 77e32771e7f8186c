"""What a flow's image is to be: what its storage declares, and the command's options over that."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from dask_flow import __version__, image_names
from dask_flow.declarations import Docker, settings_of
from dask_flow.errors import InputError
from dask_flow.images.own_code import OwnCode, own_code
from dask_flow.targets import Loaded

__all__ = ["BASE_IMAGE", "OURS", "BuildOptions", "ImagePlan", "plan"]

log = logging.getLogger(__name__)

# The folder of the build's own files, which no .dockerignore reaches. The files to copy are beside it, as in Prefect.
OURS = "dask-flow"
BASE_IMAGE = f"ghcr.io/dask-flow/dask-flow:{__version__}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class BuildOptions:
    """The options of `dask-flow build`; the lists are added to what the flow declares, others win over it."""

    image: str | None = None
    base_image: str | None = None
    dockerfile: Path | None = None
    requirement: Path | None = None
    python_dependencies: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    push: bool | None = None
    check: bool | None = None
    builder_arguments: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImagePlan:
    """An image before it is built.

    `base` is the image that it starts from; with a `dockerfile`, that makes it. `files` are those to copy, and where
    to. `docker_host` is the URL of a Docker daemon, `build_kwargs` are docker-py's.
    """

    name: str
    base: str
    dockerfile: Path | None
    code: OwnCode
    files: tuple[tuple[Path, str], ...]
    dockerignore: Path | None
    requirement: Path | None
    python_dependencies: tuple[str, ...]
    env: Mapping[str, str]
    extra_commands: tuple[str, ...]
    check: bool
    push: bool
    local_image: bool
    docker_host: str | None
    build_kwargs: Mapping[str, Any]
    builder_arguments: tuple[str, ...]


def plan(target: str, loaded: Loaded, options: BuildOptions) -> ImagePlan:
    """Settle what the image is called, and what is in it. Raises InputError for what cannot be."""
    declared = settings_of(loaded.flow)
    storage = _storage(loaded.flow)
    code = own_code(target, loaded, storage, declared)
    name, has_registry = _name(loaded.flow, storage, options, code)
    dockerfile = _dockerfile(loaded, storage, options)
    return ImagePlan(
        name=name,
        base=name if dockerfile else options.base_image or storage.base_image or BASE_IMAGE,
        dockerfile=dockerfile,
        code=code,
        files=_files(loaded, storage, options),
        dockerignore=_existing(storage.dockerignore, loaded, "dockerignore") if storage.dockerignore else None,
        requirement=options.requirement,
        python_dependencies=(*(storage.python_dependencies or ()), *options.python_dependencies),
        env={**(storage.env_vars or {}), **dict(_pairs(options.env, "=", "--env", "NAME=VALUE"))},
        extra_commands=tuple(storage.extra_dockerfile_commands or ()),
        check=not storage.ignore_healthchecks if options.check is None else options.check,
        push=has_registry if options.push is None else options.push,
        local_image=storage.local_image,
        docker_host=storage.base_url,
        build_kwargs=storage.build_kwargs or {},
        builder_arguments=_builder_arguments(options),
    )


def _builder_arguments(options: BuildOptions) -> tuple[str, ...]:
    first = options.builder_arguments[:1]
    if first and not first[0].startswith("-"):
        raise InputError(f"one flow at a time, not {first[0]} too; the builder's own options go behind --")
    return options.builder_arguments


def _storage(flow: Any) -> Docker:
    storage = getattr(flow, "storage", None)
    if storage is not None and not isinstance(storage, Docker):
        log.warning("the flow's storage, a %s of Prefect's, is not read; give options", type(storage).__name__)
    return storage if isinstance(storage, Docker) else Docker()


def _name(flow: Any, storage: Docker, options: BuildOptions, code: OwnCode) -> tuple[str, bool]:
    """Return the image's name, and whether a registry is in it."""
    if options.image:
        name, has_registry = image_names.tagged(options.image), False
    else:
        own = getattr(flow, "name", None) or PurePosixPath(code.target.partition(":")[0]).name.removesuffix(".py")
        name = storage.image_of(own)
        has_registry = storage.registry_url is not None
    image_names.check(name)
    return name, has_registry or image_names.pushed_to(name) is not None


def _dockerfile(loaded: Loaded, storage: Docker, options: BuildOptions) -> Path | None:
    if options.dockerfile and options.base_image:
        raise InputError("give one of --base-image and --dockerfile, not both")
    if options.dockerfile or options.base_image or not storage.dockerfile:
        return options.dockerfile
    return _existing(storage.dockerfile, loaded, "dockerfile")


def _files(loaded: Loaded, storage: Docker, options: BuildOptions) -> tuple[tuple[Path, str], ...]:
    pairs = [*(storage.files or {}).items(), *_pairs(options.files, ":", "--file", "SOURCE:PLACE")]
    found = tuple((_existing(source, loaded, "files", folder_too=True), place) for source, place in pairs)
    called = [OURS, *(path.name for path in {path for path, _ in found})]
    twice = next((name for name in called if called.count(name) > 1), None)
    if twice == OURS:
        raise InputError(f"files: {OURS!r} is the name of a folder of the build's own; give yours another one")
    if twice:
        raise InputError(f"files: two are called {twice!r}; give one another name, or copy the folder that it is in")
    return found


def _existing(name: str, loaded: Loaded, argument: str, *, folder_too: bool = False) -> Path:
    """Return the path of what is declared: in the working directory, or beside the flow's file."""
    places = [Path(name).expanduser().absolute(), *([loaded.folder / name] if loaded.folder else [])]
    for path in places:
        if path.is_file() or (folder_too and path.is_dir()):
            return path
    listed = " or ".join(dict.fromkeys(map(str, places)))
    raise InputError(f"{argument}: there is no such file: {listed}")


def _pairs(texts: Iterable[str], separator: str, option: str, form: str) -> list[tuple[str, str]]:
    pairs = [text.partition(separator) for text in texts]
    for name, found, value in pairs:
        if not name or not found:
            raise InputError(f"{option} {name}{found}{value} is not {form}")
    return [(name, value) for name, _, value in pairs]
