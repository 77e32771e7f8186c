"""Pods as pure functions: from settings, a spec file and what the runner's own pod is, to dicts for the API server."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

from dask_flow.dask_commands import modern
from dask_flow.errors import InputError, StartupError
from dask_flow.settings import RunSettings

__all__ = ["Manifest", "RunIdentity", "WorkerTemplate", "read_worker_template", "worker_pod"]

Manifest = dict[str, Any]

RUN_LABEL = "dask-flow/run"
RUNNER_LABEL = "dask-flow/runner"
DEATH_TIMEOUT_SECONDS = 60
HOST_NAME_LIMIT = 63


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

    @classmethod
    def of_pod(cls, pod: Mapping[str, Any], pod_ip: str | None = None) -> RunIdentity:
        """Read the identity from the runner's own Pod; the runner is the container of that name, or the first.

        The kubelet tells a container its pod's address before it tells the API server, so `pod_ip` wins.
        """
        metadata, spec = pod["metadata"], pod["spec"]
        runner = next((each for each in spec["containers"] if each["name"] == "runner"), spec["containers"][0])
        pod_ip = pod_ip or pod["status"].get("podIP")
        if not pod_ip:
            raise StartupError(f"pod {metadata['name']} has no address yet; set DASK_FLOW_POD_IP from status.podIP")
        return cls(
            run=metadata.get("labels", {}).get("batch.kubernetes.io/job-name", metadata["name"]),
            namespace=metadata["namespace"],
            pod_name=metadata["name"],
            pod_uid=metadata["uid"],
            pod_ip=pod_ip,
            image=runner["image"],
            image_pull_policy=runner.get("imagePullPolicy"),
            image_pull_secrets=tuple(secret["name"] for secret in spec.get("imagePullSecrets", [])),
            env=tuple(each for each in runner.get("env", []) if not each["name"].startswith("DASK_FLOW_")),
            env_from=tuple(runner.get("envFrom", [])),
        )

    @property
    def pod_host(self) -> str:
        """The pod's address as part of a URL: an IPv6 address has brackets."""
        return f"[{self.pod_ip}]" if ":" in self.pod_ip else self.pod_ip

    @property
    def worker_prefix(self) -> str:
        """How the names of this attempt's workers begin: with the runner's, unless the host name would be cut off."""
        if len(self.pod_name) <= HOST_NAME_LIMIT - len("-worker-9999"):
            return f"{self.pod_name}-worker"
        return f"{self.run[:40].rstrip('-.')}-{self.pod_uid[:8]}-worker"

    @property
    def labels(self) -> dict[str, str]:
        """The labels of every object of this attempt of the run."""
        return {RUN_LABEL: self.run, RUNNER_LABEL: self.pod_name}

    @property
    def selector(self) -> str:
        """The label selector of this attempt's objects."""
        return ",".join(f"{key}={value}" for key, value in self.labels.items())

    @property
    def leftovers_selector(self) -> str:
        """The label selector of what earlier attempts of the same run may have left."""
        return f"{RUN_LABEL}={self.run},{RUNNER_LABEL}!={self.pod_name}"

    @property
    def owner_reference(self) -> dict[str, str]:
        """Makes the garbage collector delete an object when the runner's pod is gone."""
        return {"apiVersion": "v1", "kind": "Pod", "name": self.pod_name, "uid": self.pod_uid}


@dataclasses.dataclass(frozen=True)
class WorkerTemplate:
    """A worker pod before it has a name; `replicas` is its spec's minimum of workers; `warnings` say what changed."""

    pod: Manifest
    replicas: int | None = None
    warnings: tuple[str, ...] = ()

    @property
    def processes(self) -> int:
        """How many workers a pod has: what `--nworkers` says, if it is a number."""
        container = dask_container(self.pod)
        line = [*container.get("command", ()), *container.get("args", ())]
        value = _flag_value(line, "--nworkers") or ""
        return int(value) if value.isdigit() else 1


DEFAULT_WORKER: Manifest = {
    "spec": {
        "containers": [
            {
                "name": "worker",
                "args": ["dask", "worker", "--nthreads", "1", "--no-nanny", "--no-dashboard"],
                "env": [{"name": "HOME", "value": "/tmp"}, {"name": "DASK_TEMPORARY_DIRECTORY", "value": "/tmp"}],  # noqa: S108
                "securityContext": {"readOnlyRootFilesystem": True},
                "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108
            }
        ],
        "volumes": [{"name": "tmp", "emptyDir": {}}],
    }
}


def read_worker_template(settings: RunSettings, identity: RunIdentity, env: Mapping[str, str]) -> WorkerTemplate:
    """Read the worker's spec file, or take the default pod. Raises InputError with file, line and key."""
    if settings.worker_spec is None:
        return WorkerTemplate(copy.deepcopy(DEFAULT_WORKER))
    variables = {
        "image": settings.image or identity.image,
        "namespace": identity.namespace,
        "run": identity.run,
        "params": settings.params,
        "env": env,
    }
    return parse_worker_spec(_read(settings.worker_spec, variables), settings.worker_spec)


def parse_worker_spec(text: str, path: Path) -> WorkerTemplate:
    """Parse a whole Pod manifest: take out `spec.replicas`, and translate old Dask flags."""
    pod = _load_pod(text, path)
    replicas = pod["spec"].pop("replicas", None)
    warnings = []
    if replicas is not None:
        if not isinstance(replicas, int) or isinstance(replicas, bool) or replicas < 1:
            raise InputError(f"{path}: spec.replicas must be a whole number of at least 1, not {replicas!r}")
        warnings.append(f"{path}: spec.replicas is not a Pod's; it sets the minimum of workers to {replicas}")
    container = dask_container(pod)
    for key in ("command", "args"):
        if container.get(key) is None:
            container.pop(key, None)
        else:
            if not isinstance(container[key], list) or not all(isinstance(word, str) for word in container[key]):
                raise InputError(f"{path}: {key} must be a list of texts, not {container[key]!r}; quote numbers")
            container[key], changes = modern(container[key])
            warnings += [f"{path}: {change}" for change in changes]
    return WorkerTemplate(pod, replicas, tuple(warnings))


def _read(path: Path, variables: Mapping[str, Any]) -> str:
    try:
        text = path.read_text()
    except OSError as error:
        raise InputError(f"cannot read the worker spec {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not a text file: {error}") from error
    if "{{" not in text and "{%" not in text:
        return text
    import jinja2

    try:
        environment = jinja2.Environment(undefined=jinja2.StrictUndefined, autoescape=False)  # noqa: S701 # it is YAML
        return environment.from_string(text).render(variables)
    except jinja2.TemplateSyntaxError as error:
        raise InputError(f"{path}:{error.lineno}: {error.message}") from error
    except jinja2.TemplateError as error:
        raise InputError(f"{path}: {error.message}; variables are {', '.join(variables)}") from error


def _load_pod(text: str, path: Path) -> Manifest:
    try:
        pod = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        raise InputError(f"{path}{line}: not YAML: {getattr(error, 'problem', error)}") from error
    if not isinstance(pod, dict):
        raise InputError(f"{path}: a Pod manifest must be a YAML mapping, not {type(pod).__name__}")
    if pod.get("kind", "Pod") != "Pod":
        raise InputError(f"{path}: kind is {pod['kind']!r}; a worker spec must be a Pod manifest (kind: Pod)")
    containers = (pod.get("spec") or {}).get("containers") if isinstance(pod.get("spec"), dict) else None
    if not isinstance(containers, list) or not containers or not all(isinstance(each, dict) for each in containers):
        raise InputError(f"{path}: spec.containers must be a list with at least one container")
    return pod


def dask_container(pod: Manifest) -> Manifest:
    """Return the container that runs Dask: the one named `worker`, else the first."""
    containers: list[Manifest] = pod["spec"]["containers"]
    return next((each for each in containers if each.get("name") == "worker"), containers[0])


def worker_pod(template: Manifest, name: str, scheduler: str, settings: RunSettings, identity: RunIdentity) -> Manifest:
    """Fill in what a worker pod of this run lacks; what the template says stays. `scheduler` is Dask's address."""
    pod = copy.deepcopy(template)
    metadata = pod["metadata"] = pod.get("metadata") or {}
    metadata["name"] = name
    metadata["namespace"] = identity.namespace
    metadata["ownerReferences"] = [identity.owner_reference]
    metadata["labels"] = {
        "app.kubernetes.io/name": "dask-flow",
        "app.kubernetes.io/component": "worker",
        "app.kubernetes.io/managed-by": "dask-flow",
        **(metadata.get("labels") or {}),
        **identity.labels,
    }
    _fill_pod_spec(pod["spec"], settings, identity)
    _fill_dask_container(dask_container(pod), name, scheduler, identity)
    return {"apiVersion": "v1", "kind": "Pod", **pod}


def _fill_pod_spec(spec: Manifest, settings: RunSettings, identity: RunIdentity) -> None:
    spec.setdefault("restartPolicy", "Never")
    spec.setdefault("automountServiceAccountToken", False)
    spec.setdefault("enableServiceLinks", False)
    secrets = settings.image_pull_secrets or identity.image_pull_secrets
    if secrets:
        spec.setdefault("imagePullSecrets", [{"name": secret} for secret in secrets])
    security = spec["securityContext"] = spec.get("securityContext") or {}
    security.setdefault("runAsNonRoot", True)
    security.setdefault("seccompProfile", {"type": "RuntimeDefault"})
    for container in [*spec["containers"], *(spec.get("initContainers") or [])]:
        if "image" not in container:
            container["image"] = settings.image or identity.image
            if container["image"] == identity.image and identity.image_pull_policy:
                container.setdefault("imagePullPolicy", identity.image_pull_policy)
        container.setdefault("securityContext", {}).setdefault("allowPrivilegeEscalation", False)
        container["securityContext"].setdefault("capabilities", {"drop": ["ALL"]})


def _fill_dask_container(container: Manifest, name: str, scheduler: str, identity: RunIdentity) -> None:
    if not container.get("command") and not container.get("args"):
        container["args"] = list(DEFAULT_WORKER["spec"]["containers"][0]["args"])
    line = container["args"] if container.get("args") else container["command"]
    # The pod's status then says how the log ended, and the runner needs no right to read logs.
    container.setdefault("terminationMessagePolicy", "FallbackToLogsOnError")
    for flag, value in (("--name", name), ("--death-timeout", str(DEATH_TIMEOUT_SECONDS))):
        if _flag_value(line, flag) is None:
            line += [flag, value]
    env = [*identity.env, *(container.get("env") or []), {"name": "DASK_SCHEDULER_ADDRESS", "value": scheduler}]
    container["env"] = list({each["name"]: each for each in env}.values())
    if identity.env_from:
        container["envFrom"] = [*identity.env_from, *(container.get("envFrom") or [])]


def _flag_value(line: Sequence[str], flag: str) -> str | None:
    """Return what follows a flag, as `--flag value` or `--flag=value`; None if the flag is not there."""
    for word, following in pairwise([*map(str, line), ""]):
        if word == flag:
            return following
        if word.startswith(f"{flag}="):
            return word.removeprefix(f"{flag}=")
    return None
