"""Put together the files that a builder gets along with the Dockerfile."""

from __future__ import annotations

import shutil
from pathlib import Path

from dask_flow.errors import InputError
from dask_flow.images.plan import OURS, ImagePlan

__all__ = ["stage"]


def stage(image: ImagePlan, context: Path) -> None:
    """Copy what the image needs into the empty folder `context`, readable for the image's user. Raises InputError."""
    ours = context / OURS
    ours.mkdir()
    try:
        for relative, path in image.code.files.items():
            place = ours / "code" / relative
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, place)
        if image.requirement:
            shutil.copyfile(image.requirement, ours / "requirements.txt")
        for path in {path for path, _ in image.files}:
            _copy(path, context / path.name)
        if image.dockerignore:
            text = image.dockerignore.read_text(encoding="utf-8")
            (context / ".dockerignore").write_text(f"{text}\n!{OURS}\n!{OURS}/**\n", encoding="utf-8")
    except (OSError, shutil.Error) as error:
        raise InputError(f"the image's files cannot be copied: {error}") from error
    _make_readable(context)


def _copy(path: Path, place: Path) -> None:
    if path.is_dir():
        shutil.copytree(path, place)
    else:
        shutil.copy2(path, place)


def _make_readable(folder: Path) -> None:
    """Let everyone read: root owns the files in the image, and its user is another."""
    for path in folder.rglob("*"):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | (0o755 if path.is_dir() else 0o644))
