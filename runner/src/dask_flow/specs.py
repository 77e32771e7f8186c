"""worker_spec.yaml and scheduler_spec.yaml: from a file to the template of a pod, or to all that is wrong with it."""

from __future__ import annotations

import copy
import dataclasses
import re
import traceback
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from dask_flow.dask_commands import modern
from dask_flow.errors import InputError
from dask_flow.settings import RunSettings

__all__ = ["Manifest", "PodTemplate", "Templates", "dask_container", "flag_value", "parse_spec", "read_templates"]

Manifest = dict[str, Any]

ADDRESS = re.compile(r"(tcp|tls|ucx|ws|wss)://")
SHELL_TEXT = re.compile(r"(^|/)(ba|da|z)?sh -c$")
# What a run needs to know of its pods, and so decides.
DECIDED = {"worker": ("--name",), "scheduler": ("--port", "--protocol", "--dashboard-address")}
DASK_ARGS = {
    "worker": ["dask", "worker", "--nthreads", "1", "--no-nanny", "--no-dashboard"],
    "scheduler": ["dask", "scheduler"],
}


@dataclasses.dataclass(frozen=True)
class PodTemplate:
    """A pod of Dask's before it has a name. `role` is `worker` or `scheduler`.

    `replicas` is the minimum of workers that the spec asks for; `warnings` say what was changed in it.
    """

    pod: Manifest
    role: str = "worker"
    replicas: int | None = None
    warnings: tuple[str, ...] = ()

    @property
    def processes(self) -> int:
        """How many workers a pod has: what `--nworkers` says."""
        container = dask_container(self.pod, self.role)
        return int(flag_value([*container.get("command", ()), *container.get("args", ())], "--nworkers") or 1)


@dataclasses.dataclass(frozen=True)
class Templates:
    """The pods of a cluster; without a scheduler's, the scheduler is a process of the runner's pod."""

    worker: PodTemplate
    scheduler: PodTemplate | None = None

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was changed in the specs."""
        return self.worker.warnings + (self.scheduler.warnings if self.scheduler else ())


def default_pod(role: str) -> Manifest:
    """Return the pod that needs no spec: one container that can write to /tmp only."""
    container = {
        "name": role,
        "args": list(DASK_ARGS[role]),
        "env": [{"name": "HOME", "value": "/tmp"}, {"name": "DASK_TEMPORARY_DIRECTORY", "value": "/tmp"}],  # noqa: S108
        "securityContext": {"readOnlyRootFilesystem": True},
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108
    }
    return {"spec": {"containers": [container], "volumes": [{"name": "tmp", "emptyDir": {}}]}}


def read_templates(settings: RunSettings, variables: Mapping[str, Any]) -> Templates:
    """Read the spec files, or take the default pods. Raises InputError with every problem of either file."""
    problems: list[str] = []

    def template(path: Path | None, role: str) -> PodTemplate:
        if path is None:
            return PodTemplate(default_pod(role), role)
        try:
            return _parsed(path, variables, role)
        except InputError as error:
            problems.append(str(error))
            return PodTemplate({}, role)

    worker = template(settings.worker_spec, "worker")
    scheduler = template(settings.scheduler_spec, "scheduler") if settings.scheduler == "pod" else None
    if problems:
        raise InputError("\n".join(problems))
    return Templates(worker, scheduler)


def parse_spec(text: str, path: Path, role: str = "worker") -> PodTemplate:
    """Check a Pod manifest, pod template or, for a scheduler, Job manifest by Kubernetes' schema; modernise it."""
    pod, kind = _checked(text, path, role)
    warnings: list[str] = []
    if kind == "Job":
        pod = pod["spec"]["template"]
        warnings.append("of the Job, the pod template is used; what else it says has no effect")
    pod = {key: pod[key] for key in ("metadata", "spec") if key in pod}
    spec = pod.setdefault("spec", {})
    if not spec.get("containers"):
        spec["containers"] = default_pod(role)["spec"]["containers"]
        own = spec.get("volumes") or []
        names = {each["name"] for each in own}
        spec["volumes"] = [*own, *(each for each in default_pod(role)["spec"]["volumes"] if each["name"] not in names)]
    replicas = spec.pop("replicas", None)
    if replicas is not None and role == "worker":
        warnings.append(
            f"spec.replicas is not a Pod's; it sets the minimum of workers to {replicas}: use --min-workers"
        )
    elif replicas is not None:
        warnings.append("spec.replicas is not a Pod's, and there is one scheduler: leave it out")
    warnings += _modernise(dask_container(pod, role), role, from_job=kind == "Job")
    return PodTemplate(pod, role, replicas, tuple(f"{path}: {warning}" for warning in warnings))


def _checked(text: str, path: Path, role: str) -> tuple[Manifest, str]:
    """Return the manifest and its kind, `Pod` for a template without one; raise InputError with all its problems."""
    from dask_flow import pod_check

    document = pod_check.load(text, str(path))
    kind = document.data.get("kind", "Pod")
    if kind not in (("Pod", "Job") if role == "scheduler" else ("Pod",)):
        accepted = "a Pod or a Job manifest" if role == "scheduler" else "a Pod manifest (kind: Pod)"
        line = document.lines.get(("kind",), 1)
        raise InputError(
            f"{path}:{line}: kind is {kind!r}; a {role} spec must be {accepted}, or a pod template without kind"
        )
    found = pod_check.problems(document, str(path), kind, _command_line_problems(document.data, kind, role))
    if found:
        raise InputError("\n".join(found))
    return document.data, kind


def _modernise(container: Manifest, role: str, *, from_job: bool) -> list[str]:
    """Translate the container's command line into today's; return a warning for each change."""
    warnings: list[str] = []
    line = [*container.get("command", ()), *container.get("args", ())]
    if from_job and _ran_the_flow(line):
        container.pop("command", None)
        container.pop("args", None)
        warnings.append(f"{line[0]} … started the flow's run of old; here the pod runs {' '.join(DASK_ARGS[role])}")
    for key in ("command", "args"):
        if not container.get(key):
            container.pop(key, None)
            continue
        words, changes = modern(container[key])
        container[key], left_out = _without_what_the_run_decides(words, role)
        warnings += [*changes, *(f"{option} is left out: the run decides it" for option in left_out)]
    return warnings


def _command_line_problems(manifest: Any, kind: str, role: str) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Yield what is wrong with the command line of Dask's container, and at which key."""
    above = ("spec", "template", "spec", "containers") if kind == "Job" else ("spec", "containers")
    containers = manifest
    for key in above:
        containers = containers.get(key) if isinstance(containers, dict) else None
    if not isinstance(containers, list) or not all(isinstance(each, dict) for each in containers):
        return  # which the schema says
    container = dask_container({"spec": {"containers": containers}}, role) if containers else {}
    parts = {key: container[key] for key in ("command", "args") if _is_words(container.get(key))}
    line = modern([word for part in parts.values() for word in part])[0]
    for message in _not_to_be_run(line, role) if not (kind == "Job" and _ran_the_flow(line)) else ():
        yield (*above, containers.index(container), list(parts)[-1]), message


def _ran_the_flow(line: Sequence[str]) -> bool:
    """Tell the command line of a Job of old, which is not used, from one of Dask's."""
    return bool(line) and not any(word.startswith("dask") for word in line)


def _is_words(value: Any) -> bool:
    return bool(value) and isinstance(value, list) and all(isinstance(word, str) for word in value)


def _not_to_be_run(line: Sequence[str], role: str) -> Iterator[str]:
    if SHELL_TEXT.search(" ".join(line[-3:-1])):
        yield (
            f"gives a shell's -c text, to which the {role}'s options cannot be added; let it end with "
            f"'exec dask {role} \"$@\"' and add -- as the next word, or put [dask, {role}, …] in args"
        )
    processes = flag_value(line, "--nworkers")
    if role == "worker" and processes is not None and not processes.isdigit():
        yield f"has --nworkers {processes}: give a number, for the run must know how many workers a pod has"
    if role == "worker" and processes not in {None, "1"} and "--no-nanny" in line:
        yield f"has --nworkers {processes}, which needs nannies; leave out --no-nanny"


def _without_what_the_run_decides(words: list[str], role: str) -> tuple[list[str], list[str]]:
    """Split a command line into what stays, and the options and addresses that a run gives itself."""
    stays: list[str] = []
    left_out: list[str] = []
    rest = iter(words)
    for word in rest:
        if word in DECIDED[role]:
            left_out.append(f"{word} {next(rest, '')}".rstrip())
        elif word.partition("=")[0] in DECIDED[role] or (role == "worker" and ADDRESS.match(word)):
            left_out.append(word)
        else:
            stays.append(word)
    return stays, left_out


def dask_container(pod: Manifest, role: str) -> Manifest:
    """Return the container that runs Dask: the one named as its role, else the first."""
    containers: list[Manifest] = pod["spec"]["containers"]
    return next((each for each in containers if each.get("name") == role), containers[0])


def flag_value(line: Sequence[str], flag: str) -> str | None:
    """Return what follows a flag, as `--flag value` or `--flag=value`; None if the flag is not there."""
    for word, following in pairwise([*line, ""]):
        if word == flag:
            return following
        if word.startswith(f"{flag}="):
            return word.removeprefix(f"{flag}=")
    return None


def _in_plain_words(message: str) -> str:
    """Say of a missing parameter or environment variable what it is, rather than of which Python type it is not."""
    missing = re.fullmatch(r"'(dict|os\._Environ) object' has no attribute '(.+)'", message)
    if not missing:
        return message
    kind, name = missing.groups()
    return f"params has no {name!r}; give --param {name}=VALUE" if kind == "dict" else f"env has no {name!r}; set it"


def _parsed(path: Path, variables: Mapping[str, Any], role: str) -> PodTemplate:
    """Read the file, render and parse it; an error's lines are the file's, or else it says of what they are."""
    text = _text(path)
    rendered = _rendered(text, path, variables)
    try:
        return parse_spec(rendered, path, role)
    except InputError as error:
        if len(rendered.splitlines()) == len(text.splitlines()):
            raise
        place = re.compile(rf"^({re.escape(str(path))}):(\d+): ", re.MULTILINE)
        raise InputError(place.sub(r"\1: line \2 of the rendered spec: ", str(error))) from error


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError as error:
        raise InputError(f"cannot read the spec {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not a text file: {error}") from error


def _rendered(text: str, path: Path, variables: Mapping[str, Any]) -> str:
    """Render the file's text by Jinja2."""
    if not any(mark in text for mark in ("{{", "{%", "{#")):
        return text
    import jinja2

    try:
        environment = jinja2.Environment(undefined=jinja2.StrictUndefined, autoescape=False)  # noqa: S701 # it is YAML
        return environment.from_string(text).render(copy.deepcopy(dict(variables)))
    except jinja2.TemplateSyntaxError as error:
        raise InputError(f"{path}:{error.lineno}: {error.message}") from error
    except Exception as error:
        # Jinja2 rewrites its tracebacks, so that they lead to lines of the template.
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == "<template>"]
        known = f"; variables are {', '.join(variables)}" if isinstance(error, jinja2.UndefinedError) else ""
        raise InputError(f"{path}:{lines[-1] if lines else 1}: {_in_plain_words(str(error))}{known}") from error
