"""Give workers the flow's own code: what is beside its file, whether it was imported already or will be in a task.

A module that the runner has imported travels by value with the tasks that use it. For imports that a task makes while
it runs, workers get the files too. The plugin itself travels by value: the workers' image need not have this package.
"""

from __future__ import annotations

import importlib
import io
import logging
import shutil
import sys
import uuid
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib.abc import MetaPathFinder
from importlib.machinery import SOURCE_SUFFIXES, FileFinder, ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from distributed.diagnostics.plugin import WorkerPlugin

from dask_flow.by_value import send_by_value
from dask_flow.errors import StartupError
from dask_flow.log import described
from dask_flow.targets.own_files import installed
from dask_flow.worker_plugins import unregister

if TYPE_CHECKING:
    from distributed import Client, Worker

    from dask_flow.targets import Loaded

__all__ = ["sent_along"]

log = logging.getLogger(__name__)

PREFIX = "dask-flow-files-"


@contextmanager
def sent_along(client: Client, loaded: Loaded) -> Iterator[None]:
    """While the flow runs: have its own code on the workers, on those that come later too.

    A cluster that stays is left as it was. Raises StartupError if a worker cannot take the files.
    """
    send_by_value(loaded.modules)
    with _by_value_once_imported(loaded.folder):
        name = _register(client, loaded.files) if loaded.files else None
        try:
            yield
        finally:
            if name and client.cluster is None:
                unregister(client, name)


class OwnFiles(WorkerPlugin):  # type: ignore[misc]
    """Unpack an archive of modules into a worker's folder, first on `sys.path`, and take that back at the end."""

    def __init__(self, name: str, prefix: str, archive: bytes) -> None:
        self.name = name
        self._prefix = prefix
        self._archive = archive

    def setup(self, worker: Worker) -> None:
        """Unpack. Modules of the same names that another run's files have left imported are forgotten."""
        folder = Path(worker.local_directory, self.name)
        with zipfile.ZipFile(io.BytesIO(self._archive)) as archive:
            archive.extractall(folder)
            names = {each.partition("/")[0].removesuffix(".py") for each in archive.namelist()}
        self._forget(str(folder.parent / self._prefix), names)
        sys.path.insert(0, str(folder))
        importlib.invalidate_caches()

    def teardown(self, worker: Worker) -> None:
        """Delete the files and forget what was imported from them."""
        folder = Path(worker.local_directory, self.name)
        with suppress(ValueError):
            sys.path.remove(str(folder))
        self._forget(str(folder), None)
        shutil.rmtree(folder, ignore_errors=True)

    def _forget(self, start: str, tops: set[str] | None) -> None:
        """Forget modules whose files' paths begin so, of any name or of one of these packages."""
        for name, module in list(sys.modules.items()):
            file = str(getattr(module, "__file__", None) or next(iter(getattr(module, "__path__", [])), ""))
            if file.startswith(start) and (tops is None or name.partition(".")[0] in tops):
                del sys.modules[name]


def _register(client: Client, files: Mapping[str, Path]) -> str:
    send_by_value([sys.modules[__name__]])
    name = f"{PREFIX}{uuid.uuid4().hex[:8]}"
    try:
        client.register_plugin(OwnFiles(name, PREFIX, _archive(files)), name=name)
    except Exception as error:
        raise StartupError(f"a worker could not take the files beside the flow: {described(error)}") from error
    log.debug("workers have %s", ", ".join(files))
    return name


def _archive(files: Mapping[str, Path]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for relative, path in files.items():
            archive.writestr(relative, path.read_bytes())
    return buffer.getvalue()


@contextmanager
def _by_value_once_imported(folder: Path | None) -> Iterator[None]:
    """Have modules of the folder travel by value if they are imported now: in a function, or by a script."""
    if folder is None:
        yield
        return
    finder = _Finder(folder)
    sys.meta_path.insert(sys.meta_path.index(PathFinder), finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


class _Loader(SourceFileLoader):
    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        send_by_value([module])


class _Finder(MetaPathFinder):
    """Finds modules in the folder, and in packages there, as `sys.path` would."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        for place in [str(self._folder)] if path is None else path:
            if Path(place).is_relative_to(self._folder) and not installed(f"{place}/"):
                spec = FileFinder(place, (_Loader, SOURCE_SUFFIXES)).find_spec(name)
                if spec is not None and spec.loader is not None:
                    return spec
        return None
