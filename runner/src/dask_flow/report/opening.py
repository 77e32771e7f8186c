"""Find the page of a report again: in a folder, below a URL, or where a run in Kubernetes keeps it."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dask_flow.errors import InputError
from dask_flow.report.places import MOST_RUNS_OF_A_NAME, REPORT, folder_names, reason
from dask_flow.targets.urls import is_url, shown

if TYPE_CHECKING:
    from dask_flow.kube import Kube

__all__ = ["page_in", "place_of"]

PAGE = "report.html"
VARIABLE = "DASK_FLOW_REPORT"


def place_of(run: str, kube: Kube) -> str:
    """Return where the Job of a run has its report kept. Raises InputError if nowhere, or where only pods can read."""
    from dask_flow.kube import NotFoundError

    try:
        spec = kube.get("jobs.batch", run)["spec"]["template"]["spec"]
    except NotFoundError as error:
        raise InputError(
            f"there is no folder {run}, nor a job of that name in namespace {kube.namespace}; give the folder or the "
            "URL where reports are kept, or -n NAMESPACE"
        ) from error
    containers = [*(each for each in spec["containers"] if each["name"] == "runner"), *spec["containers"]]
    env = {each["name"]: each.get("value") for each in containers[0].get("env", ())}
    place = env.get(VARIABLE)
    if not place:
        raise InputError(f"run {run} keeps no report; set `report` in the chart, or {VARIABLE} in flow.env")
    if not is_url(place):
        raise InputError(f"the report of run {run} is in {place}/{run}{_claim(spec, containers[0], place)}")
    return str(place)


def _claim(spec: Mapping[str, Any], container: Mapping[str, Any], place: str) -> str:
    """Say which claim a folder of a container is of, and how to read it."""
    mounts = {each["name"]: each["mountPath"] for each in container.get("volumeMounts", ())}
    for volume in spec.get("volumes", ()):
        claim = volume.get("persistentVolumeClaim", {}).get("claimName")
        if claim and Path(place).is_relative_to(mounts.get(volume["name"], "-")):
            return f" of its pod, on claim {claim}: mount that claim in a pod to read it"
    return " of its pod, which is gone with it; let `report` name a claim or a URL"


def page_in(place: str, run: str | None = None) -> Path:
    """Return the page of the last report in a folder or below a URL, of a run or of any; what is remote is fetched.

    Raises InputError if there is none.
    """
    where = shown(place) if is_url(place) else place
    try:
        folder = _folder(place, run)
    except Exception as error:
        raise InputError(f"{where} cannot be read: {reason(error)}") from error
    if folder is None:
        raise InputError(f"there is no report{f' of run {run}' if run else ''} in {where}")
    return folder / PAGE


def _folder(place: str, run: str | None) -> Path | None:
    import fsspec  # type: ignore[import-untyped]

    filesystem, root = fsspec.url_to_fs(place)
    folder = _last(filesystem, root.rstrip("/"), run)
    if folder is None or "file" in filesystem.protocol:
        return None if folder is None else Path(folder)
    copy = tempfile.mkdtemp(prefix="dask-flow-report-")
    filesystem.get(f"{folder}/", f"{copy}/", recursive=True)
    return Path(copy)


def _last(filesystem: Any, root: str, run: str | None) -> str | None:
    if run is not None:
        found = None
        for name in folder_names(run, MOST_RUNS_OF_A_NAME):
            if not filesystem.exists(f"{root}/{name}/{REPORT}"):
                break
            found = f"{root}/{name}"
        return found
    reports = [each for each in (f"{root}/{REPORT}",) if filesystem.exists(each)] or filesystem.glob(
        f"{root}/*/{REPORT}"
    )
    newest: str | None = max(reports, key=filesystem.modified, default=None)
    return newest and newest.removesuffix(f"/{REPORT}")
