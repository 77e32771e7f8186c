"""A run's objects as pure functions: from settings, templates and the runner's own pod to dicts for the API server."""

from __future__ import annotations

import base64
import copy
import dataclasses
import hashlib
import math
import re
from collections.abc import Mapping
from typing import Any

from dask_flow.dask_commands import DaskCommand, dask_container
from dask_flow.errors import StartupError
from dask_flow.pod_status import DEFAULT_CONTAINER, QUEUE_LABEL
from dask_flow.settings import RunSettings
from dask_flow.specs import DASK_ARGS, Manifest, PodTemplate
from dask_flow.tls import KeyPair

__all__ = [
    "RunIdentity",
    "address_at",
    "dask_pod",
    "permissions",
    "scheduler_service",
    "template_variables",
    "tls_secret",
]

RUN_LABEL = "dask-flow/run"
RUNNER_LABEL = "dask-flow/runner"
# Labels of the runner that its other pods share: the chart's NetworkPolicy, and Kueue, select pods by them.
SHARED_LABELS = ("dask-flow/release", QUEUE_LABEL)
# Without these, Kueue takes a pod that the runner's pod owns for a part of the runner's Job, which it has counted.
KUEUE_LABELS = {"kueue.x-k8s.io/managed": "true"}
KUEUE_ANNOTATIONS = {"kueue.x-k8s.io/pod-suspending-parent": "dask-flow"}
DEATH_TIMEOUT_SECONDS = 60
# For how long a scheduler waits for a runner, beyond the time that the runner's start may take.
NO_RUNNER_SECONDS = 60
HOST_NAME_LIMIT = LABEL_LIMIT = 63
SCHEDULER_PORT = 8786
DASHBOARD_PORT = 8787
TLS_PATH = "/etc/dask-flow/tls"
# Also in clusters/memory.py, which cannot import it, and in the chart's static workers.
MEMORY_REQUEST = "DASK_FLOW_MEMORY_REQUEST"
# All of Dask's but distributed.http.proxy, by which the dashboard could be made to reach any address.
DASK_CLUSTERS = "daskclusters.kubernetes.dask.org"
DASK_AUTOSCALERS = "daskautoscalers.kubernetes.dask.org"
DASK_WORKER_GROUPS = "daskworkergroups.kubernetes.dask.org"
HTTP_ROUTES = [
    f"distributed.http.{name}"
    for name in ("scheduler.prometheus", "scheduler.info", "scheduler.json", "health", "statics")
]
OPERATOR_ROUTES = ["distributed.http.scheduler.api"]

# KubeCluster reads the cluster, its group of workers, its scheduler's pod and its Service; the rest is the runner's.
OPERATOR_PERMISSIONS = {
    DASK_CLUSTERS: ("get", "list", "create", "deletecollection"),
    DASK_AUTOSCALERS: ("create", "deletecollection"),
    DASK_WORKER_GROUPS: ("list",),
    "pods": ("get", "list", "watch"),
    "services": ("get", "list"),
    "events": ("watch",),
}


@dataclasses.dataclass(frozen=True)
class RunIdentity:
    """Who runs: the Job's name, and what the runner's own pod says of itself."""

    run: str
    namespace: str
    pod_name: str
    pod_uid: str
    pod_ip: str
    image: str
    image_pull_policy: str | None = None
    image_pull_secrets: tuple[str, ...] = ()
    env: tuple[Manifest, ...] = ()
    env_from: tuple[Manifest, ...] = ()
    shared_labels: Mapping[str, str] = dataclasses.field(default_factory=dict)
    priority_class: str | None = None

    @classmethod
    def of_pod(cls, pod: Mapping[str, Any], pod_ip: str | None = None) -> RunIdentity:
        """Read the identity from the runner's own Pod; the runner is the container of that name, or the first.

        The kubelet tells a container its pod's address before it tells the API server, so `pod_ip` wins.
        """
        metadata, spec = pod["metadata"], pod["spec"]
        runner = next((each for each in spec["containers"] if each["name"] == "runner"), spec["containers"][0])
        labels = metadata.get("labels", {})
        pod_ip = pod_ip or pod["status"].get("podIP")
        if not pod_ip:
            raise StartupError(f"pod {metadata['name']} has no address yet; set DASK_FLOW_POD_IP from status.podIP")
        return cls(
            run=labels.get("batch.kubernetes.io/job-name", metadata["name"]),
            namespace=metadata["namespace"],
            pod_name=metadata["name"],
            pod_uid=metadata["uid"],
            pod_ip=pod_ip,
            image=runner["image"],
            image_pull_policy=runner.get("imagePullPolicy"),
            image_pull_secrets=tuple(secret["name"] for secret in spec.get("imagePullSecrets", [])),
            env=tuple(each for each in runner.get("env", []) if not each["name"].startswith("DASK_FLOW_")),
            env_from=tuple(runner.get("envFrom", [])),
            shared_labels={name: labels[name] for name in SHARED_LABELS if name in labels},
            priority_class=spec.get("priorityClassName"),
        )

    @property
    def prefix(self) -> str:
        """How the names of this attempt's objects begin: with the runner's, unless a host name would be cut off."""
        if len(self.pod_name) <= HOST_NAME_LIMIT - len("-worker-9999"):
            return self.pod_name
        return f"{self.run[:40].rstrip('-.')}-{self.pod_uid[:8]}"

    @property
    def secret_name(self) -> str:
        """The name of the Secret with this attempt's key pair."""
        return f"{self.prefix}-tls"

    @property
    def cluster_name(self) -> str:
        """The name of this attempt's DaskCluster, from which a Service's is made: without dots, a letter first."""
        name = self.prefix.replace(".", "-")
        return name if name[0].isalpha() else f"r-{name}"

    @property
    def scheduler_name(self) -> str:
        """The name of the scheduler's pod and Service, where it has its own."""
        return f"{self.cluster_name}-scheduler"

    def worker_name(self, number: int) -> str:
        """Return the name of a worker pod."""
        return f"{self.prefix}-worker-{number}"

    @property
    def labels(self) -> dict[str, str]:
        """The labels of every object of this attempt of the run."""
        return {RUN_LABEL: _label(self.run), RUNNER_LABEL: _label(self.pod_name)}

    @property
    def selector(self) -> str:
        """The label selector of this attempt's objects."""
        return ",".join(f"{key}={value}" for key, value in self.labels.items())

    @property
    def leftovers_selector(self) -> str:
        """The label selector of what earlier attempts of the same run may have left."""
        return f"{RUN_LABEL}={_label(self.run)},{RUNNER_LABEL}!={_label(self.pod_name)}"

    def metadata(self, name: str, component: str, given: Mapping[str, Any] | None = None) -> Manifest:
        """Return an object's metadata: the given one's labels and annotations stay, the run's win.

        The owner makes the garbage collector delete the object when the runner's pod is gone; as its controller, it
        has `kubectl drain` evict the pod rather than refuse the node.
        """
        given = given or {}
        labels = {
            "app.kubernetes.io/name": "dask-flow",
            "app.kubernetes.io/managed-by": "dask-flow",
            **given.get("labels", {}),
            "app.kubernetes.io/component": component,
            **self.labels,
        }
        owner = {"apiVersion": "v1", "kind": "Pod", "name": self.pod_name, "uid": self.pod_uid, "controller": True}
        return {**given, "name": name, "namespace": self.namespace, "labels": labels, "ownerReferences": [owner]}


def _label(name: str) -> str:
    """Return a name as a label's value, which is shorter than a pod's name may be; cut, it differs all the same."""
    if len(name) <= LABEL_LIMIT:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{name[: LABEL_LIMIT - len(digest) - 1].rstrip('-.')}-{digest}"


def permissions(settings: RunSettings) -> dict[str, tuple[str, ...]]:
    """Return the verbs that a runner needs for each kind of object; the chart's Role grants these, and no other.

    The name of a kind in an API group ends with that: `daskclusters.kubernetes.dask.org`; a part of a kind's objects is
    named after a slash: `pods/log`.
    """
    logs = {"pods/log": ("get",)} if settings.report else {}
    if settings.cluster == "operator":
        return {**OPERATOR_PERMISSIONS, **logs}
    verbs = {
        "pods": ("get", "list", "watch", "create", "delete", "deletecollection"),
        "events": ("watch",),
        **logs,
    }
    if settings.tls:
        verbs["secrets"] = ("create", "deletecollection")
    if settings.scheduler == "pod":
        verbs["services"] = ("create", "deletecollection")
    return verbs


def template_variables(settings: RunSettings, identity: RunIdentity, env: Mapping[str, str]) -> dict[str, Any]:
    """Return what a spec's Jinja2 template may use."""
    return {
        "image": settings.image or identity.image,
        "namespace": identity.namespace,
        "run": identity.run,
        "flow": settings.flow,
        "params": settings.params,
        "env": env,
    }


def address_at(host: str, settings: RunSettings) -> str:
    """Return the scheduler's address for Dask, given its host name or its IP address of either kind."""
    return f"{'tls' if settings.tls else 'tcp'}://{f'[{host}]' if ':' in host else host}:{SCHEDULER_PORT}"


def tls_secret(pair: KeyPair, identity: RunIdentity) -> Manifest:
    """Return the Secret that gives workers and scheduler the run's key pair."""
    data = {"tls.crt": pair.certificate, "tls.key": pair.key}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": identity.metadata(identity.secret_name, "tls"),
        "type": "kubernetes.io/tls",
        "immutable": True,
        "data": {key: base64.b64encode(text.encode()).decode() for key, text in data.items()},
    }


def scheduler_service(identity: RunIdentity) -> Manifest:
    """Return the Service that gives the scheduler's pod its address, before the pod is there and for the whole run."""
    ports = [{"name": "tcp-comm", "port": SCHEDULER_PORT}, {"name": "http-dashboard", "port": DASHBOARD_PORT}]
    selector = {"app.kubernetes.io/component": "scheduler", **identity.labels}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": identity.metadata(identity.scheduler_name, "scheduler"),
        "spec": {"selector": selector, "ports": ports, "publishNotReadyAddresses": True},
    }


def dask_pod(
    template: PodTemplate, name: str, settings: RunSettings, identity: RunIdentity, scheduler: str | None = None
) -> Manifest:
    """Fill in what a pod of this run lacks; what the template says stays. A worker is told the scheduler's address."""
    pod = copy.deepcopy(template.pod)
    container = dask_container(pod, template.role)
    container.setdefault("name", template.role)
    metadata = identity.metadata(name, template.role, pod.get("metadata"))
    queue = {QUEUE_LABEL: settings.queue_name} if settings.queue_name else {}
    metadata["labels"] = {**identity.shared_labels, **queue, **metadata["labels"]}
    metadata["annotations"] = {**metadata.get("annotations", {}), DEFAULT_CONTAINER: container["name"]}
    if metadata["labels"].get(QUEUE_LABEL):
        metadata["labels"] |= KUEUE_LABELS
        metadata["annotations"] |= KUEUE_ANNOTATIONS
    _fill_pod_spec(pod["spec"], settings, identity)
    _fill_command(container, template.role, name, settings)
    _fill_environment(container, settings, identity, scheduler)
    if template.role == "worker":
        _fill_memory(container, template.processes)
    if template.role == "scheduler":
        health = {"httpGet": {"path": "/health", "port": DASHBOARD_PORT}, "periodSeconds": 1}
        container.setdefault("readinessProbe", health)
    if settings.tls:
        _mount(pod["spec"], container, identity.secret_name)
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": pod["spec"]}


def _fill_pod_spec(spec: Manifest, settings: RunSettings, identity: RunIdentity) -> None:
    spec.setdefault("restartPolicy", "Never")
    spec.setdefault("automountServiceAccountToken", False)
    spec.setdefault("enableServiceLinks", False)
    if identity.priority_class:
        spec.setdefault("priorityClassName", identity.priority_class)
    secrets = settings.image_pull_secrets or identity.image_pull_secrets
    if secrets:
        spec.setdefault("imagePullSecrets", [{"name": secret} for secret in secrets])
    security = spec.setdefault("securityContext", {})
    security.setdefault("runAsNonRoot", True)
    security.setdefault("seccompProfile", {"type": "RuntimeDefault"})
    for container in [*spec["containers"], *spec.get("initContainers", [])]:
        if "image" not in container:
            container["image"] = settings.image or identity.image
            if container["image"] == identity.image and identity.image_pull_policy:
                container.setdefault("imagePullPolicy", identity.image_pull_policy)
        # The pod's status then says how the log ended, and the runner needs no right to read logs.
        container.setdefault("terminationMessagePolicy", "FallbackToLogsOnError")
        security = container.setdefault("securityContext", {})
        if not security.get("privileged"):
            security.setdefault("allowPrivilegeEscalation", False)
            security.setdefault("capabilities", {"drop": ["ALL"]})


def _fill_command(container: Manifest, role: str, name: str, settings: RunSettings) -> None:
    """Add the options that the run needs to Dask's."""
    if not container.get("command") and not container.get("args"):
        container["args"] = list(DASK_ARGS[role])
    # A worker in the runner's cluster finds its scheduler at once; one with a pod of its own may take its time.
    patience = DEATH_TIMEOUT_SECONDS + (math.ceil(settings.startup_timeout) if settings.scheduler == "pod" else 0)
    options = {"--name": name, "--death-timeout": str(patience)}
    if role == "scheduler":
        options = {"--port": str(SCHEDULER_PORT), "--dashboard-address": f":{DASHBOARD_PORT}"}
        options |= {"--protocol": "tls"} if settings.tls else {}
    DaskCommand.of(container, role).add(options)


def _fill_memory(container: Manifest, workers: int) -> None:
    """Give workers equal shares of their container's limit; Dask's own is by the threads and the node's CPUs.

    Of a container without one, see clusters/memory.py: a LimitRange may add it. dask-cuda divides the limit itself. A
    script may have a limit of its own.
    """
    command = DaskCommand.of(container, "worker")
    if command.is_cuda:
        return
    if command.runs and container.get("resources", {}).get("limits", {}).get("memory"):
        command.add({"--memory-limit": str(1 / workers)})
    elif command.value("--memory-limit") is None:
        request = {"resourceFieldRef": {"resource": "requests.memory"}}
        container["env"].append({"name": MEMORY_REQUEST, "valueFrom": request})


def _fill_environment(container: Manifest, settings: RunSettings, identity: RunIdentity, scheduler: str | None) -> None:
    """Merge, by name: the run's defaults, then the runner's own environment, then the spec's, then what must be so."""
    env = [
        *_env(dask_configuration(settings) if scheduler is None else {}),
        *identity.env,
        *container.get("env", []),
        *_env({"DASK_SCHEDULER_ADDRESS": scheduler} if scheduler else {}),
        *_env(tls_environment() if settings.tls else {}),
    ]
    container["env"] = _merged(env)
    if identity.env_from:
        container["envFrom"] = [*identity.env_from, *container.get("envFrom", [])]


def _merged(env: list[Manifest]) -> list[Manifest]:
    """Merge variables by name: the last wins. One whose value has another's `$(NAME)` is behind that."""
    variables = {variable["name"]: variable for variable in env}
    merged: dict[str, Manifest] = {}

    def place(name: str, above: tuple[str, ...]) -> None:
        for needed in re.findall(r"\$\(([^)]+)\)", variables[name].get("value") or ""):
            if needed in variables.keys() - merged.keys() and needed not in above:
                place(needed, (*above, needed))
        merged.setdefault(name, variables[name])

    for name in variables:
        place(name, (name,))
    return list(merged.values())


def _env(variables: Mapping[str, Any]) -> list[Manifest]:
    return [{"name": name, "value": value} for name, value in variables.items()]


def dask_configuration(settings: RunSettings) -> dict[str, str]:
    """Return Dask's configuration of a run's scheduler, as environment variables.

    The Dask operator asks it which workers it can do without, how many it wants, and whether it is idle. Without the
    operator, one in a pod of its own ends itself if no runner comes to it; the one that comes sees to its end then.
    """
    operated = settings.cluster == "operator"
    variables = {
        "DASK_DISTRIBUTED__SCHEDULER__HTTP__ROUTES": str(HTTP_ROUTES + OPERATOR_ROUTES * operated),
        "DASK_DISTRIBUTED__SCHEDULER__WORK_STEALING": str(settings.work_stealing),
    }
    if settings.scheduler == "pod" and not operated:
        seconds = math.ceil(settings.startup_timeout) + NO_RUNNER_SECONDS
        variables["DASK_DISTRIBUTED__SCHEDULER__IDLE_TIMEOUT"] = f"{seconds} s"
    return variables


def tls_environment() -> dict[str, str]:
    """Return Dask's configuration for mutual TLS with the mounted key pair, as environment variables."""
    variables = {"DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION": "True"}
    variables["DASK_DISTRIBUTED__COMM__TLS__CA_FILE"] = f"{TLS_PATH}/tls.crt"
    for role in ("CLIENT", "SCHEDULER", "WORKER"):
        variables[f"DASK_DISTRIBUTED__COMM__TLS__{role}__CERT"] = f"{TLS_PATH}/tls.crt"
        variables[f"DASK_DISTRIBUTED__COMM__TLS__{role}__KEY"] = f"{TLS_PATH}/tls.key"
    return variables


def _mount(spec: Manifest, container: Manifest, secret: str) -> None:
    volume = {"name": "dask-flow-tls", "secret": {"secretName": secret}}
    mount = {"name": "dask-flow-tls", "mountPath": TLS_PATH, "readOnly": True}
    spec["volumes"] = [*(each for each in spec.get("volumes", []) if each["name"] != volume["name"]), volume]
    mounts = [each for each in container.get("volumeMounts", []) if each["mountPath"] != TLS_PATH]
    container["volumeMounts"] = [*mounts, mount]
