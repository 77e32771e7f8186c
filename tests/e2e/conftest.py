"""A real cluster: $DASK_FLOW_TEST_KUBECONFIG, or the node of tests/node."""

import os
import subprocess

import pytest
from dask_operator import installed_operator
from namespaces import ROOT, Namespace, run
from xdist.scheduler import LoadScopeScheduling

# Tests that install the operator, or Argo's definitions, for the whole cluster, and those that share a registry: their
# names have one of these in them. Each such group runs in one process, a test after the other.
GROUPS = {
    "cluster-wide": ("/test_chart.py", "/test_operator.py", "[operator]"),
    "registry": ("/test_registry.py",),
}


class Grouped(LoadScopeScheduling):
    """Gives each test to whoever is free, but those of a group to one process."""

    def _split_scope(self, nodeid):
        return next((group for group, parts in GROUPS.items() if any(part in nodeid for part in parts)), nodeid)


def pytest_xdist_make_scheduler(config, log):
    return Grouped(config, log)


@pytest.fixture(scope="session", autouse=True)
def _cluster():
    given = os.environ.get("DASK_FLOW_TEST_KUBECONFIG")
    if given:
        os.environ["KUBECONFIG"] = given
        return
    node = subprocess.run([ROOT / "tests/node/up"], capture_output=True, text=True, check=False)
    if node.returncode:
        pytest.exit(f"There is no Kubernetes to test on. {node.stderr.strip()}", returncode=1)
    os.environ["KUBECONFIG"] = node.stdout.strip()


@pytest.fixture(scope="session")
def deleted():
    names = []
    yield names
    for name in names:
        run("kubectl", "wait", "--for=delete", f"namespace/{name}", "--timeout=120s")


@pytest.fixture(scope="module")
def operator(_cluster):
    """The Dask operator, for the tests of one file; some tests are about its lack."""
    with installed_operator() as release:
        yield release


@pytest.fixture
def namespace(deleted):
    made = Namespace()
    made.create()
    yield made
    made.delete()
    deleted.append(made.name)


@pytest.fixture
def reports(namespace, tmp_path):
    """Give the namespace a claim `reports`; yield its folder on the own node, which is this machine."""
    folder = tmp_path / "reports"
    folder.mkdir()
    folder.chmod(0o777)  # the runner's user is not root
    name = f"{namespace.name}-reports"
    common = {"accessModes": ["ReadWriteOnce"], "storageClassName": ""}
    capacity = {"storage": "100Mi"}
    volume = {"capacity": capacity, "hostPath": {"path": str(folder)}, **common}
    claim = {"resources": {"requests": capacity}, "volumeName": name, **common}
    namespace.apply(
        {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}, "spec": volume},
        {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "reports"}, "spec": claim},
    )
    yield folder
    namespace.kubectl("delete", "pv", name, "--wait=false")
