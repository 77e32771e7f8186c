"""Compare the versions of what runner, scheduler and workers exchange data by."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from dask_flow.errors import InputError

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["check_versions", "mismatches"]

PACKAGES = ("python", "dask", "distributed", "cloudpickle", "msgpack")
# Only flows of this package's own API need it on the workers, so that none at all is no difference.
OWN_PACKAGE = "dask-flow"
NONE = "none"


def check_versions(client: Client) -> None:
    """Raise InputError with a table of the versions that differ; another attempt would find the same."""
    found = client.get_versions(packages=[OWN_PACKAGE])
    rows = mismatches(found["client"], found["scheduler"], [each for each in found["workers"].values() if each])
    if rows:
        raise InputError(
            "the versions in the runner's image and in the pods' differ; use the same image, or the same versions\n"
            + "\n".join(_table([("package", "runner", "scheduler", "workers"), *rows]))
        )


def mismatches(
    runner: Mapping[str, Any], scheduler: Mapping[str, Any], workers: Iterable[Mapping[str, Any]]
) -> list[tuple[str, str, str, str]]:
    """Return (package, runner's, scheduler's, workers' versions) of each that differs; Python's by its minor one."""
    rows = []
    workers = list(workers)
    for package in (*PACKAGES, OWN_PACKAGE):
        ours, theirs = _version(runner, package), _version(scheduler, package)
        others = sorted({_version(worker, package) for worker in workers})
        fitting = {ours, NONE} if package == OWN_PACKAGE else {ours}
        if not {theirs, *others} <= fitting:
            rows.append((package, ours, theirs, ", ".join(others)))
    return rows


def _version(of: Mapping[str, Any], package: str) -> str:
    version = str(of["packages"].get(package) or NONE)
    return ".".join(version.split(".")[:2]) if package == "python" else version


def _table(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
