"""Find the chart's release that a run is to be made from: its CronJob is the template."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from dask_flow.errors import DaskFlowError, InputError
from dask_flow.wording import enumeration, maybe, near

if TYPE_CHECKING:
    from dask_flow.user_kube import UserKube

__all__ = ["CRON_JOBS", "JOBS", "RELEASE_LABEL", "RUNNER", "is_runner", "release_of", "template_of"]

CRON_JOBS = "cronjobs.batch"
JOBS = "jobs.batch"
RELEASE_LABEL = "app.kubernetes.io/instance"
RUNNER = "runner"
# The chart gives each of its runners this; names and labels can be changed by values.
MARK = "DASK_FLOW_POD_NAME"


def is_runner(pod_template: Mapping[str, Any]) -> bool:
    """Return whether such pods are the chart's runners."""
    containers = pod_template["spec"]["containers"]
    return any(each["name"] == RUNNER and any(e["name"] == MARK for e in each.get("env", [])) for each in containers)


def release_of(labelled: Mapping[str, Any]) -> str:
    """Return the name of the release that an object is of, or an empty text."""
    return str(labelled["metadata"].get("labels", {}).get(RELEASE_LABEL, ""))


def template_of(kube: UserKube, release: str | None) -> dict[str, Any]:
    """Return the CronJob of a release, or of the only one in the namespace if none is named.

    Raises InputError that says which releases there are, here or elsewhere.
    """
    found = {release_of(each): each for each in _templates(kube.list_all(CRON_JOBS))}
    if release in found:
        return found[release]
    if release is None and len(found) == 1:
        return next(iter(found.values()))
    if release is None and found:
        raise InputError(f"namespace {kube.namespace} has several releases; say --release {' or '.join(sorted(found))}")
    raise InputError(_why_none(kube, release, sorted(found)))


def _templates(cron_jobs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [each for each in cron_jobs if is_runner(each["spec"]["jobTemplate"]["spec"]["template"])]


def _why_none(kube: UserKube, release: str | None, there: list[str]) -> str:
    namespace = kube.namespace
    if not kube.has_namespace():
        return f"there is no namespace {namespace} at {kube.where}; give another with -n"
    what = f"release {release} of the chart dask-flow" if release else "release of the chart dask-flow"
    if release and any(release_of(each) == release for each in kube.list_all(JOBS)):
        return (
            f"release {release} in namespace {namespace} is no template for runs: it has run.mode=job; "
            f"helm upgrade {release} CHART -n {namespace} --reuse-values --set run.mode=template makes it one"
        )
    if there:
        guess = maybe(near(release, there)) if release else ""
        return f"namespace {namespace} has no {what}; it has {enumeration(there, 'and')}{guess}"
    elsewhere = _elsewhere(kube, release)
    if elsewhere:
        return f"namespace {namespace} has no {what}, but {elsewhere}"
    name = release or "NAME"
    return (
        f"namespace {namespace} has no {what}; give another namespace with -n, or install one: "
        f"helm install {name} CHART -n {namespace}"
    )


def _elsewhere(kube: UserKube, release: str | None) -> str:
    """Return which other namespace has it, as far as this person may see."""
    with suppress(DaskFlowError):
        others = _templates(kube.list_everywhere(CRON_JOBS))
        names = {each["metadata"]["namespace"]: release_of(each) for each in others}
        found = sorted(name for name, its in names.items() if release in (None, its))
        if found:
            return f"namespace {found[0]} does: say -n {found[0]}"
    return ""
