"""One run with 1,000 worker pods on the real API server: how soon they are there, the requests and memory they take.

Needs helm, and the KUBECONFIG of the node in tests/node, whose API server writes an audit log: requests are counted in
it. Nothing else should run on the machine. The runner is a Job of the chart on that node. Its worker pods are bound to
Node objects behind which there is no kubelet, so no worker joins, the run ends at its start-up timeout, and this
program confirms the pods' deletion as kubelets would. Exits with 1 when a figure is over its limit; the limits are
meant for 1,000 pods.
"""

from __future__ import annotations

import json
import math
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cluster import MEBIBYTES, install, kubectl, parser, start
from kubernetes import client, config
from table import Limit, judge
from urllib3.exceptions import HTTPError

NAMESPACE = NODES = TAINT = "dask-flow-scale"
PODS_PER_NODE = 110
HEARTBEAT_SECONDS = 10
STARTUP_TIMEOUT_SECONDS = 60
TIMEOUT_SECONDS = 300
STARTUP_EXIT_CODE = 3
MEMORY_READINGS = 5
MEMORY_PAUSE_SECONDS = 3
LIMITS = {"Job created → all worker pods there (s)": 30, "requests": 2100, "runner's memory (MiB)": 400}
FLOW = "def main(client):\n    return 1\n"
WORKER = {"nodeSelector": {TAINT: "yes"}, "tolerations": [{"key": TAINT, "operator": "Exists"}]}
MEMORY = f"{MEBIBYTES}\nimport os\nprint(mebibytes([os.getpid()]))"


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--workers", type=int, default=1000, help="how many worker pods")
    options = arguments.parse_args()
    config.load_kube_config()
    folder = audit_log_folder()
    with simulated_nodes(options.workers), installed(options.image, options.workers):
        figures = measure(Pods(), options.workers, folder)
    what = f"{options.workers} workers"
    samples = {(what, metric): [value] for metric, value in figures.items()}
    judge(samples, [Limit((what, metric), most) for metric, most in LIMITS.items()], options.json)


def audit_log_folder() -> Path:
    folder = Path(os.environ.get("KUBECONFIG", "~/.kube/config")).expanduser().parent / "log"
    if not (folder / "audit.log").exists():
        raise SystemExit(
            f"there is no {folder / 'audit.log'}: requests can be counted only on the node that tests/node/up starts, "
            "with KUBECONFIG as it prints it; a node from before it had an audit log needs tests/node/down first"
        )
    return folder


def measure(pods: Pods, workers: int, audit_logs: Path) -> dict[str, float]:
    """Follow one run from its Job's creation to its end."""
    since = datetime.now(UTC)
    started = time.time()
    start(NAMESPACE, "scale")
    pods.wait(lambda: len(pods.created) >= workers, f"the creation of {workers} pods")
    times = sorted(pods.created.values())
    memory = runners_memory(pods.runner)
    pods.wait(lambda: pods.exit_code is not None, "the runner's end")
    pods.wait(lambda: not pods.left, "the end of the last worker pod")
    check_ending(pods, workers)
    time.sleep(1)  # the watch that the runner's end broke off is in the audit log at the latest now
    requests = requests_since(since, audit_logs)
    return {
        "Job created → all worker pods there (s)": times[-1] - started,
        "first worker pod → all worker pods there (s)": times[-1] - times[0],
        "first deletion → no worker pods (s)": pods.last_gone - pods.first_deletion,
        "runner's memory (MiB)": memory,
        "requests": requests.total(),
        **{f"requests: {what}": count for what, count in requests.most_common()},
    }


def check_ending(pods: Pods, workers: int) -> None:
    """Refuse figures of a run that went otherwise than meant."""
    if pods.exit_code != STARTUP_EXIT_CODE or len(pods.created) != workers:
        log = kubectl("logs", "-n", NAMESPACE, pods.runner, check=False)
        raise SystemExit(f"the run made {len(pods.created)} pods and ended with exit code {pods.exit_code}:\n{log}")


def runners_memory(runner: str) -> float:
    """Return the most of some readings in MiB, while the runner waits for a worker."""
    command = ("exec", "-n", NAMESPACE, runner, "-c", "runner", "--", "python", "-c", MEMORY)
    readings = []
    for _ in range(MEMORY_READINGS):
        readings.append(float(kubectl(*command)))
        time.sleep(MEMORY_PAUSE_SECONDS)
    return max(readings)


def requests_since(since: datetime, audit_logs: Path) -> Counter[str]:
    """Count what the runner's service account asked for, by verb and resource."""
    counted: Counter[str] = Counter()
    for path in audit_logs.glob("audit*.log"):
        for line in path.read_text().splitlines():
            event = json.loads(line)
            received = datetime.fromisoformat(event["requestReceivedTimestamp"])
            if received >= since and event["user"]["username"].startswith(f"system:serviceaccount:{NAMESPACE}:"):
                counted[f"{event['verb']} {event.get('objectRef', {}).get('resource', event['requestURI'])}"] += 1
    return counted


class Pods:
    """Follows the namespace's pods with one watch, and confirms deletions as the simulated nodes' kubelets would.

    Times are this program's, at the arrival of the event. Goes on until the program ends.
    """

    def __init__(self) -> None:
        self.created: dict[str, float] = {}
        self.left: set[str] = set()
        self.first_deletion = self.last_gone = 0.0
        self.runner = ""
        self.exit_code: int | None = None
        self._core = client.CoreV1Api()
        self._changed = threading.Condition()
        self._kubelets = ThreadPoolExecutor(8)
        version = self._core.list_namespaced_pod(NAMESPACE).metadata.resource_version
        threading.Thread(target=self._follow, args=(version,), daemon=True).start()

    def wait(self, condition: Callable[[], bool], what: str) -> None:
        with self._changed:
            if not self._changed.wait_for(condition, TIMEOUT_SECONDS):
                log = kubectl("logs", "-n", NAMESPACE, self.runner, check=False) if self.runner else ""
                raise SystemExit(f"{what} did not happen within {TIMEOUT_SECONDS} s:\n{log}")

    def _follow(self, version: str) -> None:
        # An API server ends the watch of who does not keep up with a thousand pods: go on from the last event.
        while True:
            with suppress(HTTPError):
                for event in self._events(version):
                    version = event["object"]["metadata"]["resourceVersion"]
                    self._changed_to(event)

    def _events(self, version: str) -> Iterator[dict[str, Any]]:
        # The client's classes of a Pod would take the time of two cores that the API server needs.
        stream = self._core.list_namespaced_pod(
            NAMESPACE, watch=True, resource_version=version, timeout_seconds=TIMEOUT_SECONDS, _preload_content=False
        )
        for line in stream:
            event = json.loads(line)
            if event["type"] == "ERROR":
                raise SystemExit(f"the watch of pods cannot go on: {event['object']}")
            yield event

    def _changed_to(self, event: dict[str, Any]) -> None:
        with self._changed:
            if "batch.kubernetes.io/job-name" in event["object"]["metadata"]["labels"]:
                self._runner_changed(event["object"])
            else:
                self._worker_changed(event["type"], event["object"])
            self._changed.notify_all()

    def _runner_changed(self, pod: dict[str, Any]) -> None:
        self.runner = pod["metadata"]["name"]
        if pod["status"]["phase"] in ("Succeeded", "Failed"):
            self.exit_code = pod["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"]

    def _worker_changed(self, event: str, pod: dict[str, Any]) -> None:
        name = pod["metadata"]["name"]
        if event == "ADDED":
            self.created[name] = time.time()
            self.left.add(name)
            return
        if event == "DELETED":
            self.left.discard(name)
            self.last_gone = time.time()
        deleted = "deletionTimestamp" in pod["metadata"]
        if event == "DELETED" or deleted:
            self.first_deletion = self.first_deletion or time.time()
        if event == "MODIFIED" and deleted and pod["spec"].get("nodeName"):
            self._kubelets.submit(self._confirm_deletion, name)

    def _confirm_deletion(self, name: str) -> None:
        with suppress(client.ApiException):  # it is gone
            self._core.delete_namespaced_pod(name, NAMESPACE, grace_period_seconds=0, _preload_content=False).read()


@contextmanager
def simulated_nodes(workers: int) -> Iterator[None]:
    """Make Node objects with room for the workers, and keep them Ready until they are deleted."""
    core = client.CoreV1Api()
    if core.list_node(label_selector=TAINT).items:
        raise SystemExit(
            f"there are nodes with the label {TAINT} already: another run's, or left from one; delete them"
        )
    names = [f"{NODES}-{number}" for number in range(math.ceil(workers / PODS_PER_NODE))]
    over = threading.Event()
    heart = threading.Thread(target=keep_ready, args=(names, over))
    try:
        for name in names:
            core.create_node(simulated_node(name))
        heart.start()
        yield
    finally:
        over.set()
        if heart.is_alive():
            heart.join()
        kubectl("delete", "node", "-l", TAINT)


def simulated_node(name: str) -> dict[str, Any]:
    room = {"cpu": "1000", "memory": "1000Gi", "pods": str(PODS_PER_NODE)}
    return {
        "metadata": {"name": name, "labels": {TAINT: "yes"}},
        "spec": {"taints": [{"key": TAINT, "effect": "NoSchedule"}]},
        "status": {"capacity": room, "allocatable": room, "conditions": [ready()]},
    }


def ready() -> dict[str, Any]:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"type": "Ready", "status": "True", "reason": "Simulated", "lastHeartbeatTime": now}


def keep_ready(names: list[str], over: threading.Event) -> None:
    core = client.CoreV1Api()
    while not over.wait(HEARTBEAT_SECONDS):
        for name in names:
            with suppress(client.ApiException):  # the next heartbeat is soon enough
                core.patch_node_status(name, {"status": {"conditions": [ready()]}})


@contextmanager
def installed(image: str, workers: int) -> Iterator[None]:
    """Install the chart's release in a namespace of its own, and remove all afterwards."""
    kubectl("create", "namespace", NAMESPACE)
    try:
        spec = {"kind": "Pod", "spec": {**WORKER, "containers": [{"name": "worker"}]}}
        values = {
            "cluster": {
                "minWorkers": workers,
                "maxWorkers": workers,
                "workerSpec": json.dumps(spec),
                "startupTimeoutSeconds": STARTUP_TIMEOUT_SECONDS,
            },
            "flow": {"files": {"flow.py": FLOW}},
            "run": {"backoffLimit": 0},
        }
        install(NAMESPACE, image, values)
        yield
    finally:
        kubectl("delete", "namespace", NAMESPACE, "--wait=false")
        # No kubelet would let go of what is left.
        client.CoreV1Api().delete_collection_namespaced_pod(NAMESPACE, grace_period_seconds=0)
        kubectl("wait", "--for=delete", f"namespace/{NAMESPACE}", "--timeout=120s")


if __name__ == "__main__":
    main()
