"""Send a flow to a release: load it here first, gather its files, make its Job."""

from __future__ import annotations

import logging
import os
import random
import re
import sys
from collections.abc import Iterable, Mapping
from contextlib import redirect_stdout
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import click

from dask_flow.errors import InputError, NoModuleError
from dask_flow.kube_refusals import ExistsError
from dask_flow.remote.given import runner_of
from dask_flow.remote.job import FOLDER, Manifest, Submission, config_map, job, owner
from dask_flow.remote.releases import JOBS
from dask_flow.targets import Shipment, shipment

if TYPE_CHECKING:
    from dask_flow.settings import RunSettings
    from dask_flow.targets import Loaded
    from dask_flow.user_kube import UserKube

__all__ = ["create", "image_of", "run_arguments", "submission_of"]

log = logging.getLogger(__name__)

NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
NAME_LIMIT = 63
SPECS = ("worker_spec", "scheduler_spec")
# Such as Kubernetes makes names of: no vowels, no words.
LETTERS = "bcdfghjklmnpqrstvwxz2456789"
PROGRESS_SECONDS = "1"


def submission_of(
    given: Mapping[str, Any], options: Iterable[click.Parameter], name: str | None, *, check: bool
) -> Submission:
    """Return what is to run, from what the user gave by the names of RunSettings. Nothing is sent yet.

    With `check`, the flow is loaded here first, if the packages that it imports are here. Raises InputError.
    """
    sent = shipment(given["target"])
    loaded, settings = _loaded(given, sent) if check else (None, None)
    specs = {each: Path(given[each]) for each in SPECS if given.get(each)}
    places = {f"flow/{path}": file for path, file in {**sent.files, **_declared_files(loaded)}.items()}
    places |= {f"{each}.yaml": path for each, path in specs.items()}
    image = given.get("image") or _declared_image(settings)
    told = {**given, "image": image, **{each: f"{FOLDER}/{each}.yaml" for each in specs}}
    python_path = {"PYTHONPATH": f"{FOLDER}/flow"} if sent.is_module and sent.files else {}
    submission = Submission(
        run=_run_name(name, given["target"]),
        target=f"{FOLDER}/flow/{sent.target}" if sent.files and not sent.is_module else sent.target,
        files={path: _read(file) for path, file in places.items()},
        options=tuple(run_arguments(options, told)),
        image=image,
        pull_secrets=given.get("image_pull_secrets") or (settings.image_pull_secrets if settings else ()),
        env={"DASK_FLOW_PROGRESS": PROGRESS_SECONDS, **python_path},
    )
    submission.check_size()
    return submission


def create(kube: UserKube, cron_job: Mapping[str, Any], submission: Submission) -> Manifest:
    """Make the run's ConfigMap and Job, and return the Job.

    The ConfigMap comes first, so that no pod waits for it, and goes with whichever of CronJob and Job has it.
    Raises InputError if there is a run of this name.
    """
    try:
        if submission.files:
            kube.create("configmaps", config_map(submission, cron_job))
        try:
            made = kube.create(JOBS, job(submission, cron_job))
        except BaseException:
            if submission.files:
                kube.delete("configmaps", submission.run)
            raise
    except ExistsError as error:
        raise InputError(
            f"there is a run {submission.run} in namespace {kube.namespace}; give another --name, or none"
        ) from error
    if submission.files:
        kube.patch("configmaps", submission.run, {"metadata": {"ownerReferences": [owner(made, "Job")]}})
    return made


def image_of(cron_job: Mapping[str, Any]) -> str:
    """Return the image of a release's runner."""
    return str(runner_of(cron_job["spec"]["jobTemplate"])["image"])


def run_arguments(options: Iterable[click.Parameter], values: Mapping[str, Any]) -> list[str]:
    """Return the options of `dask-flow run` that were given, as its arguments."""
    arguments: list[str] = []
    for option in options:
        value = values.get(option.name or "")
        name = option.opts[0]
        if value is None or value == ():
            continue
        if isinstance(value, bool):
            arguments.append(name if value else option.secondary_opts[0])
        elif getattr(option, "multiple", False):
            arguments += [f"{name}={each}" for each in value]
        else:
            arguments.append(f"{name}={','.join(value) if isinstance(value, tuple) else value}")
    return arguments


def _loaded(given: Mapping[str, Any], sent: Shipment) -> tuple[Loaded | None, RunSettings | None]:
    """Load the flow here, if it is here, to find mistakes before anything is made."""
    if not sent.files:
        log.info("%s is not here to be checked: the runner will load it", sent.target)
        return None, None
    from dask_flow.params import parse_args, parse_params
    from dask_flow.run import load

    cluster = given.get("cluster")
    if cluster in (None, "auto"):
        cluster = "static" if given.get("address") else "pods"
    params, args = parse_params(None, given["params"]), parse_args(None, given["args"])
    try:
        with redirect_stdout(sys.stderr):
            return load({**given, "cluster": cluster, "params": params, "args": args})
    except NoModuleError as error:
        where, _, what = str(error).partition(" here; ")
        log.warning("the flow is not checked here: %s here, but the run's image may have it", where or what)
        return None, None


def _declared_image(settings: RunSettings | None) -> str | None:
    """Return the image that the flow declares, by the digest that it has now if it was pushed."""
    if settings is None or settings.image is None:
        return None
    from dask_flow.remote.digest import by_digest

    return by_digest(settings.image, os.environ)


def _declared_files(loaded: Loaded | None) -> dict[str, Path]:
    """Return the files that the flow names in what it declares: it is to find them beside it there too."""
    files: Mapping[str, Path] = getattr(getattr(loaded and loaded.flow, "environment", None), "files", {})
    for name in files:
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise InputError(
                f"the flow names the file {name!r}, which it will not find in a pod; put it beside the flow's file and "
                "give its path from there"
            )
    return dict(files)


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}") from error


def _run_name(name: str | None, target: str) -> str:
    """Return a name that a Job can have: the given one, or the target's with a few random letters."""
    if name is None:
        word = re.split(r"[/.]", re.sub(r"(\.py)?(:\w+)?$", "", target.partition("?")[0]))[-1]
        plain = re.sub(r"[^a-z0-9]+", "-", word.lower()).strip("-")[:40] or "run"
        return f"{plain}-{''.join(random.choices(LETTERS, k=5))}"  # noqa: S311 # no secret
    if len(name) > NAME_LIMIT or not NAME.fullmatch(name):
        raise InputError(
            f"--name {name!r} cannot be a run's: lower case letters, digits and '-', at most {NAME_LIMIT} in all, "
            "with a letter or a digit at both ends"
        )
    return name
