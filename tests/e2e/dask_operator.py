"""The Dask operator on the tests' cluster: our chart with the one that dask-kubernetes brings, and our image."""

import importlib.metadata
import json
from contextlib import contextmanager
from importlib.resources import files
from tempfile import TemporaryDirectory

import pytest
from chart.rendering import chart_with_operator
from namespaces import HELLO, IMAGE, ROOT, Namespace, flow, run

CRDS = [f"dask{kind}.kubernetes.dask.org" for kind in ("clusters", "workergroups", "jobs", "autoscalers")]
INSTALL = (
    "helm install --repo https://helm.dask.org --create-namespace -n dask-operator --generate-name "
    "dask-kubernetes-operator"
)


def established(name):
    conditions = json.loads(run("kubectl", "get", "crd", name, "-o", "json").stdout)["status"].get("conditions") or []
    return any(each["type"] == "Established" and each["status"] == "True" for each in conditions)


@contextmanager
def installed_definitions():
    """Define the operator's kinds of objects, and remove the definitions afterwards."""
    if any(run("kubectl", "get", "crd", name, "--ignore-not-found").stdout for name in CRDS):
        pytest.fail("there is a Dask operator already, and these tests would remove it; use another cluster")
    try:
        run(
            "kubectl",
            "apply",
            "-f",
            files("dask_kubernetes") / "operator/deployment/helm/dask-kubernetes-operator/crds",
        )
        Namespace().wait_for(lambda: all(map(established, CRDS)), "the operator's definitions")
        yield
    finally:
        # With the definitions go all objects, which an operator must let go of while it runs.
        delete = ("kubectl", "delete", "crd", *CRDS, "--ignore-not-found")
        if run(*delete, "--timeout=60s", check=False).returncode:
            let_go()
            run(*delete, "--timeout=60s")


def let_go():
    """Do it for an operator that has missed their end."""
    kinds = ",".join(name for name in CRDS if run("kubectl", "get", "crd", name, "--ignore-not-found").stdout)
    for each in json.loads(run("kubectl", "get", kinds, "-A", "-o", "json").stdout)["items"]:
        names = ("-n", each["metadata"]["namespace"], each["kind"].lower(), each["metadata"]["name"])
        run("kubectl", "patch", *names, "--type=merge", "-p", '{"metadata": {"finalizers": null}}', check=False)


@contextmanager
def installed_operator():
    """Install the operator for the whole cluster by values/operator.yaml, and remove it with its definitions.

    Yields the namespace, which has a release `operator` for the flow hello.
    """
    namespace = Namespace()
    with TemporaryDirectory() as folder:
        chart = chart_with_operator(folder, importlib.metadata.version("dask-kubernetes"))
        run("kubectl", "create", "namespace", namespace.name)
        run("kubectl", "label", "namespace", namespace.name, "pod-security.kubernetes.io/enforce=restricted")
        try:
            with installed_definitions():
                # The chart gives its container arguments only: the image's entrypoint must know what to do with them.
                repository, _, tag = IMAGE.rpartition(":")
                given = {
                    "image": {"repository": repository, "tag": tag},
                    "operator": {"image": {"name": repository, "tag": tag}},
                    "flow": flow(HELLO),
                }
                values = ("-f", ROOT / "values/dev.yaml", "-f", ROOT / "values/operator.yaml", "-f", "-")
                wait = ("--wait", "--timeout=120s")
                run(
                    *("helm", "install", "operator", chart, "-n", namespace.name, *values, *wait),
                    stdin=json.dumps(given),
                )
                yield namespace
        finally:
            run("helm", "uninstall", "operator", "-n", namespace.name, "--ignore-not-found")
            run("kubectl", "delete", "namespace", namespace.name)
