"""Find the page of a report again: in a folder, below a URL, or where a run in Kubernetes keeps it."""

from __future__ import annotations

import json
import shlex
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dask_flow.errors import InputError
from dask_flow.remote.given import option_of, runner_of
from dask_flow.report.places import MOST_RUNS_OF_A_NAME, REPORT, folder_names, reason
from dask_flow.targets.urls import is_url, shown

if TYPE_CHECKING:
    from dask_flow.kube import Kube

__all__ = ["page_in", "place_of"]

PAGE = "report.html"
CLAIM = "persistentVolumeClaim"


def place_of(run: str, kube: Kube) -> str:
    """Return where the Job of a run has its report kept. Raises InputError if nowhere, or where only pods can read."""
    from dask_flow.kube import NotFoundError

    try:
        job = kube.get("jobs.batch", run)
    except NotFoundError as error:
        raise InputError(
            f"there is no folder {run}, nor a job of that name in namespace {kube.namespace}; give the folder or the "
            "URL where reports are kept, or -n NAMESPACE"
        ) from error
    place = option_of(runner_of(job), "report")
    if not place:
        raise InputError(f"run {run} keeps no report; set `report` in the chart, or submit it with --report")
    if not is_url(place):
        raise InputError(f"the report of run {run} is in {place}/{run} of its pod, {_how_to_read(job, place, kube)}")
    return place


def _how_to_read(job: Mapping[str, Any], place: str, kube: Kube) -> str:
    """Say which claim a folder of a runner is of, and by which commands it is copied from there."""
    claims = {each["name"]: each for each in job["spec"]["template"]["spec"].get("volumes", ()) if CLAIM in each}
    for mount in runner_of(job).get("volumeMounts", ()):
        if mount["name"] in claims and Path(place).is_relative_to(mount["mountPath"]):
            volume = claims[mount["name"]]
            commands = _copied(job, place, _reader(job, volume, mount), f"kubectl -n {kube.namespace}")
            return "\n  ".join((f"on claim {volume[CLAIM]['claimName']}; to have it here:", *commands))
    return "which is gone with it; let `report` name a claim or a URL"


def _reader(job: Mapping[str, Any], volume: Mapping[str, Any], mount: Mapping[str, Any]) -> dict[str, Any]:
    """Return the spec of a pod that has the volume, and may be where the runner's may."""
    spec, runner = job["spec"]["template"]["spec"], runner_of(job)
    of_pod = ("imagePullSecrets", "nodeSelector", "securityContext", "tolerations")
    of_container = ("image", "resources", "securityContext")
    container = {key: runner[key] for key in of_container if key in runner}
    container |= {"name": "reader", "command": ["sleep", "3600"], "volumeMounts": [mount]}
    pod = {key: spec[key] for key in of_pod if key in spec}
    return {**pod, "automountServiceAccountToken": False, "containers": [container], "volumes": [volume]}


def _copied(job: Mapping[str, Any], place: str, reader: Mapping[str, Any], kubectl: str) -> tuple[str, ...]:
    run, image = job["metadata"]["name"], runner_of(job)["image"]
    pod, overrides = f"{run[:50]}-report", shlex.quote(json.dumps({"spec": reader}))
    return (
        f"{kubectl} run {pod} --restart=Never --image={image} --overrides={overrides}",
        f"{kubectl} wait pod/{pod} --for=condition=Ready --timeout=300s",
        f"{kubectl} cp {pod}:{place}/{run} {run}",
        f"{kubectl} delete pod {pod} --wait=false",
        f"dask-flow report {run}/",
    )


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
