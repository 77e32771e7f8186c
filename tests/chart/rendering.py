"""The chart as helm renders it."""

import importlib.resources
import json
import re
import shutil
import subprocess
from pathlib import Path

import yaml

CHART = Path(__file__).parents[2] / "charts/dask-flow"


class Chart:
    """The chart in a folder as helm renders it."""

    def __init__(self, path=CHART, helm="helm"):
        self.path = path
        self.helm = helm

    def run(self, values, *args, release="r", namespace="ns"):
        command = [self.helm, "template", release, str(self.path), "-n", namespace, "-f", "-", *args]
        return subprocess.run(command, input=json.dumps(values), capture_output=True, text=True, check=False)

    def text(self, *args, **values):
        done = self.run(values, *args)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def objects(self, *args, **values):
        return [each for each in yaml.safe_load_all(self.text(*args, **values)) if each]

    def of_kind(self, kind, *args, **values):
        """Return the objects of a kind by their names."""
        found = [each for each in self.objects(*args, **values) if each["kind"] == kind]
        return {each["metadata"]["name"]: each for each in found}

    def only(self, kind, *args, **values):
        found = list(self.of_kind(kind, *args, **values).values())
        assert len(found) == 1, f"{len(found)} objects of kind {kind}"
        return found[0]

    def job_spec(self, **values):
        return self.only("CronJob", **values)["spec"]["jobTemplate"]["spec"]

    def pod(self, **values):
        return self.job_spec(**values)["template"]["spec"]

    def notes(self, **values):
        command = ["helm", "install", "r", str(self.path), "-n", "ns", "-f", "-", "--dry-run=client"]
        done = subprocess.run(command, input=json.dumps(values), capture_output=True, text=True, check=True)
        return done.stdout.partition("NOTES:")[2]

    def error(self, **values):
        done = self.run(values)
        assert done.returncode != 0, "helm accepted these values"
        return done.stderr


def env(pod):
    return {each["name"]: each.get("value") for each in pod["containers"][0]["env"]}


def expanded(text, **variables):
    """Return an argument or variable as its container gets it from Kubernetes, where these variables are."""

    def value(found):
        return "$" if found[0] == "$$" else variables.get(found[1], found[0])

    return re.sub(r"\$\$|\$\((.*?)\)", value, text)


def pod_templates(objects):
    """Return the templates of all pods that these objects make, and the pods among them."""
    specs = [each["spec"] for each in with_jobs(objects) if each["kind"] in ("Job", "CronJob", "Deployment")]
    pods = [each for each in objects if each["kind"] == "Pod"]
    return [*(spec.get("jobTemplate", {}).get("spec", spec)["template"] for spec in specs), *pods]


def with_jobs(objects):
    """Return the objects and the Jobs that Argo makes of the WorkflowTemplates among them."""
    return [*objects, *(workflow_job(each) for each in objects if each["kind"] == "WorkflowTemplate")]


def argo(template, *args):
    """Have Argo Workflows' own code do something with a WorkflowTemplate: tests/tools/argo-workflows."""
    command = ["argo-workflows", *args]
    return subprocess.run(command, input=yaml.safe_dump(template), capture_output=True, text=True, check=False)


def workflow_job(template, name="run-1", **given):
    """Return the Job that Argo makes of a WorkflowTemplate for a Workflow with these parameters, all of them texts."""
    done = argo(template, "manifest", name, *(f"{parameter}={value}" for parameter, value in given.items()))
    assert done.returncode == 0, done.stderr
    return yaml.safe_load(done.stdout)


def chart_with_operator(folder, version):
    """Copy the chart to `folder` with its dependency, packaged as this version from what dask-kubernetes brings."""
    copy = shutil.copytree(CHART, Path(folder) / CHART.name)
    helm = importlib.resources.files("dask_kubernetes") / "operator/deployment/helm/dask-kubernetes-operator"
    with importlib.resources.as_file(helm) as source:
        subprocess.run(
            ["helm", "package", source, "--version", version, "--app-version", version, "-d", copy / "charts"],
            capture_output=True,
            check=True,
        )
    return copy
