"""What the tests have of Argo Workflows: its kinds, and how its executor judges what it made, by its own code."""

import os
import shutil
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

from chart.rendering import argo
from dask_operator import established
from namespaces import Namespace, run

NAMES = [f"{plural}.argoproj.io" for plural in ("workflows", "workflowtemplates")]
INTERVAL = {"RESOURCE_STATE_CHECK_INTERVAL": "200ms"}


@contextmanager
def argos_kinds():
    """Define Argo's kinds, unless Argo Workflows is there, and remove the definitions afterwards."""
    if run("kubectl", "get", "crd", NAMES[0], "--ignore-not-found").stdout:
        yield
        return
    folder = Path(shutil.which("argo-workflows")).with_name("argo-workflows-crds")
    try:
        for name in NAMES:
            # They are too large for the client to apply; one may be left from tests that were interrupted.
            file = folder / f"argoproj.io_{name.partition('.')[0]}.yaml"
            run("kubectl", "apply", "--server-side", "--force-conflicts", "-f", file)
        Namespace().wait_for(lambda: all(map(established, NAMES)), "Argo's definitions")
        # Clients ask for the kinds that there are; the API server may need a moment to say so.
        Namespace().wait_for(
            lambda: run("kubectl", "get", "workflowtemplates", "-A", check=False).returncode == 0, "Argo's kinds"
        )
        yield
    finally:
        run("kubectl", "delete", "crd", *NAMES, "--ignore-not-found", "--timeout=60s")


def ended(namespace, template, name):
    """Wait as the executor does until it judges a Job of a WorkflowTemplate; return `failed` or `succeeded`."""
    with mock.patch.dict(os.environ, INTERVAL):
        done = argo(template, "wait", name, f"/apis/batch/v1/namespaces/{namespace.name}/jobs/{name}")
    assert done.returncode == 0, done.stderr
    return done.stdout.split(":")[0].strip()
