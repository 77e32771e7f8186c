"""The Dask operator's objects of a run, as pure functions: its DaskCluster and its DaskAutoscaler."""

from __future__ import annotations

from typing import Any

from dask_flow.dask_commands import dask_container
from dask_flow.errors import InputError
from dask_flow.manifests import DASHBOARD_PORT, SCHEDULER_PORT, RunIdentity, dask_pod
from dask_flow.settings import RunSettings
from dask_flow.specs import Manifest, PodTemplate, Templates

__all__ = ["IDLE_TIMEOUT_SECONDS", "address_of", "dask_autoscaler", "dask_cluster", "ignored"]

API_VERSION = "kubernetes.dask.org/v1"
# After a runner that could not clean up. One that lives keeps its cluster from being idle.
IDLE_TIMEOUT_SECONDS = 60
SCHEDULER_GRACE_SECONDS = 1
PORTS = {"tcp-comm": SCHEDULER_PORT, "http-dashboard": DASHBOARD_PORT}
# Where a spec has quantities by name, and where one.
QUANTITIES = {"limits", "requests", "overhead"}
QUANTITY = {"divisor", "sizeLimit"}
# What a pod can have, and a Deployment's cannot.
OF_A_POD_ONLY = ("restartPolicy", "activeDeadlineSeconds")


def dask_cluster(
    templates: Templates,
    settings: RunSettings,
    identity: RunIdentity,
    idle_timeout: int = IDLE_TIMEOUT_SECONDS,
) -> Manifest:
    """Return the DaskCluster whose pods are those that the temporary cluster without an operator would have.

    The operator deletes it when its scheduler was idle for `idle_timeout` seconds. Raises InputError for what it could
    not scale.
    """
    if settings.adaptive and templates.worker.processes > 1:
        raise InputError(
            f"--nworkers {templates.worker.processes} in the worker spec, but the Dask operator scales single workers, "
            "not pods of several: use --nthreads, give --min-workers and --max-workers the same number, or use "
            "--cluster pods"
        )
    # The operator gives each worker a Deployment, and finds it by the worker's name.
    worker = _pod(templates.worker, "$(DASK_WORKER_NAME)", settings, identity, address_of(identity))
    if templates.scheduler is None:
        raise ValueError("in the Dask operator's clusters, the scheduler has a pod of its own")
    scheduler = _pod(templates.scheduler, identity.scheduler_name, settings, identity)
    return {
        "apiVersion": API_VERSION,
        "kind": "DaskCluster",
        "metadata": identity.metadata(identity.cluster_name, "cluster"),
        "spec": {
            "idleTimeout": idle_timeout,
            "worker": {"replicas": settings.min_workers, **worker},
            "scheduler": {**scheduler, "service": _service(identity)},
        },
    }


def dask_autoscaler(settings: RunSettings, identity: RunIdentity) -> Manifest:
    """Return what has the operator scale the run's DaskCluster between the bounds."""
    return {
        "apiVersion": API_VERSION,
        "kind": "DaskAutoscaler",
        "metadata": identity.metadata(identity.cluster_name, "autoscaler"),
        "spec": {
            "cluster": identity.cluster_name,
            "minimum": settings.min_workers,
            "maximum": settings.max_workers,
        },
    }


def address_of(identity: RunIdentity) -> str:
    """Return the scheduler's address. The operator's own takes it for granted that the domain is cluster.local."""
    return f"tcp://{identity.scheduler_name}.{identity.namespace}:{SCHEDULER_PORT}"


def ignored(templates: Templates) -> list[str]:
    """Return, each in a sentence, what the specs say that the operator's pods cannot have."""
    pods = [template for template in (templates.worker, templates.scheduler) if template]
    return [
        f"the {template.role} spec's activeDeadlineSeconds has no effect: a Deployment's pods, as the Dask operator "
        "makes them, have none; use --timeout"
        for template in pods
        if "activeDeadlineSeconds" in template.pod["spec"]
    ]


def _pod(
    template: PodTemplate, name: str, settings: RunSettings, identity: RunIdentity, scheduler: str | None = None
) -> dict[str, Any]:
    pod = dask_pod(template, name, settings, identity, scheduler)
    spec = {key: value for key, value in pod["spec"].items() if key not in OF_A_POD_ONLY}
    # KubeCluster takes the first container for Dask's, and reads its args.
    container = dask_container(pod, template.role)
    container.setdefault("args", [])
    others = [each for each in spec["containers"] if each is not container]
    spec |= {"restartPolicy": "Always", "containers": [container, *others]}
    if template.role == "scheduler":
        # It has nothing to hand over, and workers that are told to end with it would wait for it as long as it lives.
        spec.setdefault("terminationGracePeriodSeconds", SCHEDULER_GRACE_SECONDS)
        for purpose, port in PORTS.items():
            _name_port(container, port, purpose)
    for each in [*spec["containers"], *spec.get("initContainers", [])]:
        _name_handlers_ports(each)
    return {"metadata": {key: pod["metadata"][key] for key in ("labels", "annotations")}, "spec": _with_texts(spec)}


def _with_texts(value: Any) -> Any:
    """Return the part of a spec with all quantities as texts: the operator's definition takes no numbers."""
    if isinstance(value, list):
        return [_with_texts(each) for each in value]
    if not isinstance(value, dict):
        return value
    changed = {key: _with_texts(each) for key, each in value.items()}
    for key in QUANTITIES & changed.keys():
        changed[key] = {name: str(amount) for name, amount in changed[key].items()}
    for key in QUANTITY & changed.keys():
        changed[key] = str(changed[key])
    return changed


def _name_handlers_ports(container: Manifest) -> None:
    """Have probes and hooks name their ports: the operator's definition takes no numbers there."""
    handlers = [container.get(f"{kind}Probe") for kind in ("startup", "readiness", "liveness")]
    handlers += container.get("lifecycle", {}).values()
    actions = [handler.get(kind) for handler in handlers if handler for kind in ("httpGet", "tcpSocket")]
    for action in actions:
        if action and isinstance(action["port"], int):
            action["port"] = _name_port(container, action["port"], f"port-{action['port']}")


def _name_port(container: Manifest, number: int, name: str) -> str:
    """Return the name that a container's port has, which is this one if it had none."""
    ports: list[Manifest] = container.setdefault("ports", [])
    found = next((each for each in ports if each["containerPort"] == number), None)
    if found is None:
        found = {"containerPort": number}
        ports.append(found)
    return str(found.setdefault("name", name))


def _service(identity: RunIdentity) -> Manifest:
    selector = {"dask.org/cluster-name": identity.cluster_name, "dask.org/component": "scheduler"}
    ports = [{"name": name, "port": port} for name, port in PORTS.items()]
    return {"type": "ClusterIP", "selector": selector, "ports": ports, "publishNotReadyAddresses": True}
