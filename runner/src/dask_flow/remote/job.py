"""A run's Job and ConfigMap as pure functions: from a release's CronJob and what is submitted to dicts."""

from __future__ import annotations

import base64
import copy
import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from dask_flow.errors import InputError
from dask_flow.remote.given import literal
from dask_flow.remote.releases import RUNNER

__all__ = ["FOLDER", "Submission", "config_map", "job", "owner"]

Manifest = dict[str, Any]

FOLDER = "/etc/dask-flow-run"
"""Where the runner has the files of a submission. Nothing can be mounted inside the chart's /etc/dask-flow."""

TARGET_ANNOTATION = "dask-flow/target"
LIMIT_BYTES = 2**20
"""What a ConfigMap may hold: https://kubernetes.io/docs/concepts/configuration/configmap/"""

VOLUME = "dask-flow-run"
# What is of the release's own flow.
FLOWS_OWN = ("DASK_FLOW_PARAMS", "DASK_FLOW_ARGS")


@dataclasses.dataclass(frozen=True)
class Submission:
    """What is to run: `target` and `options` are arguments of `dask-flow run` there.

    `files` have their paths below FOLDER. `image` is the runner's, and so that of pods which do not name one. `env`
    wins over the release's.
    """

    run: str
    target: str
    files: Mapping[str, bytes] = dataclasses.field(default_factory=dict)
    options: tuple[str, ...] = ()
    image: str | None = None
    pull_secrets: tuple[str, ...] = ()
    env: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def check_size(self) -> None:
        """Raise InputError for more than a ConfigMap can hold."""
        sizes = {name: len(content) for name, content in self.files.items()}
        total = sum(sizes.values())
        if total > LIMIT_BYTES:
            biggest = sorted(sizes, key=sizes.__getitem__, reverse=True)[:3]
            named = ", ".join(f"{name.removeprefix('flow/')} ({sizes[name] / 1e6:.2f} MB)" for name in biggest)
            raise InputError(
                f"the flow has {total / 1e6:.2f} MB in {len(sizes)} files, and what is submitted may have "
                f"{LIMIT_BYTES / 1e6:.2f} MB; the biggest: {named}. Put the files into an image (dask-flow build, then "
                "--image) or read data from storage; a single big file can be submitted by its URL, such as "
                "s3://bucket/flow.py"
            )


def config_map(submission: Submission, cron_job: Mapping[str, Any]) -> Manifest:
    """Return the ConfigMap with the files. Until it is given to its Job, it is the CronJob's."""
    texts, binaries = {}, {}
    for key, name in _keys(submission.files).items():
        content = submission.files[name]
        try:
            texts[key] = content.decode()
        except UnicodeDecodeError:
            binaries[key] = base64.b64encode(content).decode()
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": submission.run,
            "labels": {**_labels(cron_job), "dask-flow/run": submission.run},
            "ownerReferences": [owner(cron_job, "CronJob")],
        },
        "data": texts,
        "binaryData": binaries,
    }


def job(submission: Submission, cron_job: Mapping[str, Any]) -> Manifest:
    """Return the Job, as `kubectl create job --from=cronjob/…` makes it, with what is submitted."""
    template = copy.deepcopy(cron_job["spec"]["jobTemplate"])
    given = template.get("metadata", {})
    _fill(template["spec"]["template"]["spec"], submission)
    target = submission.target.removeprefix(f"{FOLDER}/flow/")
    annotations = {"cronjob.kubernetes.io/instantiate": "manual", TARGET_ANNOTATION: target}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": submission.run,
            "labels": given.get("labels", {}),
            "annotations": {**given.get("annotations", {}), **annotations},
            "ownerReferences": [{**owner(cron_job, "CronJob"), "controller": True}],
        },
        "spec": template["spec"],
    }


def owner(of: Mapping[str, Any], kind: str) -> Manifest:
    """Return the reference by which an object belongs to another, with which it is deleted."""
    metadata = of["metadata"]
    return {"apiVersion": "batch/v1", "kind": kind, "name": metadata["name"], "uid": metadata["uid"]}


def _labels(cron_job: Mapping[str, Any]) -> Mapping[str, str]:
    labels: Mapping[str, str] = cron_job["spec"]["jobTemplate"].get("metadata", {}).get("labels", {})
    return labels


def _fill(spec: Manifest, submission: Submission) -> None:
    """Put into a runner's pod what is submitted; the rest stays the release's."""
    runner = next(each for each in spec["containers"] if each["name"] == RUNNER)
    runner["args"] = [literal(each) for each in ("run", submission.target, *submission.options)]
    env = [each for each in runner.get("env", []) if each["name"] not in {*FLOWS_OWN, *submission.env}]
    runner["env"] = env + [{"name": name, "value": literal(value)} for name, value in submission.env.items()]
    if submission.image:
        runner["image"] = submission.image
    if submission.pull_secrets:
        secrets = [each["name"] for each in spec.get("imagePullSecrets", [])]
        spec["imagePullSecrets"] = [{"name": name} for name in dict.fromkeys([*submission.pull_secrets, *secrets])]
    if submission.files:
        items = [{"key": key, "path": path} for key, path in _keys(submission.files).items()]
        volume = {"name": VOLUME, "configMap": {"name": submission.run, "items": items}}
        spec.setdefault("volumes", []).append(volume)
        mount = {"name": VOLUME, "mountPath": FOLDER, "readOnly": True}
        runner.setdefault("volumeMounts", []).append(mount)


def _keys(files: Mapping[str, Any]) -> dict[str, str]:
    """Return the files' paths by keys of a ConfigMap, which know no folders."""
    keys: dict[str, str] = {}
    for path in files:
        key = plain = re.sub(r"[^-._a-zA-Z0-9]", "_", path)[-200:]
        number = 1
        while key in keys:
            number += 1
            key = f"{plain}.{number}"
        keys[key] = path
    return keys
