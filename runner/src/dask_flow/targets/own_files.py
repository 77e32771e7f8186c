"""Which files beside a flow's file its tasks may need: the modules and packages there that it imports."""

from __future__ import annotations

import ast
import importlib.util
import logging
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from dask_flow.errors import InputError
from dask_flow.targets.source import imports

__all__ = ["installed", "own_files"]

log = logging.getLogger(__name__)

FILE_LIMIT_BYTES = 1_000_000
TOTAL_LIMIT_BYTES = 10_000_000
COUNT_LIMIT = 2_000
SKIPPED_FOLDERS = frozenset({"__pycache__", "node_modules", "site-packages", "dist-packages"})


def own_files(names: Iterable[str], folder: Path) -> Mapping[str, Path]:
    """Return the files in `folder` that hold what is imported, and what these import, and so on, by relative path.

    Of a package it is all files, data too, but hidden ones and those that are too big. Only what the flow's file leads
    to by its import statements: beside it may be a whole home folder. The standard library's names are not looked for.
    Raises InputError if it is too much to send to every worker.
    """
    found: dict[str, Path] = {}
    total = 0
    waiting, seen = list(names), set[str]()
    while waiting:
        name = waiting.pop()
        if name in seen or name.partition(".")[0] in sys.stdlib_module_names:
            continue
        seen.add(name)
        for path in _files_of(name, folder):
            relative = path.relative_to(folder).as_posix()
            if relative not in found and (size := _small_size(path)) is not None:
                found[relative] = path
                total += size
                if total > TOTAL_LIMIT_BYTES or len(found) > COUNT_LIMIT:
                    raise _too_much(found, folder)
                waiting += _imports_of(path)
    return found


def installed(file: str) -> bool:
    """Tell whether the file is of an installed package or of the standard library: workers have these themselves."""
    return bool({"site-packages", "dist-packages"}.intersection(Path(file).parts)) or file.startswith(
        (str(Path(os.__file__).parent), str(Path(__file__).parents[1]))
    )


def _files_of(name: str, folder: Path) -> Iterator[Path]:
    """Look up a dotted name as Python does: a package, else a module, else a folder that holds one of these."""
    for part in name.split("."):
        folder /= part
        if (folder / "__init__.py").is_file():
            yield from _package(folder)
            return
        if folder.with_name(f"{part}.py").is_file():
            yield folder.with_name(f"{part}.py")
            return


def _package(folder: Path) -> Iterator[Path]:
    real_folders = set()
    for parent, folders, files in os.walk(folder, followlinks=True):
        real_folders.add(os.path.realpath(parent))
        folders[:] = [each for each in sorted(folders) if _is_code(Path(parent, each), real_folders)]
        yield from (
            Path(parent, each) for each in sorted(files) if not each.startswith(".") and not each.endswith(".pyc")
        )


def _is_code(folder: Path, real_folders: set[str]) -> bool:
    """Tell a package's folder from caches, virtual environments, and links that lead back."""
    hidden = folder.name.startswith(".") or folder.name in SKIPPED_FOLDERS
    return not hidden and not (folder / "pyvenv.cfg").exists() and os.path.realpath(folder) not in real_folders


def _small_size(path: Path) -> int | None:
    """Return the file's size in bytes; None, with a warning, if it is too big, or if it is none."""
    if not path.is_file():
        return None
    size = path.stat().st_size
    if size <= FILE_LIMIT_BYTES:
        return size
    log.warning(
        "%s does not come along to the workers: it has %.1f MB, and the limit is %g; put it into the image or storage",
        *(path, size / 1e6, FILE_LIMIT_BYTES / 1e6),
    )
    return None


def _too_much(found: Mapping[str, Path], folder: Path) -> InputError:
    tops = [relative.partition("/")[0] for relative in found]
    most = max(set(tops), key=tops.count)
    return InputError(
        f"{folder / most} is too much to come along to the workers with the flow that imports it: the limit is "
        f"{COUNT_LIMIT:,} files and {TOTAL_LIMIT_BYTES / 1e6:g} MB in all; move data out, or install it in the image"
    )


def _imports_of(path: Path) -> list[str]:
    if path.suffix != ".py":
        return []
    try:
        return list(imports(ast.parse(importlib.util.decode_source(path.read_bytes()))))
    except (SyntaxError, ValueError, OSError):
        return []  # whoever imports it is told
