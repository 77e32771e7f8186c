"""Where a flow's own files are in its image."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from dask_flow.declarations import Docker
from dask_flow.errors import InputError
from dask_flow.targets import Loaded, shipment

__all__ = ["FOLDER", "OwnCode", "own_code"]

FOLDER = PurePosixPath("/opt/flow")


@dataclasses.dataclass(frozen=True)
class OwnCode:
    """The flow's own files by their paths below `folder`, which is in the image, as `target` is."""

    target: str
    folder: PurePosixPath = FOLDER
    files: Mapping[str, Path] = dataclasses.field(default_factory=dict)


def own_code(target: str, loaded: Loaded, storage: Docker, declared: Mapping[str, Any]) -> OwnCode:
    """Return the flow's files and those that come along with them, and how to name the flow there. Raises InputError.

    A file is named by its path, a module as before: the folder is in PYTHONPATH. `declared` has the spec files.
    """
    shipped = shipment(target)
    if not shipped.files and not shipped.is_module:
        raise InputError(f"{target}: an image is built from files of this machine; download the flow's first")
    name, colon, flow = shipped.target.partition(":")
    path = PurePosixPath(storage.path) if storage.path else _folder(storage) / name
    if storage.stored_as_script:
        return OwnCode(f"{path}{colon}{flow}")
    files = {**shipped.files, **_specs(loaded, declared)}
    if shipped.is_module:
        return OwnCode(target, _folder(storage), files)
    files[path.name] = files.pop(name)
    return OwnCode(f"{path}{colon}{flow}", path.parent, files)


def _folder(storage: Docker) -> PurePosixPath:
    default = storage.prefect_directory == Docker.prefect_directory
    return FOLDER if default else PurePosixPath(storage.prefect_directory)


def _specs(loaded: Loaded, declared: Mapping[str, Any]) -> dict[str, Path]:
    """Return the spec files that the flow declares, by their paths beside it, where it will look for them."""
    found = {}
    for path in (declared[name] for name in ("worker_spec", "scheduler_spec") if name in declared):
        folder = next((each for each in (loaded.folder, Path.cwd()) if each and path.is_relative_to(each)), None)
        if folder is None:
            raise InputError(f"{path}, which the flow declares, cannot come along; put it beside the flow's file")
        found[path.relative_to(folder).as_posix()] = path
    return found
