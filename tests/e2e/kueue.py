"""Kueue's own controller, beside the node of the tests, for namespaces of theirs; and queues of such a namespace."""

import base64
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
import yaml
from dask_operator import established
from namespaces import ROOT, Namespace, run

# What is left of tests that were cut off has these, too, and goes with the next ones.
WEBHOOKS = [(f"{kind}webhookconfiguration", f"{kind}-kueue-tests") for kind in ("validating", "mutating")]
LABEL = {"dask-flow.test/kueue": "managed"}
KINDS = ("batch-v1-job", "-v1-pod", "kueue-x-k8s-io")
# Kueue reads a certificate from here, though it serves no metrics.
METRICS_CERTIFICATES = Path("/etc/kueue/metrics/certs")
CPU = 100  # thousandths, of which every pod of these tests asks for as many


class Kueue:
    """A controller that runs for as long as this context. Of other namespaces, it takes no notice."""

    def __init__(self, folder):
        self._folder = folder
        self._health, self._webhook = _free_port(), _free_port()

    def __enter__(self):
        if _is_there("crd", "workloads.kueue.x-k8s.io") and not _is_there(*WEBHOOKS[0]):
            pytest.fail("there is Kueue already, and these tests would remove it; use another cluster")
        program, sources = run(ROOT / "tests/kueue/build", timeout=3600).stdout.split()
        self._config = Path(sources) / "config/components"
        self._make_certificate()
        try:
            self._start(program)
        except BaseException:
            self.__exit__()
            raise
        return self

    def _start(self, program):
        made = run("kubectl", "apply", "--server-side", "-o", "name", "-f", self._config / "crd/bases").stdout
        names = [name.partition("/")[2] for name in made.split()]
        Namespace().wait_for(lambda: all(map(established, names)), "Kueue's definitions")
        config = self._folder / "config.yaml"
        config.write_text(yaml.safe_dump(self._configuration()))
        command = (program, f"--config={config}", "--feature-gates=VisibilityOnDemand=false")
        with (self._folder / "log").open("w") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        deadline = time.monotonic() + 120
        while not self._is_ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                pytest.fail((self._folder / "log").read_text()[-5000:])
            time.sleep(0.2)
        run("kubectl", "apply", "-f", "-", stdin=yaml.safe_dump_all(self._webhooks()))
        flavor = {"apiVersion": "kueue.x-k8s.io/v1beta2", "kind": "ResourceFlavor", "metadata": {"name": "default"}}
        first = {"kind": "WorkloadPriorityClass", "metadata": {"name": "first"}, "value": 1000}
        run("kubectl", "apply", "-f", "-", stdin=yaml.safe_dump_all([flavor, {**flavor, **first}]))

    def __exit__(self, *_):
        for kind, name in WEBHOOKS:
            run("kubectl", "delete", kind, name, "--ignore-not-found")
        # With the definitions go all objects, which the controller must let go of while it runs.
        run("kubectl", "delete", "--ignore-not-found", "--timeout=120s", "-f", self._config / "crd/bases")
        self._process.terminate()
        self._process.wait(60)
        shutil.rmtree(METRICS_CERTIFICATES.parents[1])

    def _make_certificate(self):
        key, certificate = self._folder / "tls.key", self._folder / "tls.crt"
        options = ("-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=kueue")
        address = ("-addext", "subjectAltName=IP:127.0.0.1")
        run("openssl", "req", *options, *address, "-keyout", key, "-out", certificate)
        METRICS_CERTIFICATES.mkdir(parents=True, exist_ok=True)
        for path in (key, certificate):
            shutil.copy(path, METRICS_CERTIFICATES)
        self._authority = base64.b64encode(certificate.read_bytes()).decode()

    def _configuration(self):
        return {
            "apiVersion": "config.kueue.x-k8s.io/v1beta2",
            "kind": "Configuration",
            "namespace": "kueue-system",
            "health": {"healthProbeBindAddress": f"127.0.0.1:{self._health}"},
            "metrics": {"bindAddress": "0"},
            "webhook": {"host": "127.0.0.1", "port": self._webhook, "certDir": str(self._folder)},
            "leaderElection": {"leaderElect": False},
            "internalCertManagement": {"enable": False},
            "managedJobsNamespaceSelector": {"matchLabels": LABEL},
            "integrations": {"frameworks": ["batch/job", "pod"]},
        }

    def _webhooks(self):
        """Yield Kueue's webhooks of Jobs, Pods and its own kinds, for our namespaces, as what runs on this machine."""
        for configuration in yaml.safe_load_all((self._config / "webhook/manifests.yaml").read_text()):
            configuration["metadata"]["name"] = configuration["metadata"]["name"].split("-")[0] + "-kueue-tests"
            hooks = [hook for hook in configuration["webhooks"] if any(kind in _path(hook) for kind in KINDS)]
            for hook in hooks:
                url = f"https://127.0.0.1:{self._webhook}{_path(hook)}"
                hook["clientConfig"] = {"url": url, "caBundle": self._authority}
                hook["namespaceSelector"] = {"matchLabels": LABEL}
            yield {**configuration, "webhooks": hooks}

    def _is_ready(self):
        try:
            return urllib.request.urlopen(f"http://127.0.0.1:{self._health}/readyz").status
        except (OSError, urllib.error.HTTPError):
            return False


class Queue:
    """A LocalQueue of a namespace with a ClusterQueue of its own, which has room for so many pods."""

    def __init__(self, namespace, name, pods):
        self._namespace, self._name = namespace, name
        self._make(pods)

    def _make(self, pods):
        kind = {"apiVersion": "kueue.x-k8s.io/v1beta2"}
        cluster_queue = f"{self._namespace.name}-{self._name}"
        quota = {"name": "cpu", "nominalQuota": f"{pods * CPU}m"}
        group = {"coveredResources": ["cpu"], "flavors": [{"name": "default", "resources": [quota]}]}
        spec = {
            "resourceGroups": [group],
            "namespaceSelector": {},
            "preemption": {"withinClusterQueue": "LowerPriority"},
        }
        self._namespace.apply(
            {**kind, "kind": "ClusterQueue", "metadata": {"name": cluster_queue}, "spec": spec},
            {**kind, "kind": "LocalQueue", "metadata": {"name": self._name}, "spec": {"clusterQueue": cluster_queue}},
        )

    def resize(self, pods):
        self._make(pods)


def workloads(namespace, *, admitted=None):
    """Return the Workloads of a namespace by the name of what they are of, all of them or those that (do not) run."""
    found = {}
    for each in namespace.get("workloads.kueue.x-k8s.io")["items"]:
        conditions = {c["type"] for c in each.get("status", {}).get("conditions", []) if c["status"] == "True"}
        if "Finished" not in conditions and admitted in (None, "Admitted" in conditions):
            found[each["metadata"]["ownerReferences"][0]["name"]] = each
    return found


def _is_there(kind, name):
    return run("kubectl", "get", kind, name, "--ignore-not-found").stdout


def _path(hook):
    return hook["clientConfig"]["service"]["path"]


def _free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]
