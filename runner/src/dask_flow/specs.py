"""worker_spec.yaml and scheduler_spec.yaml: from a file to the template of a pod, or to all that is wrong with it."""

from __future__ import annotations

import copy
import dataclasses
import re
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dask_flow.dask_commands import DaskCommand, choose, dask_command, dask_container, mentioned
from dask_flow.errors import InputError
from dask_flow.settings import RunSettings
from dask_flow.wording import article, maybe, near

__all__ = ["Manifest", "PodTemplate", "Templates", "parse_spec", "read_templates"]

Manifest = dict[str, Any]

HOW_TO_WRITE_TEXT = (
    "write a variable as {{ name }}, {{ '{%' }} for the text {%, {{ '{#' }} for {#, and ${{ '{#' }} for ${#"
)
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
        return int(dask_command(self.pod, self.role).value("--nworkers") or 1)


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
    container = dask_container(pod, role)
    if kind == "Job" and not mentioned(container) and (container.keys() & {"command", "args"}):
        program = [*container.pop("command", []), *container.pop("args", [])][0]
        warnings.append(f"the Job's command ({program} …) is replaced by {' '.join(DASK_ARGS[role])}")
    warnings += DaskCommand.of(container, role).modernise()
    return PodTemplate(pod, role, replicas, tuple(f"{path}: {warning}" for warning in warnings))


def _checked(text: str, path: Path, role: str) -> tuple[Manifest, str]:
    """Return the manifest and its kind, `Pod` for a template without one; raise InputError with all its problems."""
    from dask_flow import pod_check

    document = pod_check.load(text, str(path))
    kind = document.data.get("kind", "Pod")
    inner = sorted(_templates_in(document.data, ()), key=lambda place: role not in "-".join(place))
    if kind not in (("Pod", "Job") if role == "scheduler" else ("Pod",)) or ("spec" not in document.data and inner):
        place = f"{path}:{document.line(('kind',) if 'kind' in document.data else inner[0])}"
        raise _not_a_pod(document.data, place, role, inner)
    found = pod_check.problems(document, str(path), kind, _command_line_problems(document.data, kind, role))
    if found:
        raise InputError("\n".join(found))
    return document.data, kind


def _not_a_pod(manifest: Manifest, place: str, role: str, templates: list[tuple[str, ...]]) -> InputError:
    """Return what to say of a manifest that is no pod's; `templates` are the keys of the pod templates in it."""
    if templates:
        of_dask = templates[0][0] in {"kubernetes", "pod_template"}
        what = article(str(manifest.get("kind", "Dask configuration" if of_dask else "manifest without kind")))
        key = ".".join(templates[0])
        return InputError(
            f"{place}: this is {what}, not a Pod; copy metadata: and spec: of {key} into a file of its own"
        )
    kind = str(manifest["kind"])
    accepted = "a Pod or a Job manifest" if role == "scheduler" else "a Pod manifest (kind: Pod)"
    guess = near(kind, ["Pod", "Job"] if role == "scheduler" else ["Pod"])
    advice = maybe(guess) or f"; a {role} spec must be {accepted}, or a pod template without kind"
    return InputError(f"{place}: kind is {kind!r}{advice}")


def _templates_in(value: Any, place: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Yield the keys below which a manifest of another kind, or a configuration of Dask's, has a pod's template."""
    for key, item in value.items() if isinstance(value, dict) else ():
        if isinstance(item, dict) and isinstance(item.get("spec"), dict) and "containers" in item["spec"]:
            yield (*place, key)
        yield from _templates_in(item, (*place, key))


def _command_line_problems(manifest: Any, kind: str, role: str) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Yield what is wrong with the command line of Dask's container, and at which key."""
    above = ("spec", "template", "spec", "containers") if kind == "Job" else ("spec", "containers")
    containers = manifest
    for key in above:
        containers = containers.get(key) if isinstance(containers, dict) else None
    if not containers or not isinstance(containers, list) or not all(isinstance(each, dict) for each in containers):
        return  # which the schema says
    index = choose(containers, role)
    if index is None:
        yield above, f"has none that runs dask {role}, or is named so; name the one that does {role!r}"
    elif not (kind == "Job" and not mentioned(containers[index])):
        command = DaskCommand.of(dict(containers[index]), role)
        command.modernise()
        yield from (((*above, index, key), message) for key, message in command.problems())


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

    given = copy.deepcopy(dict(variables))

    class Missing(jinja2.StrictUndefined):
        """Says of a parameter or an environment variable that is not there how to give it."""

        def __init__(
            self, hint: str | None = None, obj: Any = jinja2.utils.missing, name: str | None = None, *more: Any
        ) -> None:
            if obj is given["params"]:
                hint = f"params has no {name!r}; give --param {name}=VALUE"
            elif obj is given["env"]:
                hint = f"env has no {name!r}; set it in the runner's environment"
            super().__init__(hint, obj, name, *more)

    try:
        environment = jinja2.Environment(undefined=Missing, autoescape=False)  # noqa: S701 # it is YAML
        return environment.from_string(text).render(given)
    except jinja2.TemplateSyntaxError as error:
        raise InputError(
            f"{path}:{error.lineno}: {error.message}; a spec is a Jinja2 template: {HOW_TO_WRITE_TEXT}"
        ) from error
    except Exception as error:
        # Jinja2 rewrites its tracebacks, so that they lead to lines of the template.
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == "<template>"]
        raise InputError(
            f"{path}:{lines[-1] if lines else 1}: {error}; a spec is a Jinja2 template with the variables "
            f"{', '.join(variables)}"
        ) from error
