"""`dask-flow validate`: the pods that a run would create, and what a cluster at hand would say of them."""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dask_flow import __version__, declarations, targets
from dask_flow.errors import DaskFlowError, InputError, StartupError
from dask_flow.flows import adapter_for, name_of
from dask_flow.manifests import RunIdentity, address_at, dask_pod, permissions, template_variables
from dask_flow.settings import RunSettings, resolve
from dask_flow.specs import Manifest, Templates, read_templates

if TYPE_CHECKING:
    from dask_flow.kube import Kube

__all__ = ["Plan", "cluster_problems", "plan"]

log = logging.getLogger(__name__)

PUBLIC_IMAGE = f"ghcr.io/dask-flow/dask-flow:{__version__}"


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a run would create: the pods, of which the last is the first worker, and how many workers there are."""

    settings: RunSettings
    templates: Templates
    pods: tuple[Manifest, ...]

    def summary(self) -> str:
        """Return the plan as a sentence."""
        settings = self.settings
        count = f"{settings.min_workers}"
        if settings.adaptive:
            count += f" to {settings.max_workers}, as the work needs"
        where = "in a pod of its own" if self.templates.scheduler else "in the runner's pod"
        each = f" with {self.templates.worker.processes} workers each" if self.templates.worker.processes > 1 else ""
        return f"worker pods: {count}{each}; scheduler: {where}; mutual TLS: {'on' if settings.tls else 'off'}"


def plan(given: Mapping[str, Any], namespace: str) -> Plan:
    """Work out what `dask-flow run` with the same options would create. Raises InputError for all that is wrong.

    What only a run can know has placeholders: its name, its runner's address, and the image where none is given.
    """
    given, declared = dict(given), {}
    if given["target"]:
        loaded = targets.load(given["target"])
        declared = {"flow": name_of(loaded.flow), **declarations.settings_of(loaded.flow)}
    if given["cluster"] in {"static", "local"}:
        raise InputError(f"--cluster {given['cluster']} makes no pods, and validate is about those; leave it out")
    settings = resolve({**given, "target": given["target"] or "", "cluster": "pods"}, declared)
    if given["target"]:
        adapter_for(loaded.flow).check(loaded.flow, settings.params)
    identity = RunIdentity("run", namespace, "run-xxxxx", "00000000-0000-0000-0000-000000000000", "", PUBLIC_IMAGE)
    templates = read_templates(settings, template_variables(settings, identity, os.environ))
    for warning in templates.warnings:
        log.warning("%s", warning)
    if templates.worker.replicas:
        settings = settings.with_min_workers(templates.worker.replicas)
    pods = []
    if templates.scheduler:
        pods.append(dask_pod(templates.scheduler, "run-xxxxx-scheduler", settings, identity))
    address = address_at("SCHEDULER", settings)
    pods.append(dask_pod(templates.worker, "run-xxxxx-worker-0", settings, identity, address))
    return Plan(settings, templates, tuple(pods))


def cluster_at_hand(namespace: str | None) -> Kube | None:
    """Return the cluster that this process runs in, or kubectl's current one; None if there is neither."""
    from dask_flow.kube import Kube

    try:
        if namespace is None and Path("/var/run/secrets/kubernetes.io/serviceaccount/token").exists():
            return Kube.in_cluster()
        kube = Kube.from_kubeconfig(namespace)
        kube.version()
    except StartupError as error:
        log.info("checked without a cluster: %s", error)
        return None
    return kube


def cluster_problems(planned: Plan, kube: Kube) -> list[DaskFlowError]:
    """Ask the API server whether it takes these pods, quotas have room, and this user may do what a runner does."""
    problems: list[DaskFlowError] = []
    for pod in planned.pods:
        try:
            kube.create("pods", pod, dry_run=True)
        except DaskFlowError as error:
            problems.append(error)
    try:
        problems += _missing_rights(planned, kube)
        quotas = kube.list_all("resourcequotas")
    except DaskFlowError as error:
        log.warning("rights and quotas are not checked: %s", error)
    else:
        problems += [StartupError(text) for quota in quotas for text in _quota_problems(planned, quota)]
    return problems


def _missing_rights(planned: Plan, kube: Kube) -> Iterator[StartupError]:
    for resource, verbs in permissions(planned.settings).items():
        refused = [verb for verb in verbs if not kube.may(verb, resource)]
        if refused:
            text = f"you may not {', '.join(refused)} {resource} in namespace {kube.namespace}"
            yield StartupError(f"{text}; a runner with your rights could not run this (chart: rbac.create=true)")


def _quota_problems(planned: Plan, quota: Mapping[str, Any]) -> Iterator[str]:
    """Compare what the run needs at least, and at most, with what a quota of all pods leaves."""
    from kubernetes.utils import parse_quantity

    if quota["spec"].get("scopes") or quota["spec"].get("scopeSelector"):
        return
    *others, worker = planned.pods
    for resource, hard in quota.get("status", {}).get("hard", {}).items():
        left = parse_quantity(hard) - parse_quantity(quota["status"].get("used", {}).get(resource, 0))
        rest = sum(_need(pod, resource) for pod in others)
        least = rest + planned.settings.min_workers * _need(worker, resource)
        most = rest + planned.settings.max_workers * _need(worker, resource)
        where = f"quota {quota['metadata']['name']} leaves {left} of {resource}"
        if least > left:
            yield f"{where}, but the run needs {least} for its {planned.settings.min_workers} workers"
        elif most > left:
            log.warning("%s, which is not enough for the %s of --max-workers", where, planned.settings.max_workers)


def _need(pod: Manifest, resource: str) -> Any:
    """Return how much of a quota's resource a pod takes; 0 for what pods have none of."""
    from kubernetes.utils import parse_quantity

    if resource in {"pods", "count/pods"}:
        return parse_quantity(1)
    kind, _, name = resource.rpartition(".")
    if name not in {"cpu", "memory", "ephemeral-storage"}:
        return parse_quantity(0)
    amounts: Iterable[Any] = (
        each.get("resources", {}).get(kind or "requests", {}).get(name, 0) for each in pod["spec"]["containers"]
    )
    return sum((parse_quantity(amount) for amount in amounts), start=parse_quantity(0))


def raise_first(problems: list[DaskFlowError]) -> None:
    """Raise all problems as one error, if there are any: of the input, if one is."""
    if problems:
        kind = InputError if any(isinstance(each, InputError) for each in problems) else StartupError
        raise kind("\n".join(str(each) for each in problems))
