"""`dask-flow validate`: what a run would create, pods or a DaskCluster, and what a cluster at hand would say of it."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from dask_flow import __version__
from dask_flow.clusters.temporary import templates_of
from dask_flow.dask_cluster import address_of, dask_cluster, ignored
from dask_flow.errors import DaskFlowError, InputError, StartupError
from dask_flow.manifests import DASK_CLUSTERS, RunIdentity, address_at, dask_pod, permissions
from dask_flow.run import load
from dask_flow.settings import RunSettings, resolve
from dask_flow.specs import Manifest, Templates
from dask_flow.wording import quantity

if TYPE_CHECKING:
    from dask_flow.cli_connection import Connection
    from dask_flow.kube import Kube

__all__ = ["Plan", "cluster_at_hand", "plan", "review"]

log = logging.getLogger(__name__)

# A quota's names for the number of pods.
PODS = {"pods", "count/pods"}
PUBLIC_IMAGE = f"ghcr.io/dask-flow/dask-flow:{__version__}"


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a run would create: the pods, of which the last is the first worker, and how many workers there are.

    `cluster` is the DaskCluster that the operator would make such pods from, if it is to.
    """

    settings: RunSettings
    templates: Templates
    pods: tuple[Manifest, ...]
    cluster: Manifest | None = None

    @property
    def manifests(self) -> tuple[Manifest, ...]:
        """What the runner itself would create."""
        return (self.cluster,) if self.cluster else self.pods

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
    if given["cluster"] in {"static", "local"}:
        raise InputError(f"--cluster {given['cluster']} makes no pods, and validate is about those; leave it out")
    given = {**given, "cluster": "operator" if given["cluster"] == "operator" else "pods"}
    settings = load(given)[1] if given["target"] else resolve({**given, "target": ""}, {})
    identity = RunIdentity("run", namespace, "run-xxxxx", "00000000-0000-0000-0000-000000000000", "", PUBLIC_IMAGE)
    templates, settings = templates_of(settings, identity)
    pods = []
    if templates.scheduler:
        pods.append(dask_pod(templates.scheduler, identity.scheduler_name, settings, identity))
    operated = settings.cluster == "operator"
    address = address_of(identity) if operated else address_at("SCHEDULER", settings)
    pods.append(dask_pod(templates.worker, identity.worker_name(0), settings, identity, address))
    for warning in ignored(templates) if operated else ():
        log.warning("%s", warning)
    return Plan(settings, templates, tuple(pods), dask_cluster(templates, settings, identity) if operated else None)


def cluster_at_hand(connection: Connection) -> Kube | None:
    """Return the cluster that this process runs in, or the one that kubectl would use; None if there is neither.

    Raises StartupError if one is named that cannot be asked.
    """
    from dask_flow.kube import Kube

    try:
        if connection.is_open and connection.namespace is None and _in_a_pod():
            return Kube.in_cluster()
        kube = connection.kube()
        kube.version()
    except StartupError as error:
        if not connection.is_open:
            raise
        log.info("checked without a cluster: %s", error)
        return None
    return kube


def _in_a_pod() -> bool:
    from dask_flow.kube import SERVICE_ACCOUNT

    return (SERVICE_ACCOUNT / "token").exists()


def review(planned: Plan, kube: Kube | None) -> None:
    """Log the plan and, with a cluster at hand, what that says of it. Raises all its problems as one error."""
    log.info("%s", planned.summary())
    if kube is None:
        return
    problems = cluster_problems(planned, kube)
    if problems:
        kind = InputError if any(isinstance(each, InputError) for each in problems) else StartupError
        raise kind("\n".join(str(each) for each in problems))
    log.info("the cluster would take them in namespace %s", kube.namespace)


def cluster_problems(planned: Plan, kube: Kube) -> list[DaskFlowError]:
    """Ask the API server whether it takes these pods, quotas have room, and this user may do what a runner does."""
    pods, problems = _admitted(planned, kube)
    problems += _refused_cluster(planned, kube)
    try:
        problems += _missing_rights(planned, kube)
        quotas = kube.list_all("resourcequotas")
    except DaskFlowError as error:
        log.warning("rights and quotas are not checked: %s", error)
    else:
        problems += [StartupError(text) for quota in quotas for text in _quota_problems(planned, pods, quota)]
    return problems


def _admitted(planned: Plan, kube: Kube) -> tuple[list[Manifest], list[DaskFlowError]]:
    """Return the pods as the cluster would have them, with the defaults of a LimitRange, and why it refuses some."""
    from dask_flow.kube_refusals import ForbiddenError

    pods, refusals = [], []
    for pod in planned.pods:
        try:
            pods.append(kube.create("pods", pod, dry_run=True))
        except DaskFlowError as error:
            if planned.cluster and isinstance(error, ForbiddenError):
                log.warning("pods are not checked, as it is the operator who makes them: %s", error)
                return [*planned.pods], []
            pods.append(pod)
            refusals.append(error)
    return pods, refusals


def _refused_cluster(planned: Plan, kube: Kube) -> Iterator[DaskFlowError]:
    from dask_flow.clusters.operator_objects import NOT_INSTALLED
    from dask_flow.kube_refusals import UnknownKindError

    try:
        if planned.cluster:
            kube.create(DASK_CLUSTERS, planned.cluster, dry_run=True)
    except UnknownKindError:
        yield StartupError(NOT_INSTALLED)
    except DaskFlowError as error:
        yield error


def _missing_rights(planned: Plan, kube: Kube) -> Iterator[StartupError]:
    for resource, verbs in permissions(planned.settings).items():
        refused = [verb for verb in verbs if not kube.may(verb, resource)]
        if refused:
            text = f"you may not {', '.join(refused)} {resource} in namespace {kube.namespace}"
            yield StartupError(f"{text}; a runner with your rights could not run this (chart: rbac.create=true)")


def _quota_problems(planned: Plan, pods: Sequence[Manifest], quota: Mapping[str, Any]) -> Iterator[str]:
    """Compare what the run needs at least, and at most, with what a quota of all pods leaves."""
    if quota["spec"].get("scopes") or quota["spec"].get("scopeSelector"):
        return
    *others, worker = pods
    for resource, hard in quota.get("status", {}).get("hard", {}).items():
        left = _amount(hard) - _amount(quota["status"].get("used", {}).get(resource, 0))
        rest = _need_of_runner(resource) + sum(_need(pod, resource) for pod in others)
        least = rest + planned.settings.min_workers * _need(worker, resource)
        most = rest + planned.settings.max_workers * _need(worker, resource)
        where = f"quota {quota['metadata']['name']} leaves {_said(left, resource)} of {resource}"
        if least > left:
            yield f"{where}, but the run needs {_said(least, resource)} for its {planned.settings.min_workers} workers"
        elif most > left:
            log.warning("%s, which is not enough for the %s of --max-workers", where, planned.settings.max_workers)


def _amount(value: Any) -> Decimal:
    return quantity(value) or Decimal()


def _said(amount: Decimal, resource: str) -> str:
    from dask.utils import format_bytes

    return format_bytes(int(amount)) if resource.endswith(("memory", "storage")) else f"{amount}"


def _need_of_runner(resource: str) -> Decimal:
    """Return how much the runner's pod takes: only their number is known. In a pod, that one is among the used."""
    return Decimal(resource in PODS and not _in_a_pod())


def _need(pod: Manifest, resource: str) -> Decimal:
    """Return how much of a quota's resource a pod takes; 0 for what pods have none of."""
    if resource in PODS:
        return Decimal(1)
    kind, dot, name = resource.partition(".")
    if kind not in {"requests", "limits"}:
        kind, dot, name = "requests", "", resource
    if not dot and name not in {"cpu", "memory", "ephemeral-storage"}:
        return Decimal()

    def of(container: Manifest) -> Decimal:
        given = container.get("resources", {})
        # One that asks for nothing asks for its limits.
        return _amount(given.get(kind, {}).get(name) or given.get("limits", {}).get(name, 0))

    spec = pod["spec"]
    at_first = sidecars = Decimal()
    for each in spec.get("initContainers", ()):
        if each.get("restartPolicy") == "Always":
            sidecars += of(each)
        else:
            at_first = max(at_first, sidecars + of(each))
    later = sidecars + sum(map(of, spec["containers"]), start=Decimal())
    of_pod = of(spec)  # of Kubernetes 1.34 on, it has precedence
    return (of_pod or max(at_first, later)) + _amount(spec.get("overhead", {}).get(name, 0))
