"""Where reports are kept: a folder for each run, in a folder or below a URL that fsspec can write to."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from dask_flow.errors import InputError
from dask_flow.log import described
from dask_flow.targets.urls import EXTRAS, is_url, shown

__all__ = ["MOST_RUNS_OF_A_NAME", "REPORT", "Place", "folder_name", "folder_names", "previous", "reason"]

REPORT = "report.json"
MOST_RUNS_OF_A_NAME = 1000
READ_ONLY = ("http", "https")


class Place:
    """What `--report` names. Every method but `check` raises whatever fsspec does."""

    def __init__(self, name: str) -> None:
        self.name = name if is_url(name) else str(Path(name).absolute())  # a flow may change the working directory

    def __str__(self) -> str:
        return shown(self.name) if is_url(self.name) else self.name

    def check(self) -> None:
        """Raise InputError if it is known already that nothing can be written there. Connects to nothing."""
        if not is_url(self.name):
            self._check_folder(Path(self.name))
            return
        import fsspec  # type: ignore[import-untyped]

        scheme = self.name.partition("://")[0].lower()
        if scheme in READ_ONLY:
            raise InputError(
                f"--report {self}: {scheme} cannot be written to; give a folder, or s3://, gs://, abfs://…"
            )
        if scheme not in fsspec.available_protocols():
            raise InputError(
                f"--report {self}: fsspec knows no scheme {scheme!r}; give a folder, or s3://, gs://, abfs://…"
            )
        extra, package = EXTRAS.get(scheme, ("", ""))
        if extra and find_spec(package) is None:
            raise InputError(
                f"--report {self} needs the package {package}: pip install 'dask-flow[{extra}]', or in the chart set "
                f"EXTRA_PIP_PACKAGES={package} in flow.env"
            )

    def _check_folder(self, folder: Path) -> None:
        probe = folder / f".{uuid.uuid4().hex}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise InputError(
                f"--report {self}: nothing can be written there ({error.strerror}); give a folder that this user, "
                "in the chart uid 1000, may write to"
            ) from error

    def previous(self, run: str) -> Mapping[str, Any] | None:
        """Return the report.json of a run; None if there is none."""
        filesystem, root = self._filesystem()
        try:
            report: Mapping[str, Any] = json.loads(filesystem.cat_file(f"{root}/{run}/{REPORT}"))
        except FileNotFoundError:
            return None
        except ValueError:  # a write that broke off
            return {}
        return report

    def put(self, folder: Path, run: str) -> str:
        """Copy a folder's files into the run's, and return where that is."""
        filesystem, root = self._filesystem()
        files = sorted(each for each in folder.rglob("*") if each.is_file())
        there = [f"{root}/{run}/{each.relative_to(folder).as_posix()}" for each in files]
        filesystem.put([str(each) for each in files], there)
        return f"{str(self).rstrip('/')}/{run}"

    def _filesystem(self) -> tuple[Any, str]:
        import fsspec

        filesystem, root = fsspec.url_to_fs(self.name)
        if "file" in filesystem.protocol:
            filesystem.auto_mkdir = True
        return filesystem, root.rstrip("/")


def previous(
    place: Place, run: str, may_follow: Callable[[Mapping[str, Any]], bool]
) -> tuple[str, Mapping[str, Any] | None]:
    """Return the name of a run's folder, and the report there of the attempt before this one, if there was one.

    `may_follow` tells by a report whether a further attempt may come after it; else it is of another run of that name,
    and this one's folder is `RUN-2`, `RUN-3`, ….
    """
    for name in folder_names(run, MOST_RUNS_OF_A_NAME):
        report = place.previous(name)
        if report is None or may_follow(report):
            return name, report
    raise FileExistsError(f"there are {MOST_RUNS_OF_A_NAME} reports of {run}")


def folder_names(run: str, most: int) -> Iterator[str]:
    """Yield the names of the folders that the reports of one run's name have, the oldest first."""
    yield run
    yield from (f"{run}-{number}" for number in range(2, most))


def folder_name(text: str) -> str:
    """Return a text as the name of a folder, whatever the file system."""
    return re.sub(r"[^\w.-]+", "-", text).strip("-.") or "run"


def reason(error: BaseException) -> str:
    """Return an error as one line, without what a URL in it has of secrets."""
    return re.sub(r"[a-z][a-z0-9+.-]*://[^\s'\"]+", lambda found: shown(found[0]), described(error))
